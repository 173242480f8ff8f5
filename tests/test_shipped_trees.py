"""The trees that the shipped cards describe: each is found, listed and decoded, and what is wrong in one is named."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cards.card import load_card
from bench.cards.datasets import DatasetCard
from bench.data.boxes import read_boxes
from bench.data.decoding import read_grey, read_sample
from bench.data.samples import open_split
from tests.conftest import GOLDEN
from tests.folders import put_image, put_mask
from tests.terminal import bench, said

FACTS = json.loads((GOLDEN / "coco81/classes.json").read_text(encoding="utf-8"))
TRAIN_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
"""Of Cityscapes, the label ids of the 19 classes that its benchmark counts, in order."""
VOID = 255


def coco(classes):
    """Ids of COCO-Stuff's maps → classes, as recorded of the releases."""
    return {int(raw): VOID if c < 0 else c for raw, c in FACTS[f"cocostuff{classes}"].items()}


COARSE = coco(27)
CITY = {"image": "leftImg8bit/{}_leftImg8bit.png", "label": "gtFine/{}_gtFine_labelIds.png"}


@dataclass(frozen=True)
class Tree:
    """What lies on the disk: `image` and `label` are paths with the id in them, `means` a file's values → classes."""

    image: str
    label: str | None
    means: dict[int, int]
    ids: tuple[str, ...]
    listed: str = ""
    """The path of the list, if there is one."""
    line: str = "{}"
    """A line of it."""
    classes: int = 0

    def put(self, root):
        for seed, name in enumerate(self.ids):
            put_image(root / self.image.format(name), seed=seed)
            if self.label:
                put_mask(root / self.label.format(name), values=tuple(self.means))
        if self.listed:
            (root / self.listed).parent.mkdir(parents=True, exist_ok=True)
            (root / self.listed).write_text("".join(f"{self.line.format(name)}\n" for name in self.ids))
        return root


COCO_IDS = ("000000000139", "000000000285")
STUFF = "stuffthingmaps/val2017/{}.png"
CURATED = "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt"
FRAMES = ("val/frankfurt/frankfurt_000000_000294", "val/lindau/lindau_000000_000019")
ADE, VOC10 = "ADEChallengeData2016/", "VOCdevkit/VOC2010/"
MASK = {0: 0, 1: 1, 128: 1, 255: 1}
TREES = {
    "coco-stuff-27": Tree("val2017/{}.jpg", STUFF, COARSE, COCO_IDS, CURATED, classes=27),
    "coco-stuff-171": Tree("val2017/{}.jpg", STUFF, coco(171), COCO_IDS, classes=171),
    "coco-things-12": Tree(
        "images/val2017/{}.jpg", "annotations/val2017/{}.png",
        {raw: c if c < 12 else VOID for raw, c in COARSE.items()}, COCO_IDS, classes=12,
    ),
    "coco-stuff-15": Tree(
        "images/val2017/{}.jpg", "annotations/val2017/{}.png",
        {raw: c - 12 if 12 <= c < 27 else VOID for raw, c in COARSE.items()}, COCO_IDS, classes=15,
    ),
    "cityscapes-27": Tree(
        **CITY, means={raw: raw - 7 if 7 <= raw < 34 else VOID for raw in (*range(34), 255)}, ids=FRAMES, classes=27
    ),
    "cityscapes-19": Tree(
        **CITY, means={raw: TRAIN_IDS.index(raw) if raw in TRAIN_IDS else VOID for raw in (*range(34), 255)},
        ids=FRAMES, classes=19,
    ),
    "ade20k": Tree(
        ADE + "images/validation/{}.jpg", ADE + "annotations/validation/{}.png",
        {raw: raw - 1 if raw else VOID for raw in range(151)}, ("ADE_val_00000001", "ADE_val_00000002"), classes=150,
    ),
    "ade20k-151": Tree(
        ADE + "images/validation/{}.jpg", ADE + "annotations/validation/{}.png",
        {raw: raw or VOID for raw in range(151)}, ("ADE_val_00000001", "ADE_val_00000002"), classes=151,
    ),
    "potsdam-3": Tree(
        "imgs/{}.png", "gt/{}.png", {0: 0, 1: 1, 2: 2, 3: 2, 4: 0, 5: 1}, ("17", "4021"), "labelled_test.txt", classes=3
    ),
    "pascal-context-59": Tree(
        VOC10 + "JPEGImages/{}.jpg", VOC10 + "SegmentationClassContext/{}.png",
        {raw: raw - 1 if raw else VOID for raw in range(60)}, ("2008_000002", "2008_000003"),
        VOC10 + "ImageSets/SegmentationContext/val.txt", classes=59,
    ),
    "ecssd": Tree("ECSSD/images/{}.jpg", "ECSSD/ground_truth_mask/{}.png", MASK, ("0001", "0002"), classes=2),
    "duts-te": Tree(
        "DUTS-TE/DUTS-TE-Image/{}.jpg", "DUTS-TE/DUTS-TE-Mask/{}.png", MASK, ("ILSVRC2012_test_00000003", "sun_aaa"),
        classes=2,
    ),
    "dut-omron": Tree(
        "DUT-OMRON-image/{}.jpg", "pixelwiseGT-new-PNG/{}.png", MASK, ("im005", "sun_aab"), classes=2
    ),
    "voc2007": Tree(
        "VOCdevkit/VOC2007/JPEGImages/{}.jpg", None, {}, ("000005", "000007"),
        "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt",
    ),
    "coco20k": Tree(
        "train2014/{}.jpg", None, {}, ("COCO_train2014_000000000009", "COCO_train2014_000000000025"),
        "coco_20k_filenames.txt", "train2014/{}.jpg",
    ),
}  # fmt: skip


def opened(name, root):
    card = catalogue.dataset(name)
    return open_split(card, card.default_split, root)


@pytest.mark.parametrize("name", TREES)
def test_a_shipped_card_finds_lists_and_decodes_its_tree(name, tmp_path):
    tree = TREES[name]
    samples = opened(name, tree.put(tmp_path))
    assert len(samples.card.classes) == tree.classes
    assert tuple(sample.image for sample in samples) == tuple(tmp_path / tree.image.format(each) for each in tree.ids)
    assert samples.limited  # two images are fewer than any of them has
    if tree.label is None:
        assert not samples.labelled
        return
    raw = np.array(Image.open(tmp_path / tree.label.format(tree.ids[0])))
    expected = np.vectorize(tree.means.__getitem__)(raw)
    for sample in samples:
        _, label, _ = read_sample(sample, samples.card)
        np.testing.assert_array_equal(label, expected)


def test_every_class_of_a_shipped_card_has_an_id_in_its_files():
    for name, tree in TREES.items():
        assert set(tree.means.values()) - {VOID} == set(range(tree.classes)) - ({0} if name == "ade20k-151" else set())


def test_what_a_tree_has_beside_the_pictures_is_not_listed(tmp_path):
    tree = TREES["cityscapes-27"]
    tree.put(tmp_path)
    for path in ("val/frankfurt/._x_leftImg8bit.png", "val/frankfurt/x.json", "val/.trash/y_leftImg8bit.png"):
        (tmp_path / "leftImg8bit" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "leftImg8bit" / path).write_bytes(b"")
    assert opened("cityscapes-27", tmp_path).ids == ["frankfurt/frankfurt_000000_000294", "lindau/lindau_000000_000019"]


# --- bad input: each is one line, and exit code 3 ---


def remove_an_image(tree, root):
    (root / tree.image.format(tree.ids[1])).unlink()


def remove_a_label(tree, root):
    (root / tree.label.format(tree.ids[1])).unlink()


def put_a_strange_id(tree, root):
    put_mask(root / tree.label.format(tree.ids[1]), values=(0, 222))


def put_another_size(tree, root):
    put_mask(root / tree.label.format(tree.ids[1]), values=tuple(tree.means)[:1], size=(5, 6))


def damage_a_label(tree, root):
    path = root / tree.label.format(tree.ids[1])
    path.write_bytes(path.read_bytes()[:60])


def damage_the_list(tree, root):
    (root / tree.listed).write_bytes(b"\0\1\2")


BAD = [(remove_a_label, "is missing"), (put_another_size, "is 6×5 pixels, its image 24×20"), (damage_a_label, ".png")]
BAD_IDS = [(put_a_strange_id, "holds the id 222")]
BAD_LISTS = [(remove_an_image, "is missing"), (damage_the_list, "NUL bytes")]
DAMAGED = [
    (name, damage, word)
    for name, tree in TREES.items()
    for damage, word in [
        *(BAD if tree.label else []),
        *(BAD_IDS if tree.label and tree.means is not MASK else []),
        *(BAD_LISTS if tree.listed else []),
    ]
]


@pytest.mark.parametrize(("name", "damage", "word"), DAMAGED)
def test_a_bad_file_in_a_tree_is_one_clear_line(name, damage, word, tmp_path):
    tree = TREES[name]
    damage(tree, tree.put(tmp_path))
    said(bench("show", name, "--data-root", tmp_path, "--samples", "2"), 3, word)


@pytest.mark.parametrize("name", ["cityscapes-27", "ade20k", "duts-te"])
def test_without_a_list_a_label_without_its_image_is_no_sample(name, tmp_path):
    remove_an_image(TREES[name], TREES[name].put(tmp_path))
    assert len(opened(name, tmp_path)) == 1


@pytest.mark.parametrize("name", TREES)
def test_another_tree_is_none_of_theirs(name, tmp_path):
    said(bench("show", name, "--data-root", tmp_path), 3, "does not hold")


def test_a_folder_without_pictures_is_named(tmp_path):
    (tmp_path / "leftImg8bit/val/frankfurt").mkdir(parents=True)
    shown = bench("show", "cityscapes-19", "--data-root", tmp_path)
    said(shown, 3, "leftImg8bit/val holds no file as leftImg8bit/val/{id}_leftImg8bit.png")


# --- a list that is held to its published hash ---


def card_with(tmp_path, sha256, images=2):
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nid = "mine"\ntitle = "mine"\nlicence = "none"\n'
        f'splits.val.images = {images}\n[[layouts]]\nname = "mine"\n[layouts.splits.val]\nlist = "val.txt"\n'
        f'list_sha256 = "{sha256}"\nimage = "images/{{id}}.jpg"\n[protocols]\n'
    )
    for name in ("a", "b", "c"):
        put_image(tmp_path / f"images/{name}.jpg")
    return load_card(tmp_path / "mine.toml", DatasetCard)


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\r\nb\r\n"])
def test_the_published_list_is_taken_whatever_ends_its_lines(tmp_path, content):
    card = card_with(tmp_path, hashlib.sha256(b"a\nb\n").hexdigest())
    (tmp_path / "val.txt").write_bytes(content)
    assert not open_split(card, "val", tmp_path).limited


@pytest.mark.parametrize("content", [b"a\nc\n", b"b\na\n", b"a\nb\nc\n"])
def test_another_list_of_the_official_length_is_refused(tmp_path, content):
    card = card_with(tmp_path, hashlib.sha256(b"a\nb\n").hexdigest())
    (tmp_path / "val.txt").write_bytes(content)
    with pytest.raises(BadInput, match=r"val\.txt is not the published list of mine \(val\)"):
        open_split(card, "val", tmp_path)
    said(bench("show", tmp_path / "mine.toml", "--data-root", tmp_path), 3, "is not the published list")


def test_a_shorter_list_makes_a_limited_run(tmp_path):
    card = card_with(tmp_path, hashlib.sha256(b"a\nb\n").hexdigest())
    (tmp_path / "val.txt").write_bytes(b"a\n")
    assert open_split(card, "val", tmp_path).limited


def test_the_curated_list_is_the_one_that_its_card_names(realdata):
    card = catalogue.dataset("coco-stuff-27")
    listing = realdata / "COCO" / CURATED
    assert hashlib.sha256(listing.read_bytes()).hexdigest() == card.layouts[0].splits["val"].list_sha256
    assert len(listing.read_text().split()) == card.splits["val"].images
    with pytest.raises(BadInput, match=r"is missing \(\d+ of 2175 samples"):  # the list is taken; the cut lacks images
        open_split(card, "val", realdata / "COCO")


@pytest.mark.parametrize("name", ["coco-stuff-27", "coco-stuff-171", "coco-things-12", "coco-stuff-15"])
def test_real_maps_of_coco_are_decoded(name, realdata, tmp_path):
    tree, source = TREES[name], realdata / "COCO"
    for folder in ("val2017", "stuffthingmaps"):
        (tmp_path / folder).symlink_to(source / folder)
    here = sorted(path.stem for path in (source / "val2017").glob("*.jpg"))
    assert len(here) == 36
    (tmp_path / CURATED).parent.mkdir(parents=True)
    (tmp_path / CURATED).write_text("".join(f"{name}\n" for name in here))
    samples = opened(name, tmp_path)
    assert list(samples.ids) == here
    for sample in samples.first(5):
        _, label, _ = read_sample(sample, samples.card)
        raw = np.array(Image.open(sample.label))
        np.testing.assert_array_equal(label, np.vectorize(tree.means.__getitem__)(raw))


# --- layouts that share a list, grey masks, boxes ---


def test_of_two_layouts_that_share_a_list_the_one_with_images_is_taken(tmp_path):
    tree = TREES["coco-stuff-27"]
    moved = Tree("images/val2017/{}.jpg", "annotations/val2017/{}.png", tree.means, tree.ids, tree.listed)
    assert opened("coco-stuff-27", moved.put(tmp_path / "b")).layout.startswith("as COCO-Stuff's publisher")
    assert opened("coco-stuff-27", tree.put(tmp_path / "a")).layout == "COCO's own"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_a_grey_mask_is_what_a_viewer_shows(tmp_path, mode):
    values, palette = (0, 1, 127, 128, 255), bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))
    plain = np.array(Image.open(put_mask(tmp_path / "plain.png", values=values)))
    spread = tuple(value * 0x010101 if mode in ("RGB", "RGBA") else value for value in values)
    grey, _ = read_grey(put_mask(tmp_path / "mask.png", values=spread, mode=mode, palette=palette), plain.shape)
    np.testing.assert_array_equal(grey, plain)
    assert grey.dtype == np.uint8


def test_a_mask_of_one_bit_is_black_and_white(tmp_path):
    grey, _ = read_grey(put_mask(tmp_path / "mask.png", values=(0, 255), mode="1"))
    assert set(np.unique(grey)) == {0, 255}


@pytest.mark.parametrize(
    ("mode", "values", "alpha"), [("RGB", (0, 200), 255), ("LA", (0, 200), 9), ("I;16", (0, 9), 0)]
)
def test_colours_and_16_bits_are_no_grey_mask(tmp_path, mode, values, alpha):
    tree = TREES["ecssd"]
    tree.put(tmp_path)
    put_mask(tmp_path / tree.label.format("0002"), values=values, mode=mode, alpha=alpha)
    said(bench("show", "ecssd", "--data-root", tmp_path), 3, "0002.png has", "a PNG of grey values is expected")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("above = 0\n", "", "above"),
        ("above = 0", "above = 255", "above"),
        ('encoding = "grey"', 'encoding = "index"', "above"),
        ("above = 0", "above = 0\nmap = [{ ids = [0, 0], classes = [0, 0] }]", "map"),
        ('"object",', '"object", "other",', "classes"),
        ('list = "images"', 'list = "pictures"', "listing"),
        ('image = "images/{id}.jpg"', 'image = "images/{id}/{id}.jpg"', "listing"),
        ('listing = "files"', f'listing = "files"\nlist_sha256 = "{"0" * 64}"', "list_sha256"),
        ('listing = "files"', 'listing = "files"\nboxes = "../a.json"', "boxes"),
        ('listing = "files"', 'listing = "files"\nboxes = "a.txt"', "boxes"),
        ('listing = "files"', 'listing = "files"\nboxes = "a.xml"', "boxes"),
    ],
)
def test_entries_that_do_not_go_together_are_refused(tmp_path, old, new, key):
    text = catalogue.dataset("ecssd").path.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput, match=key):
        load_card(tmp_path / "mine.toml", DatasetCard)


def put_boxes(root):
    """The boxes of both trees that have some."""
    for name in TREES["voc2007"].ids:
        path = root / f"VOCdevkit/VOC2007/Annotations/{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        corners = "<xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>8</ymax>"
        path.write_text(f"<annotation><object><bndbox>{corners}</bndbox></object></annotation>")
    images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate(TREES["coco20k"].ids)]
    boxes = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 8, 6]} for i in range(2)]
    (root / "annotations").mkdir()
    (root / "annotations/instances_train2014.json").write_text(json.dumps({"images": images, "annotations": boxes}))


@pytest.mark.parametrize("name", ["voc2007", "coco20k"])
def test_the_boxes_of_a_split_are_read_in_its_order(name, tmp_path):
    samples = opened(name, TREES[name].put(tmp_path))
    put_boxes(tmp_path)
    found = read_boxes(samples)
    assert [boxes.boxes.tolist() for boxes in found] == [[[1, 2, 9, 8]]] * 2
    assert "no label file, 1 box" in bench("show", name, "--data-root", tmp_path).stdout


@pytest.mark.parametrize("name", ["voc2007", "coco20k"])
def test_boxes_that_are_missing_are_named(name, tmp_path):
    samples = opened(name, TREES[name].put(tmp_path))
    with pytest.raises(BadInput, match=r"(000005\.xml|instances_train2014\.json) cannot be read: No such file"):
        read_boxes(samples)
    said(bench("show", name, "--data-root", tmp_path), 3, "cannot be read: No such file")


def test_an_image_that_the_json_does_not_list_is_named(tmp_path):
    samples = opened("coco20k", TREES["coco20k"].put(tmp_path))
    put_boxes(tmp_path)
    (tmp_path / "annotations/instances_train2014.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(BadInput, match=r"does not list 'COCO_train2014_000000000009' \(2 of 2"):
        read_boxes(samples)


def test_a_split_without_boxes_says_so(tmp_path):
    with pytest.raises(BadInput, match="names no boxes for test"):
        read_boxes(opened("ecssd", TREES["ecssd"].put(tmp_path)))
