"""Folders of images and masks as people have them: what is in the masks, and a card that works at once."""

import os
import shutil
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.base.errors import BadEnvironment, BadInput, WrongName
from bench.base.folders import folder
from bench.cards import catalogue
from bench.cards.card import load_card
from bench.cards.catalogue import TEMPLATE
from bench.cards.datasets import DatasetCard
from bench.cli import main
from bench.data.decoding import read_label
from bench.data.palette import voc_palette
from bench.data.samples import open_split
from bench.discover.card import card_id, discover, quoted, write
from bench.discover.classes import id_ranges
from bench.discover.names import names_for, parse
from bench.protocols import registry
from tests.folders import NAMES, card_of, put_image, put_mask, put_pairs, samples_of

# --- folders of which nothing can be made ---


def test_an_empty_folder_no_folder_and_one_that_cannot_be_read_are_told_apart(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="no folder at"):
        discover(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"holds no image"):
        discover(tmp_path)

    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BadEnvironment, match="cannot be read: Permission denied"):
        discover(tmp_path)


def test_masks_alone_are_no_images(tmp_path):
    put_mask(tmp_path / "below/masks/a.png")
    with pytest.raises(BadInput, match="holds 1 masks and no image"):
        discover(tmp_path)
    for name in NAMES:
        put_mask(tmp_path / f"below/masks/{name}.png")
    put_mask(tmp_path / "below/masks/rgb.png", mode="RGB", values=(0, 0xFF0000, 0x00FF80))
    with pytest.raises(BadInput, match="holds 4 pictures that look like masks"):
        discover(tmp_path / "below/masks")
    found, _ = card_of(tmp_path / "below/masks", tmp_path, labels=False)
    assert len(found.splits["val"]) == 4


def test_masks_named_otherwise_than_their_images_are_said_so(tmp_path):
    put_image(tmp_path / "images/a.jpg")
    put_mask(tmp_path / "masks/1.png")
    with pytest.raises(BadInput, match=r"1 masks \(masks/1.png first\) and none has the name of an image"):
        discover(tmp_path)
    found, card = card_of(tmp_path, tmp_path, labels=False)
    assert not card.labelled and found.proposal is None


def test_masks_of_images_in_folders_that_do_not_say_so_are_told_the_reason(tmp_path):
    put_pairs(tmp_path, NAMES, "one/{}.jpg", "gt/{}.png")
    put_image(tmp_path / "two/z.jpg")
    with pytest.raises(
        BadInput,
        match=r"the folders do not tell which image each belongs to: gt/a\.png and one/a\.jpg, for example, have",
    ) as e:
        discover(tmp_path)
    assert "images/" in e.value.remedy and "--without-labels" in e.value.remedy


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"mode": "I;16", "values": (0, 5000)}, "16-bit"),
        ({"mode": "RGBA", "values": (0, 0x800000, 0x0000FF), "alpha": 9}, "colour-coded, with an alpha channel"),
        ({"mode": "RGBA", "values": (0, 0x010101, 0x020202), "alpha": 9}, "grey saved as RGB with an alpha channel"),
        ({"mode": "RGB", "values": (0, 255)}, "colour-coded:"),
        ({"mode": "RGB", "values": (0, 0xFF0000)}, "colour-coded:"),
        ({"mode": "RGB", "values": (0, 0x070000, 0x2C0100)}, "ids in blue"),
        ({"mode": "RGBA", "values": (0, 255)}, "colour-coded:"),
        ({"mode": "LA", "values": (0, 1), "alpha": 9}, "alpha channel"),
    ],
)
def test_masks_of_another_kind_are_explained_not_guessed_at(tmp_path, how, words):
    put_pairs(tmp_path, NAMES, **how)
    with pytest.raises(BadInput, match=words):
        discover(tmp_path)


def test_jpeg_masks_are_explained(tmp_path):
    put_pairs(tmp_path, NAMES, mask="labels/{}.jpg")
    with pytest.raises(BadInput, match="JPEG, which changes values"):
        discover(tmp_path)


def test_pairs_that_cannot_be_used_are_named_and_left_out(tmp_path):
    put_pairs(tmp_path, "abcdef")
    put_mask(tmp_path / "labels/b.png", size=(5, 5))
    put_mask(tmp_path / "labels/c.png", mode="I;16", values=(0, 5000))
    (tmp_path / "labels/d.png").write_bytes((tmp_path / "labels/a.png").read_bytes()[:40])
    (tmp_path / "images/e.jpg").write_bytes(b"no picture")
    found, card = card_of(tmp_path, tmp_path)
    assert found.survey.unusable == {
        "size": ["labels/b.png"], "16-bit": ["labels/c.png"], "damaged": ["labels/d.png", "images/e.jpg"],
    }  # fmt: skip
    assert [sample.id for sample in samples_of(card)] == ["a", "f"]


# --- classes, ignored pixels, maps, names ---


@pytest.mark.parametrize(
    ("values", "classes", "ignore", "mapped"),
    [
        ((0, 1, 2), ("background", "class 1", "class 2"), 255, False),
        ((0, 1, 2, 255), ("background", "class 1", "class 2"), 255, False),
        ((0, 255), ("background", "class 255"), 254, True),
        ((0, 128), ("background", "class 128"), 255, True),
        ((1, 2), ("class 1", "class 2"), 255, True),
        ((0, 7, 8, 30, 255), ("background", "class 7", "class 8", "class 30"), 255, True),
        ((0,), ("background", "class 1"), 255, False),
    ],
)
def test_values_become_classes_and_are_read_back_as_such(tmp_path, values, classes, ignore, mapped):
    put_pairs(tmp_path, NAMES, values=values)
    found, card = card_of(tmp_path, tmp_path)
    assert card.classes == classes and card.labels.ignore == ignore and bool(card.labels.map) == mapped
    label, _ = read_label(samples_of(card).entries[0].label, card)
    kept = [value for value in values if value != ignore]
    assert sorted(set(label.reshape(-1).tolist()) - {ignore}) == list(range(len(kept)))
    assert found.survey.tally.masks[values[0]] == 3


def test_masks_of_the_highest_value_alone_get_a_second_class_below_it(tmp_path):
    put_pairs(tmp_path, NAMES, values=(255,))
    _, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("class 254", "class 255") and card.labels.ignore == 253
    assert (read_label(samples_of(card).entries[0].label, card)[0] == 1).all()


def test_an_rgb_mask_of_ids_is_one(tmp_path):
    put_pairs(tmp_path, NAMES, mode="RGB", values=(0, 7, 300, 1000))
    _, card = card_of(tmp_path, tmp_path)
    assert card.labels.encoding == "rgb" and card.labels.ignore == 1000
    assert card.classes == ("background", "class 7", "class 300")
    assert len(samples_of(card)) == 3


def test_a_value_of_outlines_alone_is_taken_for_ignored(tmp_path):
    rows = np.zeros((100, 100), np.uint8) + 2
    rows[30:70, 30:70] = 3
    rows[34:66, 34:66] = 1
    for name in NAMES:
        put_image(tmp_path / f"images/{name}.jpg", (100, 100))
        (tmp_path / "annotations/trimaps").mkdir(parents=True, exist_ok=True)
        Image.fromarray(rows).save(tmp_path / f"annotations/trimaps/{name}.png")
    found, card = card_of(tmp_path, tmp_path)
    assert card.labels.ignore == 3 and card.classes == ("class 1", "class 2")
    assert any("only outlines" in check for check in found.proposal.checks)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("sky\ncat\ndog\n", ("sky", "cat", "dog")),
        ("# names\n\ncat\ndog\n", ("background", "cat", "dog")),
        ("0: sky\n1: cat\n2: dog\n9: cow\n", ("sky", "cat", "dog", "cow")),
        ("2 dog\n0 sky\n1 a cat\n", ("sky", "a cat", "dog")),
        ("cat\n", ("background", "class 1", "class 2")),
    ],
)
def test_names_come_from_a_file_where_they_fit(tmp_path, text, classes):
    put_pairs(tmp_path, NAMES)
    (tmp_path / "classes.txt").write_text(text)
    found, card = card_of(tmp_path, tmp_path)
    assert card.classes == classes
    assert any("do not fit" in check for check in found.proposal.checks) == (text == "cat\n")


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("".join(f"name {i}\n" for i in range(255)), 255),
        ("".join(f"name {i}\n" for i in range(256)), 3),
        ("0 sky\n1 cat\n2 dog\n300 cow\n", 3),
    ],
)
def test_more_names_than_masks_of_8_bits_can_hold_are_those_of_the_values_found(tmp_path, text, classes):
    put_pairs(tmp_path, NAMES)
    (tmp_path / "classes.txt").write_text(text)
    found, card = card_of(tmp_path, tmp_path)
    assert len(card.classes) == classes and card.labels.ignore == 255
    assert any("too many for masks of this kind: 3 used" in check for check in found.proposal.checks) == (classes == 3)


def test_a_labelmap_names_the_colours_of_a_palette_and_the_card_keeps_them(tmp_path):
    palette = bytes([0, 0, 0, 250, 10, 10, 10, 10, 250] + [0] * 759)
    put_pairs(tmp_path, NAMES, mode="P", palette=palette)
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nsea:10,10,250::\nbackground:0,0,0::\nfire:250,10,10::\n"
    )
    _, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("background", "fire", "sea")
    assert card.palette == ((0, 0, 0), (250, 10, 10), (10, 10, 250))


def test_the_usual_palette_is_called_by_its_name(tmp_path):
    put_pairs(tmp_path, NAMES, mode="P", palette=voc_palette())
    assert card_of(tmp_path, tmp_path)[1].palette == "voc"


def test_two_classes_of_one_name_are_told_apart(tmp_path):
    put_pairs(tmp_path, NAMES)
    (tmp_path / "classes.txt").write_text("thing\nthing\nthing\n")
    assert card_of(tmp_path, tmp_path)[1].classes == ("thing", "thing 2", "thing 3")


@given(st.sets(st.integers(0, 255), min_size=1))
def test_ranges_say_every_value_once_and_nothing_else(values):
    found = {}
    for (first, last), (low, high) in id_ranges(sorted(values)):
        assert last - first == high - low
        found |= dict(zip(range(first, last + 1), range(low, high + 1), strict=True))
    assert found == {value: place for place, value in enumerate(sorted(values))}


@given(st.text(st.characters(exclude_categories=("Cs",))))
@settings(max_examples=200)
def test_any_text_is_read_back_from_toml(text):
    assert tomllib.loads(f"key = {quoted(text)}")["key"] == text


def test_numbers_at_the_head_of_lines_are_ids_and_a_missing_one_does_not_fit():
    names = parse("x", ["7 tree", "0 sky"])
    assert names_for(names, [0, 7], b"") == {0: "sky", 7: "tree"}
    assert names_for(names, [0, 1], b"") is None


# --- large folders ---


def test_of_many_masks_some_are_opened_and_that_is_said(tmp_path, monkeypatch):
    put_pairs(tmp_path, [f"{i:03d}" for i in range(30)])
    monkeypatch.setattr("bench.discover.card.LOOKED_AT", 10)
    found, card = card_of(tmp_path, tmp_path)
    assert (found.survey.looked_at, found.survey.of) == (10, 30) and len(samples_of(card)) == 30
    assert card_of(tmp_path, tmp_path, every=True)[0].survey.looked_at == 30


# --- the card, and the command ---


@pytest.mark.slow
def test_the_card_shows_and_runs_at_once(tmp_path, small_file, monkeypatch, capsys):
    put_pairs(tmp_path / "data", [f"i{i}" for i in range(12)])
    put_pairs(tmp_path / "data", [f"t {i}" for i in range(12)], "train/images/{}.png", "train/labels/{}.png")
    monkeypatch.chdir(tmp_path)

    def call(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return left.value.code, *capsys.readouterr()

    code, out, _ = call("init-dataset", "data", "--id", "mine")
    assert code == 0 and "12 pairs of image and mask" in out and "bench run --dataset ./mine.toml" in out
    code, _, err = call("init-dataset", "data", "--id", "mine")
    assert code == 3 and "mine.toml exists already" in err
    assert call("init-dataset", "data", "--id", "mine", "--force")[0] == 0
    code, out, _ = call("show", "./mine.toml", "--pictures", "sheet.png", "--split", "train")
    assert code == 0 and "t 0" in out and (tmp_path / "sheet.png").is_file()
    for protocol in ("clustering", "clustering-dense"):
        code, out, err = call("run", "--dataset", "./mine.toml", "--split", "train", "--model", small_file,
                              "--protocol", protocol, "--num-seeds", "1", "--results", "r")  # fmt: skip
        assert code == 0 and "mIoU" in out, err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Missing argument"),
        (("data", "--out", "card.txt"), 2, "must end in .toml"),
        (("data", "--id", "No Id"), 2, "is not allowed as a card's id"),
        (("data", "--id", "shapes"), 2, "built-in card's id"),
        (("nowhere",), 3, "no folder at"),
    ],
)
def test_wrong_words_are_answered(tmp_path, monkeypatch, capsys, words, code, said):
    put_pairs(tmp_path / "data", NAMES)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["init-dataset", *words])
    assert left.value.code == code and said in capsys.readouterr().err
    assert not list(tmp_path.glob("*.toml"))


def test_ids_come_from_the_folder_and_never_from_a_built_in_card(tmp_path):
    assert card_id(tmp_path / "My Photos (2020)", None) == "my-photos-2020"
    assert card_id(tmp_path / "shapes", None) == "my-shapes"
    assert card_id(tmp_path / "…", None) == "data"
    with pytest.raises(WrongName):
        card_id(tmp_path, "a b")


def test_a_folder_whose_name_is_no_text_is_to_be_renamed(tmp_path):
    try:
        put_pairs(tmp_path / os.fsdecode(b"d\xff"), NAMES)
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(BadInput, match=r"no card can hold the name of .*d\\udcff.*: it is no UTF-8") as caught:
        card_of(tmp_path / os.fsdecode(b"d\xff"), tmp_path)
    assert caught.value.remedy == "Rename the folder." and not list(tmp_path.glob("card.*"))


def test_a_card_below_which_the_data_lie_moves_with_them(tmp_path):
    put_pairs(tmp_path / "here/data", NAMES)
    write(discover(tmp_path / "here/data"), tmp_path / "here/card.toml", "mine")
    shutil.move(tmp_path / "here", tmp_path / "there")
    card = load_card(tmp_path / "there/card.toml", DatasetCard)
    assert card.root == "data" and len(samples_of(card)) == 3


# --- the table beside a card ---


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image\tlabel\na.jpg\ta.png\n", "no column 'id'"),
        ("id\timage\tlabel\n", "lists no sample"),
        ("id\timage\tlabel\na\ta.jpg\n", ":2: 2 columns instead of 3"),
        ("id\timage\tlabel\na\tx\ty\n\na\tx\ty\n", ":4: the id 'a' is empty or occurs twice"),
        ("id\timage\tlabel\na\t../x\ty\n", "leads out of the data root"),
        ("id\timage\tlabel\na\t/etc/passwd\ty\n", "leads out of the data root"),
        ("id\timage\nb\tx.jpg\n", "no column 'label'"),
        ("id\timage\tlabel\na\t\ty.png\n", "'a' has no image"),
        ("id\timage\tlabel\na\tnowhere.jpg\t\n", "nowhere.jpg is missing"),
    ],
)
def test_a_table_that_makes_no_sense_is_named(tmp_path, text, words):
    put_pairs(tmp_path / "data", NAMES)
    _, card = card_of(tmp_path / "data", tmp_path)
    (tmp_path / "card.val.tsv").write_text(text)
    with pytest.raises(BadInput, match=words):
        samples_of(card)


def test_braces_in_file_names_stand_for_themselves(tmp_path):
    put_pairs(tmp_path / "data", ["{label}", "{id}"])
    _, card = card_of(tmp_path / "data", tmp_path)
    assert {sample.image.name for sample in samples_of(card)} == {"{label}.jpg", "{id}.jpg"}


# --- the template ---


def test_the_template_is_a_card_names_every_key_and_is_no_data_set(capsys):
    text = (folder("datasets") / TEMPLATE).read_text(encoding="utf-8")
    card = DatasetCard.model_validate(tomllib.loads(text))
    assert card.id not in catalogue.datasets()
    for entry in (DatasetCard, type(card.labels), type(card.splits["val"]), type(card.layouts[0]),
                  type(card.layouts[0].splits["val"]), type(card.downloads[0])):  # fmt: skip
        for name, field in entry.model_fields.items():
            spelt = (field.alias or name).rstrip("_")
            assert name in ("path", "generator") or f"{spelt} =" in text or f"[{spelt}" in text, spelt
    for protocol in registry.BUILT_IN:
        assert f"[protocols.{protocol.id}]" in text
    with pytest.raises(SystemExit):
        main(["init-dataset", "--template"])
    assert capsys.readouterr().out == text


# --- real data ---


@pytest.mark.slow
def test_a_real_tree_in_voc_s_layout_becomes_the_same_samples(realdata, tmp_path):
    found, card = card_of(realdata / "VOCdevkit", tmp_path)
    official = catalogue.dataset("pascal-voc")
    assert card.labels.ignore == 255
    for split in ("train", "val", "trainaug"):
        ours, theirs = samples_of(card, split), open_split(official, split, realdata / "VOCdevkit")
        assert [(s.id, s.image, s.label) for s in ours] == [(s.id, s.image, s.label) for s in theirs]
    assert found.tree.lone_masks == [] and found.tree.lone_images == []
