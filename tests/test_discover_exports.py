"""Exports of annotation programs: labelme, CVAT, CamVid's form, Roboflow: what their files name, what is a mask."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bench.base.errors import BadInput
from bench.data.decoding import read_label
from bench.data.label_values import open_label
from bench.discover.card import discover
from bench.discover.names import parse
from bench.discover.tree import look_at
from tests.folders import NAMES, SIZE, card_of, put_image, put_mask, put_pairs, samples_of
from tests.terminal import bench, said

BLACK, RED, BLUE = (0, 0, 0), (250, 50, 83), (51, 221, 255)
CODES = tuple(red | green << 8 | blue << 16 for red, green, blue in (BLACK, RED, BLUE))
CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:51,221,255:head,tail:sits\n"
CAMVID = "name,r,g,b\nCat,250,50, 83\nDog,51, 221,255\nVoid,0, 0, 0\nTree,1,2,3"


def checks_of(folder, tmp_path):
    """What `bench init-dataset` prints, its further lines joined to their first."""
    done = bench("init-dataset", folder, "--out", tmp_path / "out.toml", "--force")
    assert done.returncode == 0, done.stderr
    return re.sub(r"\n    (?=\S)", " ", done.stdout)


def counts_of(card):
    """Class → pixels, over all samples of the default split."""
    labels = [read_label(sample.label, card)[0] for sample in samples_of(card, card.default_split)]
    values, counts = np.unique(np.concatenate([label.reshape(-1) for label in labels]), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


# --- labelme ---


def put_labelme(folder, label_names, values=(0, 1, 2), mode="P"):
    put_image(folder / "img.png")
    put_mask(folder / "label.png", values, mode=mode)
    put_image(folder / "label_viz.png")
    (folder / "label_names.txt").write_text("".join(f"{name}\n" for name in label_names))


@pytest.mark.parametrize("mode", ["P", "L", "I;16"])
def test_labelme_s_folder_of_each_image_is_a_pair_with_the_names_of_its_values(tmp_path, mode):
    put_labelme(tmp_path / "data/b_json", ("_background_", "cat"), (0, 1), mode)
    put_labelme(tmp_path / "data/a_json", ("_background_", "cat", "dog"), mode=mode)
    _, card = card_of(tmp_path / "data", tmp_path)
    assert card.classes == ("_background_", "cat", "dog")
    assert [(s.id, s.image.name, s.label.name) for s in samples_of(card)] == [
        ("a", "img.png", "label.png"), ("b", "img.png", "label.png"),
    ]  # fmt: skip
    assert "label_viz" not in checks_of(tmp_path / "data", tmp_path)


def test_labelme_s_folders_beside_the_photographs_count_each_once(tmp_path):
    for name in NAMES:
        put_labelme(tmp_path / f"data/{name}_json", ("_background_", "cat", "dog"))
        put_image(tmp_path / f"data/{name}.jpg")
    found, card = card_of(tmp_path / "data", tmp_path)
    assert len(samples_of(card)) == 3 and len(found.tree.labelled) == 3
    assert "left out: 3 images whose mask is that of another" in checks_of(tmp_path / "data", tmp_path)


def test_labelme_s_folders_of_train_and_val_are_splits(tmp_path):
    for split in ("train", "val"):
        put_labelme(tmp_path / f"{split}/x_json", ("_background_", "cat", "dog"))
    tree = look_at(tmp_path)
    assert {split: pairs[0].image for split, pairs in tree.splits.items()} == {
        "train": "train/x_json/img.png", "val": "val/x_json/img.png",
    }  # fmt: skip


def test_labelme_s_masks_that_number_their_classes_differently_are_refused(tmp_path):
    put_labelme(tmp_path / "data/a_json", ("_background_", "cat"), (0, 1))
    put_labelme(tmp_path / "data/b_json", ("_background_", "dog"), (0, 1))
    said(bench("init-dataset", tmp_path / "data"), 3, "value 1 is 'cat' in a_json/label_names.txt and 'dog' in b_json/")
    _, card = card_of(tmp_path / "data", tmp_path, labels=False)
    assert not card.labelled and len(samples_of(card)) == 2


def test_labelme2voc_s_pictures_of_masks_are_neither_masks_nor_images(tmp_path):
    put_pairs(tmp_path, NAMES, "JPEGImages/{}.jpg", "SegmentationClassPNG/{}.png", mode="P")
    for name in NAMES:
        put_image(tmp_path / f"SegmentationClassVisualization/{name}.jpg")
        put_mask(tmp_path / f"SegmentationObjectPNG/{name}.png", (0, 1, 2, 3))
        put_image(tmp_path / f"SegmentationObjectVisualization/{name}.jpg")
    (tmp_path / "class_names.txt").write_text("_background_\ncat\ndog")
    tree = look_at(tmp_path)
    assert [pair.label for pair in tree.splits["val"]] == [f"SegmentationClassPNG/{name}.png" for name in NAMES]
    assert tree.notes == []
    _, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("_background_", "cat", "dog")


def test_labelme_s_list_of_labels_begins_with_what_is_ignored(tmp_path):
    put_pairs(tmp_path, NAMES, values=(0, 1, 2, 255))
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncat\ndog\n")
    _, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("_background_", "cat", "dog") and card.labels.ignore == 255


# --- colours with names ---


def put_coloured(folder, mode="RGB", **more):
    put_pairs(folder, NAMES, "JPEGImages/{}.jpg", "SegmentationClass/{}.png", values=CODES, mode=mode, **more)
    for name in NAMES:
        put_mask(folder / f"SegmentationObject/{name}.png", CODES, mode="RGB")
    return folder


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_cvat_s_masks_are_read_by_the_colours_of_its_labelmap(tmp_path, mode, encoding):
    put_coloured(tmp_path, mode)
    (tmp_path / "labelmap.txt").write_bytes(CVAT.encode(encoding))
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("a\nb\nc\n")
    _, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("background", "cat", "dog") and card.default_split == "default"
    assert card.labels.encoding == "colour" and card.palette == (BLACK, RED, BLUE)
    assert counts_of(card) == dict.fromkeys(range(3), 3 * SIZE[0] * SIZE[1] // 3)
    shown = checks_of(tmp_path, tmp_path)
    assert "(250, 50, 83)" in shown and "cat: 33.33 % of the pixels, in 3 of 3 masks" in shown


def test_camvid_s_table_says_colours_and_void_is_ignored(tmp_path):
    for split in ("train", "val"):
        put_pairs(tmp_path, NAMES, f"{split}/{{}}.png", f"{split}_labels/{{}}_L.png", values=CODES, mode="RGB")
    (tmp_path / "class_dict.csv").write_text(CAMVID)
    found, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("Cat", "Dog", "Tree") and card.palette == (RED, BLUE, (1, 2, 3))
    assert card.labels.ignored_colours == (BLACK,) and card.labels.ignore == 255
    assert set(counts_of(card)) == {0, 1, 255} and set(found.splits) == {"train", "val"}
    assert "'Void': taken for ignored pixels, by the name" in checks_of(tmp_path, tmp_path)


def test_masks_whose_palettes_differ_are_read_by_their_colours_where_these_have_names(tmp_path):
    for name, order in zip(NAMES, ((0, 1, 2), (2, 0, 1), (1, 2, 0)), strict=True):
        colours = bytes(channel for place in order for channel in (BLACK, RED, BLUE)[place])
        put_image(tmp_path / f"images/{name}.jpg")
        put_mask(tmp_path / f"labels/{name}.png", [order.index(value) for value in range(3)], mode="P", palette=colours)
    (tmp_path / "labelmap.txt").write_text(CVAT)
    _, card = card_of(tmp_path, tmp_path)
    assert card.labels.encoding == "colour" and card.classes == ("background", "cat", "dog")
    first = [read_label(sample.label, card)[0].reshape(-1)[0] for sample in samples_of(card)]
    assert first == [0, 0, 0]
    (tmp_path / "labelmap.txt").unlink()
    assert "the masks have different palettes (" in checks_of(tmp_path, tmp_path)


def test_a_mask_in_a_colour_without_a_name_is_left_out_and_the_colour_named(tmp_path):
    put_coloured(tmp_path)
    put_mask(tmp_path / "SegmentationClass/b.png", (*CODES, 0x030201), mode="RGB")
    (tmp_path / "labelmap.txt").write_text(CVAT)
    shown = checks_of(tmp_path, tmp_path)
    assert "colours that the file of names lacks: add them to it (SegmentationClass/b.png)" in shown
    assert "a colour has no name in labelmap.txt: (1, 2, 3), in SegmentationClass/b.png" in shown
    for name in NAMES:
        put_mask(tmp_path / f"SegmentationClass/{name}.png", (*CODES, 0x030201), mode="RGB")
    with pytest.raises(BadInput, match=r"colours that the file of names lacks.*labelmap\.txt lacks \(1, 2, 3\)"):
        discover(tmp_path)


def test_colours_without_names_say_where_to_name_them(tmp_path):
    put_coloured(tmp_path)
    with pytest.raises(BadInput, match=r"class_dict\.csv with the columns name,r,g,b"):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "ids", "colours"),
    [
        ("labelmap.txt", CVAT, {0: "background", 1: "cat", 2: "dog"}, {BLACK, RED, BLUE}),
        ("labelmap.txt", "cat:::\ndog:1,2,3::\nfox:1,2,300::", {0: "cat", 1: "dog", 2: "fox"}, {(1, 2, 3)}),
        ("class_dict.csv", CAMVID, {0: "Cat", 1: "Dog", 2: "Void", 3: "Tree"}, {RED, BLUE, BLACK, (1, 2, 3)}),
        ("class_dict.csv", "Name,R,G,B,class_11\ncat,1,2,3,1\ndog,4,5\n", {0: "cat"}, {(1, 2, 3)}),
        ("label_colors.txt", "# color (RGB) label\n0 0 0 Void\n64 128 64\tAnimal\n128 0 0\t\ta b\n",
         {0: "Void", 1: "Animal", 2: "a b"}, {BLACK, (64, 128, 64), (128, 0, 0)}),
        ("label_colors.txt", "Void 0 0 0\na b\t64 128 64\n3 128 0 0\n",
         {0: "Void", 1: "a b", 2: "3"}, {BLACK, (64, 128, 64), (128, 0, 0)}),
        ("label_colors.txt", "0 0 0 1\n128 0 0 2\n", {0: "1", 1: "2"}, {BLACK, (128, 0, 0)}),
        ("_classes.csv", "Pixel Value, Class\n0, background\n2, a dog\n", {0: "background", 2: "a dog"}, set()),
        ("_classes.csv", "filename, cat, dog\na.jpg, 0, 1\n", {}, set()),
        ("class_dict.csv", "", {}, set()),
    ],
)  # fmt: skip
def test_files_of_names_are_read_in_their_own_form(file, text, ids, colours):
    names = parse(file, text.splitlines())
    assert names.ids == ids and set(names.colours) == colours


def test_two_names_of_one_colour_are_to_be_checked(tmp_path):
    put_coloured(tmp_path)
    (tmp_path / "labelmap.txt").write_text(CVAT + "puma:250,50,83::\n")
    assert "gives 'cat' and 'puma' one colour: it is taken for 'cat'" in checks_of(tmp_path, tmp_path)


def test_lines_of_colours_in_another_form_are_told_the_right_one(tmp_path):
    put_coloured(tmp_path)
    (tmp_path / "label_colors.txt").write_text("background #000000\ncat #fa3253\n")
    with pytest.raises(BadInput, match=r"label_colors\.txt names no colour: .* `R G B name`, or `name R G B`"):
        discover(tmp_path)
    assert parse("label_colors.txt", ["0 0 0 1"]).notes and not parse("label_colors.txt", ["a 0 0 1"]).notes


# --- Roboflow, void, and copies ---


def test_roboflow_s_names_stand_in_each_split_and_must_agree(tmp_path):
    for split in ("train", "valid"):
        put_pairs(tmp_path, NAMES, f"{split}/{{}}_jpg.rf.0f.jpg", f"{split}/{{}}_jpg.rf.0f_mask.png")
        (tmp_path / f"{split}/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    found, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("background", "cat", "dog") and set(found.splits) == {"train", "val"}
    (tmp_path / "valid/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, dog\n2, cat\n")
    with pytest.raises(BadInput, match=r"value 1 is 'cat' in train/_classes\.csv and 'dog' in valid/_classes\.csv"):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("text", "classes", "ignore", "mapped", "seen"),
    [
        ("void\ncat\ndog\n", ("cat", "dog"), 255, [((0, 0), (255, 255)), ((1, 2), (0, 1))], {0, 1, 255}),
        ("cat\ndog\nunlabelled\n", ("cat", "dog"), 2, [], {0, 1, 2}),
        ("void\ncat\nVoid\n", ("cat", "class 3"), 255,
         [((0, 0), (255, 255)), ((1, 1), (0, 0)), ((2, 2), (255, 255)), ((3, 3), (1, 1))], {0, 255}),
        ("cat\ndog\nvoiding\n", ("cat", "dog", "voiding"), 255, [], {0, 1, 2}),
    ],
)  # fmt: skip
def test_values_called_void_are_ignored(tmp_path, text, classes, ignore, mapped, seen):
    put_pairs(tmp_path, NAMES)
    (tmp_path / "classes.txt").write_text(text)
    _, card = card_of(tmp_path, tmp_path)
    assert card.classes == classes and card.labels.ignore == ignore
    assert [(entry.ids, entry.classes) for entry in card.labels.map] == mapped
    assert set(counts_of(card)) == seen


def test_a_picture_beside_its_copy_of_another_ending_counts_once(tmp_path):
    put_pairs(tmp_path, NAMES)
    put_image(tmp_path / "images/a.png")
    _, card = card_of(tmp_path, tmp_path)
    assert [sample.image.name for sample in samples_of(card)] == ["a.jpg", "b.jpg", "c.jpg"]
    said = "1 images whose mask is that of another image (images/a.png beside images/a.jpg first)"
    assert said in checks_of(tmp_path, tmp_path)


def test_copies_among_images_without_masks_are_kept_and_to_be_checked(tmp_path):
    for name in ("a.jpg", "a.jpeg", "b.jpg"):
        put_image(tmp_path / name)
    found, _ = card_of(tmp_path, tmp_path)
    assert len(found.splits["val"]) == 3
    said = "have the name of another but for the ending (a.jpg and a.jpeg first)"
    assert said in checks_of(tmp_path, tmp_path)


def test_a_folder_of_copies_alone_has_no_masks(tmp_path):
    for seed, name in enumerate(NAMES):
        put_image(tmp_path / f"{name}.jpg", (60, 80), seed)
        put_image(tmp_path / f"{name}.png", (60, 80), seed)
    _, card = card_of(tmp_path, tmp_path)
    assert [sample.image.name for sample in samples_of(card)] == ["a.jpg", "b.jpg", "c.jpg"] and not card.labelled
    said = "3 images with the names of others but for the ending, and no masks (a.png first)"
    assert said in checks_of(tmp_path, tmp_path)


def test_images_that_are_called_masks_are_to_be_checked(tmp_path):
    for name in NAMES:
        put_image(tmp_path / f"{name}_photo_1.jpg")
        put_mask(tmp_path / f"{name}_photo_2_mask.png", (0, 0x800000, 0x0000FF), mode="RGB")
    assert "3 images are called masks (a_photo_2_mask.png first)" in checks_of(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("701_StillsRaw_full/{}.png", "LabeledApproved_full/{}_L.png"),  # CamVid's own tree
        ("train/{}_sat.jpg", "train/{}_mask.png"),  # DeepGlobe's
        ("one/x/{}.jpg", "two/{}-seg.png"),
    ],
)
def test_masks_told_by_their_names_are_found_beside_and_in_a_folder_of_their_own(tmp_path, image, mask):
    put_pairs(tmp_path, NAMES, image, mask)
    (pairs,) = look_at(tmp_path).splits.values()
    assert [(pair.image, pair.label) for pair in pairs] == [(image.format(n), mask.format(n)) for n in NAMES]


def test_without_labels_images_that_have_no_mask_are_there_too(tmp_path):
    put_pairs(tmp_path, NAMES)
    put_image(tmp_path / "images/d.jpg")
    assert len(samples_of(card_of(tmp_path, tmp_path, labels=False)[1])) == 4
    samples = samples_of(card_of(tmp_path, tmp_path)[1])
    assert [sample.label is not None for sample in samples] == [True, True, True, False]


# --- pictures as they are read ---


def test_images_with_an_exif_orientation_are_pairs_and_to_be_checked(tmp_path):
    put_pairs(tmp_path, NAMES)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / "images/b.jpg") as upright:
        turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "images/b.jpg", exif=exif)
    found, card = card_of(tmp_path, tmp_path)
    assert len(samples_of(card)) == 3 and set(found.survey.sizes) == {SIZE}
    assert "1 images have an EXIF orientation (images/b.jpg)" in checks_of(tmp_path, tmp_path)


def test_an_image_too_large_is_said_to_be_so_and_nothing_warns(tmp_path, recwarn):
    put_pairs(tmp_path, NAMES)
    Image.new("1", (20000, 9000)).save(tmp_path / "images/a.png")
    (tmp_path / "images/a.jpg").unlink()
    assert "larger than 178,956,970 pixels" in checks_of(tmp_path, tmp_path)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("how", "encoding", "values"),
    [
        ({"mode": "RGB", "values": (0, 0x010101, 0x020202)}, "index", {0, 1, 2}),
        ({"mode": "RGBA", "values": (0, 0x010101, 0x020202)}, "index", {0, 1, 2}),
        ({"mode": "LA", "values": (0, 1, 2)}, "index", {0, 1, 2}),
        ({"mode": "I;16", "values": (0, 1, 300)}, "index", {0, 1, 2}),
    ],
)
def test_masks_are_taken_as_they_are_read(tmp_path, how, encoding, values):
    put_pairs(tmp_path, NAMES, **how)
    _, card = card_of(tmp_path, tmp_path)
    assert card.labels.encoding == encoding and set(counts_of(card)) == values


def test_masks_of_one_channel_among_masks_of_rgb_ids_are_left_out(tmp_path):
    put_pairs(tmp_path, "abcd", mode="RGB", values=(0, 7, 300))
    put_mask(tmp_path / "labels/b.png")
    found, card = card_of(tmp_path, tmp_path)
    assert card.labels.encoding == "rgb" and found.survey.unusable == {"one channel": ["labels/b.png"]}
    assert len(samples_of(card)) == 3


def test_a_picture_that_is_no_longer_read_is_named_by_its_kind(tmp_path):
    put_pairs(tmp_path, NAMES)
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "images/a.jpg", "TIFF")
    put_mask(tmp_path / "labels/b.png")
    Image.new("L", SIZE[::-1]).save(tmp_path / "labels/b.png", "BMP")
    found, _ = card_of(tmp_path, tmp_path)
    assert found.survey.unusable == {"format": ["images/a.jpg"], "no PNG": ["labels/b.png"]}


def test_images_of_16_bits_are_said_before_a_run_refuses_them(tmp_path):
    put_pairs(tmp_path, NAMES, "images/{}.png")
    Image.fromarray(np.full(SIZE, 1000, np.uint16)).save(tmp_path / "images/a.png")
    found, card = card_of(tmp_path, tmp_path)
    assert found.survey.unusable == {"deep": ["images/a.png"]} and len(samples_of(card)) == 2


@pytest.mark.parametrize(
    "table",
    [
        CAMVID.replace(",", ";"),
        CAMVID.replace("name,r,g,b", '"Name", "Red", "Green", "Blue"').replace("\n", "\r\n"),
        "id\t" + CAMVID.replace(" ", "").replace(",", "\t").replace("\n", "\n1\t"),
    ],
)
def test_tables_of_colours_may_be_written_by_spreadsheets(tmp_path, table):
    (tmp_path / "class_dict.csv").write_bytes(table.encode())
    put_pairs(tmp_path, NAMES, mode="RGB", values=CODES)
    _, card = card_of(tmp_path, tmp_path)
    assert card.classes == ("Cat", "Dog", "Tree") and card.labels.encoding == "colour"


def test_what_stands_in_the_place_of_a_picture_is_to_be_fetched(tmp_path):
    put_pairs(tmp_path, NAMES)
    (tmp_path / "images/a.jpg").write_text("<html>Quota exceeded</html>")
    (tmp_path / "labels/b.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    found, _ = card_of(tmp_path, tmp_path)
    assert found.survey.unusable == {"none": ["images/a.jpg", "labels/b.png"]}
    with pytest.raises(BadInput, match=r"b\.png is a Git LFS pointer file") as error:
        open_label(tmp_path / "labels/b.png")
    assert "git lfs pull" in error.value.remedy


def test_a_senseless_exif_block_is_no_warning(tmp_path):
    put_pairs(tmp_path / "data", NAMES)
    for path in (tmp_path / "data/images").iterdir():
        plain = path.read_bytes().removeprefix(b"\xff\xd8")
        block = b"Exif\0\0MM\0*\0\0\0\x08\0\5\x01\x12"
        jfif = 2 + int.from_bytes(plain[2:4])  # without it Pillow looks for the resolution in EXIF
        path.write_bytes(b"\xff\xd8\xff\xe1" + (2 + len(block)).to_bytes(2) + block + plain[jfif:])
    command = [sys.executable, "-m", "bench", "init-dataset", tmp_path / "data", "--out", tmp_path / "out.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # pytest would take the warning
    assert not done.stderr
