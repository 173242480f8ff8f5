"""Sequences on disk: both forms of list, both kinds of annotation, and every way in which a tree can be wrong."""

import shutil

import numpy as np
import pytest
from PIL import Image

from bench.base import folders
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.card import load_card
from bench.cards.datasets import DatasetCard
from bench.data.samples import open_split
from bench.data.sequences import count_objects, open_videos, read_frame, read_names
from tests.video import HEIGHT, WIDTH, write_list, write_sequence

CARD = catalogue.dataset("davis")
MASKS, FRAMES = "Annotations/480p", "JPEGImages/480p"


@pytest.fixture
def root(tmp_path):
    for name in ("ball", "kite"):
        write_sequence(tmp_path, name)
    write_list(tmp_path, ["kite", "ball"])
    return tmp_path


def test_sequences_come_in_the_lists_order_and_frames_by_number(root):
    samples = open_videos(CARD, "val-2017", root)
    assert [video.id for video in samples] == ["kite", "ball"]
    assert (len(samples), samples.images, samples.limited) == (2, 12, True)
    video = samples.entries[0]
    assert video.ids == tuple(f"kite/{i:05d}" for i in range(6))
    assert [path.name for path in video.labels] == [f"{i:05d}.png" for i in range(6)]
    assert samples.first(1).images == 6


def test_lists_of_paths_name_the_same_sequences(root):
    lines = [f"/{FRAMES}/{n}/{i:05d}.jpg /{MASKS}/{n}/{i:05d}.png" for n in ("kite", "ball") for i in range(6)]
    write_list(root, lines, "ImageSets/480p/val.txt")
    samples = open_videos(CARD, "val-2016", root)
    assert [video.id for video in samples] == ["kite", "ball"] and "2016 tree" in samples.layout


def test_the_real_cut(realdata):
    samples = open_videos(CARD, "val-2016", realdata / "DAVIS")
    assert {video.id: video.images for video in samples} == {"blackswan": 50, "libby": 49}
    frame = read_frame(samples.entries[0], 0, "one")
    assert frame.image.shape == (480, 854, 3) and set(np.unique(frame.ids)) == {0, 1}
    assert count_objects(frame, samples.entries[0]) == 1
    assert not frame.void.any()


def test_official_sizes():
    sizes = {name: split.sequences for name, split in CARD.splits.items()}
    assert sizes == {"val-2016": 20, "train-2016": 30, "val-2017": 30, "train-2017": 60}


def test_a_changed_frame_is_another_key(root):
    before = open_videos(CARD, "val-2017", root)
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / FRAMES / "ball" / "00003.jpg")
    after = open_videos(CARD, "val-2017", root)
    assert before.keys[0] == after.keys[0] and before.keys[1] != after.keys[1]


# --- annotations ---


def test_ids_of_2017_keep_their_numbers_and_void_is_told_apart(root):
    path = root / MASKS / "ball" / "00000.png"
    ids = np.asarray(Image.open(path)).copy()
    ids[0] = 255
    Image.fromarray(ids).save(path)
    video = open_videos(CARD, "val-2017", root).entries[1]
    frame = read_frame(video, 0, "many")
    assert set(np.unique(frame.ids)) == {0, 1, 2} and frame.void[0].all() and frame.void.sum() == WIDTH
    assert count_objects(frame, video) == 2


def test_one_object_is_everything_above_zero(root):
    video = open_videos(CARD, "val-2017", root).entries[0]
    many, one = (read_frame(video, 2, objects) for objects in ("many", "one"))
    assert np.array_equal(one.ids, many.ids > 0)


def test_masks_of_2016_under_2017_rules_are_recognised(tmp_path):
    write_sequence(tmp_path, "ball", year=2016)
    write_list(tmp_path, ["ball"])
    video = open_videos(CARD, "val-2017", tmp_path).entries[0]
    with pytest.raises(BadInput, match="shows no object in the first frame") as caught:
        count_objects(read_frame(video, 0, "many"), video)
    assert "2016 split" in caught.value.remedy
    assert count_objects(read_frame(video, 0, "one"), video) == 1


def test_a_first_frame_without_objects_is_named(root):
    path = root / MASKS / "ball" / "00000.png"
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(path)
    video = open_videos(CARD, "val-2017", root).entries[1]
    with pytest.raises(BadInput, match=r"ball/00000\.png shows no object"):
        count_objects(read_frame(video, 0, "many"), video)


@pytest.mark.parametrize(
    "picture, words",
    [
        (Image.new("RGBA", (WIDTH, HEIGHT)), "has RGBA pixels"),
        (Image.new("LA", (WIDTH, HEIGHT)), "has LA pixels"),
        (Image.new("L", (WIDTH, HEIGHT + 1)), "is 96×65 pixels, its frame 96×64"),
    ],
)
def test_an_annotation_of_another_kind_is_named(root, picture, words):
    picture.save(root / MASKS / "ball" / "00002.png")
    video = open_videos(CARD, "val-2017", root).entries[1]
    with pytest.raises(BadInput, match=rf"ball/00002\.png {words}"):
        read_frame(video, 2, "many")


def test_a_damaged_frame_is_named(root):
    path = root / FRAMES / "ball" / "00002.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"ball/00002\.jpg is damaged"):
        read_frame(open_videos(CARD, "val-2017", root).entries[1], 2, "many")


# --- trees ---


@pytest.mark.parametrize(
    "remove, words",
    [
        ([f"{FRAMES}/ball/00002.jpg", f"{MASKS}/ball/00002.png"], r"between 00001\.jpg and 00003\.jpg"),
        ([f"{FRAMES}/ball/00002.jpg"], r"ball: 1 frames are missing between 00001\.jpg"),
        ([f"{FRAMES}/ball/00005.jpg"], r"00005\.png is the annotation of a frame that .*ball lacks"),
        ([f"{MASKS}/ball/00002.png"], r"ball/00002\.png is missing \(1 of 6 frames of 'ball' have no annotation\)"),
        ([f"{MASKS}/ball"], r"ball/00000\.png is missing \(6 of 6"),
        ([f"{FRAMES}/ball"], r"480p/ball holds no frames of 'ball'"),
    ],
)
def test_what_is_missing_is_named(root, remove, words):
    for path in (root / name for name in remove):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(BadInput, match=words):
        open_videos(CARD, "val-2017", root)


def test_other_files_beside_the_frames_do_not_matter(root):
    for name in (f"{FRAMES}/ball/Thumbs.db", f"{MASKS}/ball/.hidden.png", f"{FRAMES}/ball/notes.jpg"):
        (root / name).write_text("x")
    assert open_videos(CARD, "val-2017", root).entries[1].images == 6


def test_a_frame_that_is_there_twice_is_named(root):
    shutil.copy(root / FRAMES / "ball" / "00002.jpg", root / FRAMES / "ball" / "2.jpg")
    with pytest.raises(BadInput, match="are the same frame"):
        open_videos(CARD, "val-2017", root)


def test_a_sequence_of_two_frames_cannot_be_evaluated(tmp_path):
    write_sequence(tmp_path, "blink", frames=2)
    write_list(tmp_path, ["blink"])
    with pytest.raises(BadInput, match="holds 2 frames"):
        open_videos(CARD, "val-2017", tmp_path)


def test_a_wrong_root_an_unknown_layout_and_an_unknown_split_are_told_apart(root, tmp_path):
    with pytest.raises(BadInput, match="no data root at"):
        open_videos(CARD, "val-2017", tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"does not hold DAVIS.*\(train-2017\): none of ImageSets/2017/train\.txt"):
        open_videos(CARD, "train-2017", root)
    with pytest.raises(WrongName, match="unknown split of davis 'val'"):
        open_videos(CARD, "val", root)


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "is empty"),
        ("ball\nkite\nball\n", "lists 'ball' twice"),
        ("..\n", "names no sequence"),
        ("ball;kite\n", "names no sequence"),
        ("/a/ball/0.jpg\n/a/kite/0.jpg\n/a/ball/1.jpg\n", "lists 'ball' twice"),
        ("/0.jpg\n", "names no sequence"),
    ],
)
def test_a_list_that_makes_no_sense_is_named(tmp_path, content, words):
    listing = tmp_path / "val.txt"
    listing.write_text(content)
    with pytest.raises(BadInput, match=words):
        read_names(listing)


def test_a_list_that_is_no_text_is_named(tmp_path):
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not a text file"):
        read_names(tmp_path / "val.txt")


# --- cards ---


@pytest.mark.parametrize(
    "source, old, new, key",
    [
        ("davis", 'kind = "video"', "", "classes: at least two"),
        ("davis", 'kind = "video"', 'kind = "film"', "kind"),
        ("davis", 'kind = "video"', 'kind = "video"\nclasses = ["a", "b"]', "classes"),
        ("davis", 'objects = "one"', "", "splits.val-2016"),
        ("davis", 'objects = "one"', 'objects = "few"', "splits.val-2016.objects"),
        ("davis", "sequences = 20", "images = 20", "splits.val-2016"),
        ("davis", "{id}/{frame}.jpg", "{id}.jpg", "layouts"),
        ("davis", "{id}/{frame}.jpg", "{id}/{frame}/0.jpg", "layouts"),
        ("davis", "{id}/{frame}.jpg", "{frame}.jpg", "layouts"),
        ("davis", "top_k = 5", "top_k = 0", "protocols.davis.top_k"),
        ("davis", "temperature = 0.1", "temperature = 0", "protocols.davis.temperature"),
        ("davis", "[protocols.davis]", "[protocols.clustering]\n[protocols.davis]", "protocols.clustering"),
        ("pascal-voc", "images = 1449", 'images = 1449\nobjects = "one"', "splits.val"),
        ("pascal-voc", "images/{id}.jpg", "images/{id}-{frame}.jpg", "layouts"),
        ("pascal-voc", "[protocols.clustering]", "[protocols.davis]\n[protocols.clustering]", "protocols.davis"),
    ],
)
def test_a_card_cannot_be_half_video(tmp_path, source, old, new, key):
    text = (folders.folder("datasets") / f"{source}.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput, match=key):
        load_card(path, DatasetCard)


def test_images_still_need_classes(tmp_path):
    text = (folders.folder("datasets") / "shapes.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    start, end = text.index("classes = ["), text.index("palette =")
    for classes in ("", 'classes = ["background"]\n'):
        path.write_text(text[:start] + classes + text[end:], encoding="utf-8")
        with pytest.raises(BadInput, match="classes: at least two"):
            load_card(path, DatasetCard)


def test_images_are_not_read_as_video(root):
    with pytest.raises(WrongName, match="unknown split"):
        open_split(CARD, "val", root)
