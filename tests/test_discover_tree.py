"""Folders as people have them: which images and masks belong together, and which splits there are."""

import os
import shutil

import pytest
from PIL import Image

from bench.base.errors import BadInput
from bench.discover.card import discover
from bench.discover.tree import look_at
from tests.folders import NAMES, put_image, put_mask, put_pairs


def pairs_of(tree):
    return {split: [(p.id, p.image, p.label) for p in pairs] for split, pairs in tree.splits.items()}


# --- which files belong together ---


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "labels/{}.png"),
        ("img/{}.jpeg", "masks/{}_mask.png"),
        ("JPEGImages/{}.JPG", "SegmentationClass/{}.png"),
        ("{}.jpg", "{}.png"),
        ("{}.jpg", "{}_mask.png"),
        ("{}.png", "{}_L.png"),
        ("{}.png", "{}-label.png"),
        ("image_{}.png", "mask_{}.png"),
        ("deep/er/images/x/{}.webp", "deep/er/annotations/trimaps/x/{}.png"),
        ("DUTS-TR/DUTS-TR-Image/{}.jpg", "DUTS-TR/DUTS-TR-Mask/{}.png"),
        ("segmentation/images/{}.jpg", "segmentation/masks/{}.png"),
        ("my photos/{}.jpg", "my photos/{}.ground truth.png"),
        ("frames/{}.jpg", "annots/{}.png"),
        ("{}.png", "{}_annot.png"),
        ("raw/{}.jpg", "gt/{}.png"),
        ("bilder ü/{}.jpg", "masks/{}.png"),
        ("ISIC_Input/{}.jpg", "ISIC_GroundTruth/{}_segmentation.png"),
        ("cafe\u0301/{}.jpg", "caf\u00e9/{}_mask.png"),
        ("benign/benign ({}).png", "benign/benign ({})_mask.png"),
        ("写真{}.png", "写真{}_mask.png"),
        ("images/образец {}я.jpg", "other/mask_образец {}я.png"),
        ("images/image_é{}.png", "labels/label_é{}.png"),
        ("JPEGImages/{}.jpg", "SegmentationClassContext/{}.png"),
        ("training/image_2/{}_10.png", "training/semantic/{}_10.png"),
        ("ds0/img/{}.jpg", "ds0/masks_machine/{}.jpg.png"),
        ("data/my/img_dir/{}.jpg", "data/my/ann_dir/{}.png"),
        ("imagesTr/{}.png", "labelsTr/{}.png"),
    ],
)
def test_pairs_are_found_by_folder_and_by_name(tmp_path, image, mask):
    put_pairs(tmp_path, NAMES, image, mask)
    (pairs,) = pairs_of(look_at(tmp_path)).values()
    assert [(i, label) for _, i, label in pairs] == [(image.format(n), mask.format(n)) for n in NAMES]


@pytest.mark.parametrize(
    "pattern",
    [
        ("{}/images/x.jpg", "{}/masks/x.png"),
        ("images/{}/x.jpg", "labels/{}/x.png"),
        ("{}2017/x.jpg", "stuffthingmaps/{}2017/x.png"),
        ("{}_images/x.jpg", "{}_masks/x.png"),
        ("{}/x.png", "{}annot/x.png"),
        ("{}/raw/x.jpg", "{}/gt/x.png"),
        ("leftImg8bit/{}/x_leftImg8bit.png", "gtFine/{}/x_gtFine_labelIds.png"),
    ],
)
def test_folders_of_splits_become_splits_whose_names_do_not_mix(tmp_path, pattern):
    for word in ("train", "val", "test"):
        put_pairs(tmp_path, [word], *pattern)
    found = {split: [(pair.image, pair.label) for pair in pairs] for split, pairs in look_at(tmp_path).splits.items()}
    assert found == {word: [tuple(one.format(word) for one in pattern)] for word in ("train", "val", "test")}


def test_a_split_without_masks_stays_one_and_lone_files_are_named(tmp_path):
    put_pairs(tmp_path, NAMES, "train/images/{}.jpg", "train/masks/{}.png")
    put_image(tmp_path / "test/images/z.jpg")
    put_image(tmp_path / "train/images/lone.jpg")
    put_mask(tmp_path / "train/masks/orphan.png")
    tree = look_at(tmp_path)
    assert [pair.label for pair in tree.splits["test"]] == [None]
    assert tree.lone_images == ["train/images/lone.jpg"] and tree.lone_masks == ["train/masks/orphan.png"]
    assert [pair.label is None for pair in tree.splits["train"]] == [False, False, False, True]


def test_the_picture_that_an_export_copied_is_not_one_more_without_a_mask(tmp_path):
    put_pairs(tmp_path, NAMES, "train/images/{}.jpg", "train/masks/{}.png")
    put_image(tmp_path / "train/raw/a.jpg")
    put_image(tmp_path / "train/raw/other.jpg")
    tree = look_at(tmp_path)
    assert [pair.image for pair in tree.splits["train"] if pair.label is None] == ["train/raw/other.jpg"]
    assert any("left out: 1 images without a mask" in note and "train/raw/a.jpg" in note for note in tree.notes)


def test_lists_make_splits_each_with_the_masks_that_it_has(tmp_path):
    put_pairs(tmp_path, NAMES, "JPEGImages/{}.jpg", "SegmentationClass/{}.png")
    put_pairs(tmp_path, "de", "JPEGImages/{}.jpg", "SegmentationClassAug/{}.png")
    put_mask(tmp_path / "SegmentationObject/a.png")
    for name, ids in (("val", "a\nb\n"), ("train", "c\nnowhere\n"), ("trainaug", "d\ne\n")):
        (tmp_path / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"ImageSets/Segmentation/{name}.txt").write_text(ids)
    (tmp_path / "ImageSets/Main").mkdir()
    (tmp_path / "ImageSets/Main/cat_val.txt").write_text("a 1\nb -1\n")
    tree = look_at(tmp_path)
    # `nowhere` is in no folder: half of a list is not most of it
    assert set(tree.splits) == {"val", "trainaug"} and tree.unlisted == ["JPEGImages/c.jpg"]
    assert [p.label for p in tree.splits["val"]] == ["SegmentationClass/a.png", "SegmentationClass/b.png"]
    assert [p.label for p in tree.splits["trainaug"]] == ["SegmentationClassAug/d.png", "SegmentationClassAug/e.png"]


def test_lists_of_paths_below_another_folder_keep_splits_of_the_same_names_apart(tmp_path):
    for split in ("train", "val"):
        put_pairs(tmp_path, NAMES, f"{split}/{{}}.png", f"{split}annot/{{}}.png")
        lines = (f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png\n" for name in NAMES)
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    tree = look_at(tmp_path)
    assert tree.lists == ["train.txt", "val.txt"] and tree.unlisted == []
    for split in ("train", "val"):
        assert [(p.image, p.label) for p in tree.splits[split]] == [
            (f"{split}/{name}.png", f"{split}annot/{name}.png") for name in NAMES
        ]


def test_several_masks_of_an_image_are_of_one_kind_of_classes(tmp_path):
    put_image(tmp_path / "leftImg8bit/val/x_leftImg8bit.png")
    for kind in ("color", "instanceIds", "labelIds"):
        put_mask(tmp_path / f"gtFine/val/x_gtFine_{kind}.png")
    tree = look_at(tmp_path)
    assert [pair.label for pair in tree.splits["val"]] == ["gtFine/val/x_gtFine_labelIds.png"]
    assert tree.lone_masks == []


@pytest.mark.parametrize(
    ("image", "mask", "others"),
    [
        ("image_2/{}.png", "semantic/{}.png", ("semantic_rgb/{}.png", "instance/{}.png")),  # KITTI's
        ("img/{}.jpg", "masks_machine/{}.jpg.png", ("masks_human/{}.jpg.png",)),  # Supervisely's
    ],
)
def test_masks_of_classes_go_before_pictures_of_them_and_masks_of_objects(tmp_path, image, mask, others):
    put_pairs(tmp_path, NAMES, image, mask)
    for name in NAMES:
        for other in others:
            put_mask(tmp_path / other.format(name))
    tree = look_at(tmp_path)
    assert pairs_of(tree) == {"val": [(name, image.format(name), mask.format(name)) for name in NAMES]}
    assert not tree.lone_masks and not tree.notes


def test_a_text_with_words_behind_the_names_of_images_is_no_list(tmp_path):
    for split in ("training", "validation"):
        put_pairs(tmp_path, NAMES, f"images/{split}/{split}_{{}}.jpg", f"annotations/{split}/{split}_{{}}.png")
    names = [f"{split}_{name}" for split in ("training", "validation") for name in NAMES]
    (tmp_path / "sceneCategories.txt").write_text("".join(f"{name} living_room\n" for name in names))
    assert set(look_at(tmp_path).splits) == {"train", "val"}
    (tmp_path / "trainval.txt").write_text("".join(f"{name} 1 -1 0.5\n" for name in names))
    assert set(look_at(tmp_path).splits) == {"trainval"}


@pytest.mark.parametrize("line", ["{0}.jpg,{0}.png\n", "images/{0}.jpg; labels/{0}.png\n", "# of mine\n{0}\n"])
def test_lists_may_have_commas_and_comments(tmp_path, line):
    put_pairs(tmp_path, NAMES)
    (tmp_path / "train.txt").write_text(line.format("a"))
    (tmp_path / "val.txt").write_text(line.format("b") + line.format("c"))
    tree = look_at(tmp_path)
    assert {split: len(pairs) for split, pairs in tree.splits.items()} == {"train": 1, "val": 2} and not tree.notes


def test_a_list_that_is_not_used_and_lists_that_share_images_are_told(tmp_path):
    put_pairs(tmp_path, NAMES)
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("b\nc\n")
    (tmp_path / "trainval.txt").write_text("a\nb\nc\n")
    (tmp_path / "test.txt").write_text("x\ny\na\n")
    assert look_at(tmp_path).notes == [
        "test.txt is not taken for a list: 1 of its 3 lines name images",
        "1 images are in train and in val (images/b.jpg first)",
    ]


def test_a_run_evaluates_on_the_list_for_validation_however_it_is_called(tmp_path):
    put_pairs(tmp_path, NAMES)
    for name in ("test_id", "train_id", "val_id"):
        (tmp_path / f"{name}.txt").write_text("a\nb\n")
    assert discover(tmp_path).default_split == "val_id"
    (tmp_path / "val_id.txt").unlink()
    assert discover(tmp_path).default_split == "test_id"


@pytest.mark.parametrize("file", ["labels/a.txt", "labels/a.npy", "masks/a.mat"])
def test_masks_of_other_kinds_are_said_to_be_unread_where_there_are_no_pngs(tmp_path, file):
    put_image(tmp_path / "images/a.jpg")
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text("0 0.1 0.1 0.9 0.1 0.5 0.9\n")
    (tmp_path / "README.txt").write_text("About this.\n")
    (note,) = look_at(tmp_path).notes
    assert f"no masks; 1 files of other kinds are not read ({file} first)" in note
    put_mask(tmp_path / "masks/a.png")
    assert not look_at(tmp_path).notes


def test_masks_that_are_also_there_and_not_used_are_named(tmp_path):
    for split in ("train", "val"):
        put_image(tmp_path / f"leftImg8bit/{split}/x_leftImg8bit.png")
        for kind in ("color", "labelIds", "labelTrainIds"):
            put_mask(tmp_path / f"gtFine/{split}/x_gtFine_{kind}.png")
    tree = look_at(tmp_path)
    assert [pair.label for pair in tree.labelled] == [f"gtFine/{s}/x_gtFine_labelIds.png" for s in ("train", "val")]
    assert tree.notes == [
        "masks that are also there and not used: gtFine/train/x_gtFine_labelTrainIds.png first of 1 for train; "
        "gtFine/val/x_gtFine_labelTrainIds.png first of 1 for val"
    ]


@pytest.mark.parametrize("image", ["{}.jpg", "{}.png"])
def test_accents_of_either_spelling_are_the_same_and_paths_stay_as_they_are(tmp_path, image):
    image = image.format("cafe\u0301")
    put_image(tmp_path / "images" / image)
    put_mask(tmp_path / "masks/caf\u00e9.png")
    (pair,) = look_at(tmp_path).splits["val"]
    assert (pair.image, pair.label) == (f"images/{image}", "masks/caf\u00e9.png")
    (tmp_path / "val.txt").write_text("caf\u00e9\n")
    tree = look_at(tmp_path)
    assert tree.lists == ["val.txt"] and tree.splits["val"] == [pair]


def test_an_image_and_a_mask_side_by_side_may_spell_an_accent_otherwise(tmp_path):
    put_image(tmp_path / "cafe\u0301.jpg")
    put_mask(tmp_path / "caf\u00e9.png")
    assert [pair.label for pair in look_at(tmp_path).splits["val"]] == ["caf\u00e9.png"]


def test_a_folder_of_one_channel_with_the_names_of_images_is_to_be_checked(tmp_path):
    put_pairs(tmp_path, NAMES, "frames/{}.png", "frames_x/{}.png")
    found = discover(tmp_path)
    assert len(found.splits["val"]) == 6
    (note,) = found.tree.notes
    said = "frames_x holds 3 PNGs of one channel, all with the names of images in frames: are they masks?"
    assert note.startswith(said)
    put_mask(tmp_path / "frames_x/other.png")
    assert discover(tmp_path).tree.notes == []


def test_two_folders_of_colour_or_of_grey_images_are_nothing_to_check(tmp_path):
    for name in NAMES:
        put_image(tmp_path / f"left/{name}.png")
        put_image(tmp_path / f"right/{name}.png")
        put_mask(tmp_path / f"t1/{name}.png")
        put_mask(tmp_path / f"t2/{name}.png")
    assert all("t1" in note or "t2" in note for note in discover(tmp_path).tree.notes)
    for side in ("left", "right"):
        shutil.rmtree(tmp_path / side)
    put_image(tmp_path / "d.jpg")
    assert discover(tmp_path).tree.notes == []


def test_images_whose_names_are_alike_keep_ids_of_their_own(tmp_path):
    for name in ("x/1.jpg", "y/1.jpg", "y/2.jpg", "y/2.png"):
        put_image(tmp_path / name)
    ids = [pair.id for pair in look_at(tmp_path).splits["val"]]
    assert len(set(ids)) == len(ids)


def test_names_that_no_list_can_hold_and_folders_that_cannot_be_read_are_told(tmp_path, monkeypatch):
    put_image(tmp_path / "ok.jpg")
    put_image(tmp_path / "tab\there.jpg")
    put_image(tmp_path / "closed/x.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tree = look_at(tmp_path)
    assert [pair.image for pair in tree.splits["val"]] == ["ok.jpg"]
    assert any("closed cannot be read" in note for note in tree.notes)
    assert any("tab" in note for note in tree.notes)
    (tmp_path / "ok.jpg").unlink()
    with pytest.raises(
        BadInput,
        match=r"1 files with a tab or another control character in their names.*tab\\there.*and no other image",
    ):
        look_at(tmp_path)


def test_names_of_classes_are_no_list_and_other_annotations_are_said_to_be_unread(tmp_path):
    put_image(tmp_path / "cat.jpg")
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "instances.json").write_text("{}")
    tree = look_at(tmp_path)
    assert set(tree.splits) == {"val"} and any("instances.json" in note for note in tree.notes)


def test_a_link_in_a_circle_ends(tmp_path):
    put_image(tmp_path / "images/a.jpg")
    (tmp_path / "images/again").symlink_to(tmp_path)
    (tmp_path / "images/self.jpg").symlink_to("self.jpg")
    assert len(look_at(tmp_path).splits["val"]) == 1


# --- real data ---


def test_pictures_of_other_kinds_are_named_not_passed_over(tmp_path):
    (tmp_path / "IMG_2.HEIC").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"1 pictures of kinds that are not read, IMG_2.HEIC first, and no other image"):
        look_at(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "IMG_1.jpg")
    assert any("IMG_2.HEIC first; convert them" in note for note in look_at(tmp_path).notes)
