"""Lists of images as people and programs write them: each names the same images, or says what is wrong with it."""

import json
import unicodedata

import pytest
from PIL import Image

from bench.base.errors import BadInput
from bench.cards.card import load_card
from bench.cards.datasets import DatasetCard
from bench.cli import configuration
from bench.data.listings import first_words, read_listing, read_table
from bench.data.samples import open_split
from tests.terminal import bench, said

IDS = ("im0", "im1", "sub/im2")


def card_of(tmp_path, listing="lines", list_name="val.txt", label="labels/{id}.png"):
    files = f'list = "{list_name}"\nlisting = "{listing}"\nimage = "images/{{id}}.jpg"\n'
    files += f'label = "{label}"\n' if label else ""
    (tmp_path / "toy.toml").write_text(
        'schema = 1\nid = "toy"\ntitle = "toy"\nlicence = "none"\nroot = "."\nclasses = ["a", "b"]\n'
        f'splits.val = {{}}\n[[layouts]]\nname = "toy"\n[layouts.splits.val]\n{files}'
        "[protocols.clustering]\ninput = [64, 64]\nclusters = 2\n"
    )
    return load_card(tmp_path / "toy.toml", DatasetCard)


def fill(tmp_path, ids=IDS):
    for name in ids:
        for folder, ending in (("images", "jpg"), ("labels", "png")):
            path = tmp_path / folder / f"{name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(path)


def ids_of(tmp_path, content, **card):
    (tmp_path / "val.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return tuple(open_split(card_of(tmp_path, **card), "val", tmp_path).ids)


PLAIN = "".join(f"{name}\n" for name in IDS)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.replace("\n", "\r\n").encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", ".jpg\n"),
        PLAIN.replace("\n", ".png\n"),  # as the labels are called
        PLAIN.replace("\n", " 1\n"),  # PASCAL VOC's list of a class
        PLAIN.replace("\n", "  -1\n\n"),
        "".join(f"images/{name}.jpg\n" for name in IDS),
        "".join(f"images\\{name}.jpg\r\n" for name in IDS).replace("sub/", "sub\\"),
        "".join(f"./images/{name}.jpg ./labels/{name}.png\n" for name in IDS),
        "".join(f"/images/{name}.jpg /Aug/{name}.png\n" for name in IDS),  # DeepLab's
        "".join(f"/SegNet/data/images/{name}.jpg\t/SegNet/data/labels/{name}.png\n" for name in IDS),
        "".join(f"images/{name}.jpg labels/{name}.png 0\n" for name in IDS),
        f"# for validation\n#\n{PLAIN}#im3\n",
    ],
)
def test_every_way_to_write_a_list_names_the_same_images(tmp_path, content):
    fill(tmp_path)
    assert ids_of(tmp_path, content) == IDS


def test_ids_may_have_spaces_where_the_whole_line_is_one(tmp_path):
    names = ("IMG 0", "IMG (1)", "IMG")
    fill(tmp_path, names)
    assert ids_of(tmp_path, "IMG 0\nIMG (1)\nIMG\n") == names
    assert ids_of(tmp_path, "".join(f"/images/{name}.jpg /labels/{name}.png\n" for name in names)) == names


def test_an_id_may_begin_as_a_comment_does_and_comments_alone_are_no_list(tmp_path):
    fill(tmp_path, ("#1", "# 2"))
    assert ids_of(tmp_path, "#1\n# 2\n") == ("#1", "# 2")
    with pytest.raises(BadInput, match=r"val\.txt names no image"):
        ids_of(tmp_path, "# 3\n#4\n")


def test_a_line_that_names_no_image_says_where_an_id_ends(tmp_path):
    fill(tmp_path, ("IMG 0",))
    with pytest.raises(BadInput, match=r"val\.txt:2: neither 'IMG 1' nor 'IMG' names an image") as caught:
        ids_of(tmp_path, "IMG 0\nIMG 1\nIMG 2\n")
    assert "lines of this kind: 2" in caught.value.problem and "an id ends at a space" in caught.value.remedy


@pytest.mark.parametrize("written, on_disk", [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC"), ("NFD", "NFD")])
def test_accents_are_found_in_either_form(tmp_path, written, on_disk):
    name = "grün ça"
    fill(tmp_path, (unicodedata.normalize(on_disk, name),))
    assert ids_of(tmp_path, unicodedata.normalize(written, name)) == (unicodedata.normalize(on_disk, name),)


def test_predictions_may_spell_an_accent_otherwise_than_the_images(tmp_path):
    on_disk, written = (unicodedata.normalize(form, "ça") for form in ("NFD", "NFC"))
    fill(tmp_path, (on_disk,))
    (tmp_path / "val.txt").write_text(written)
    card_of(tmp_path)
    (tmp_path / "pred").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / f"pred/{written}.png")
    done = bench("score", tmp_path / "pred", "--dataset", tmp_path / "toy.toml", "--results", tmp_path / "results")
    assert done.returncode == 0 and "belong to no image" not in done.stderr, done.stderr


def test_an_id_in_both_forms_is_listed_twice(tmp_path):
    fill(tmp_path, (unicodedata.normalize("NFD", "é"),))
    with pytest.raises(BadInput, match="twice"):
        ids_of(tmp_path, "\n".join(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")))


def test_an_id_that_is_there_as_it_stands_is_that(tmp_path):
    """A list that was read before names the same files: endings, and words behind an id, never change that."""
    fill(tmp_path, ("a", "a.jpg", "b"))
    assert ids_of(tmp_path, "a.jpg\na\nb 1\n") == ("a.jpg", "a", "b")


def test_a_label_of_another_image_is_refused(tmp_path):
    fill(tmp_path)
    with pytest.raises(BadInput, match=r"val\.txt:2: '/labels/im0\.png' is not the label of 'im1'"):
        ids_of(tmp_path, "/images/im0.jpg /labels/im0.png\n/images/im1.jpg /labels/im0.png\n")
    assert ids_of(tmp_path, "/images/im0.jpg /labels/im1.png\n", label=None) == ("im0",)


def test_an_image_that_is_missing_is_named_as_the_card_has_it(tmp_path):
    fill(tmp_path)
    with pytest.raises(BadInput, match=r"images/im7\.jpg is missing \(1 of 2 samples"):
        ids_of(tmp_path, "/images/im0.jpg\n/images/im7.jpg\n")
    with pytest.raises(BadInput, match=r"images/im7\.jpg is missing \(1 of 2 samples"):
        ids_of(tmp_path, "im0.jpg\nim7.jpg\n")
    with pytest.raises(BadInput, match="is missing"):
        ids_of(tmp_path, "a" * 5000)


@pytest.mark.parametrize(
    "content, says",
    [
        (b"im0\nim1\n" + bytes(16), r"val\.txt:3: NUL bytes"),
        (PLAIN.encode("utf-16-le"), r"val\.txt:1: NUL bytes: .* UTF-16 without a byte order mark"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"im\xff\n", "is not a text file"),
        (b"\xff\xfea", "is not a text file"),
        (b"im0.jpg\nim0\n", "lists 'im0' twice"),
        (b"/else/im0.jpg\n", "leads out of the data root"),
        (b"../images/im0.jpg\n../im1\n", "leads out of the data root"),
    ],
)
def test_a_list_that_is_none_is_named_with_its_line(tmp_path, content, says):
    fill(tmp_path)
    with pytest.raises(BadInput, match=says):
        ids_of(tmp_path, content)
    (tmp_path / "val.txt").write_bytes(content)
    said(bench("show", str(tmp_path / "toy.toml"), "--samples", "1"), 3, "val.txt")


def test_sequences_and_tables_take_a_byte_order_mark_too(tmp_path):
    path = tmp_path / "list.txt"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes("bear\r\ncamel\r\n".encode(encoding))
        assert first_words(path, "sequence") == ["bear", "camel"]
        path.write_bytes("id\timage\r\na\ta.jpg\r\n".encode(encoding))
        assert read_table(path) == [{"id": "a", "image": "a.jpg"}]
    path.write_bytes(b"id\timage\na\ta\0.jpg\n")
    with pytest.raises(BadInput, match=r"list\.txt:2: no file can be called 'a\\x00\.jpg'"):
        read_table(path)


def coco(tmp_path, *names, encoding="utf-8"):
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    annotations = [{"image_id": number, "category_id": 1} for number in range(len(names))]
    path = tmp_path / "instances.json"
    path.write_bytes(json.dumps({"images": images, "annotations": annotations}).encode(encoding))
    return path


def test_a_coco_subset_says_how_much_of_the_list_is_there(tmp_path):
    fill(tmp_path)
    coco(tmp_path, "im0.jpg", "im1.jpg", "im8.jpg", "im9.jpg", encoding="utf-8-sig")
    card = card_of(tmp_path, "coco-instances", "instances.json")
    with pytest.raises(BadInput, match=r"images/im8\.jpg is missing: of the 4 images that instances\.json lists 2 are"):
        open_split(card, "val", tmp_path)
    said(bench("show", str(tmp_path / "toy.toml"), "--samples", "1"), 3, "For a subset", "init-dataset")


def test_coco_s_names_with_folders_or_accents_are_those_of_the_images_that_are_there(tmp_path):
    names = ("a", "sub/b", unicodedata.normalize("NFD", "ç"))
    fill(tmp_path, names)
    coco(tmp_path, "images/a.jpg", "sub/b.jpg", unicodedata.normalize("NFC", "ç") + ".jpg")
    card = card_of(tmp_path, "coco-instances", "instances.json")
    assert set(open_split(card, "val", tmp_path).ids) == set(names)


@pytest.mark.parametrize("name", ["", "/", None, 7, ["a"], "a\0.jpg", "\ud800.jpg"])
def test_a_coco_file_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(BadInput, match=r"instances\.json"):
        read_listing(coco(tmp_path, name), "coco-instances")


def test_json_nested_too_deep_is_refused(tmp_path):
    (tmp_path / "instances.json").write_text('{"images": ' + "[" * 200_000)
    with pytest.raises(BadInput, match=r"instances\.json is not a COCO"):
        read_listing(tmp_path / "instances.json", "coco-instances")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_cards_and_settings_take_a_byte_order_mark(tmp_path, monkeypatch, encoding):
    fill(tmp_path)
    (tmp_path / "val.txt").write_text(PLAIN)
    card_of(tmp_path)
    card = tmp_path / "toy.toml"
    card.write_bytes(card.read_text().replace("\n", "\r\n").encode(encoding))
    assert len(open_split(load_card(card, DatasetCard), "val", tmp_path)) == 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.toml").write_bytes("[data_roots]\r\ntoy = 'elsewhere'\r\n".encode(encoding))
    roots = configuration.data_roots(configuration.sources())
    assert {key: path.name for key, (path, _) in roots.items()} == {"toy": "elsewhere"}
