"""ImageNet-S's tree, its labels, and whole runs on it."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

import bench
from bench.base.errors import BadInput, WrongName
from bench.cards import catalogue
from bench.cards.presets import override
from bench.data.decoding import read_ids, read_label
from bench.data.samples import open_split
from bench.protocols.base import Settings
from bench.records.record import shortfall
from bench.runs.score_folder import score_folder
from bench.scoring import imagenet_s_figures
from tests.imagenet import CARD, CLASSES, encode, put, rows_from

# --- the tree, and whole runs ---


@pytest.fixture
def tree(imagenet_tree):
    return imagenet_tree


def run(model, tree, **more):
    """A run; what it observes is cached for the other tests."""
    entries = {"input": [32, 32], "restarts": 1, "iterations": 10} | more.pop("entries", {})
    return bench.evaluate(model, "imagenet-s-50", data_root=tree, entries=entries, **more)


def test_ids_are_folder_and_name_sorted_and_classes_are_the_folders(tree):
    for root in (tree, tree.parent):
        samples = open_split(CARD, "train", root)
        ids = [sample.id for sample in samples]
        assert len(ids) == 100 and ids == sorted(ids) and ids[0] == "n00000001/n00000001_0"
        assert all(sample.label is None for sample in samples)
        assert samples.card.classes[:2] == ("other", "n00000001") and len(samples.card.classes) == 51


def test_the_three_sizes_have_their_official_numbers():
    for count, sizes in ((50, (64431, 752, 1682)), (300, (384862, 4097, 9088)), (919, (1183322, 12419, 27423))):
        card = catalogue.dataset(f"imagenet-s-{count}")
        assert tuple(card.splits[s].images for s in ("train", "val", "test")) == sizes
        assert len(card.classes) == count + 1 and card.protocols.preset("clustering").clusters == count


def test_a_wrong_tree_and_a_missing_folder_are_named(tree, tmp_path):
    with pytest.raises(BadInput, match=r"does not hold ImageNet-S-50 \(val\).*ImageNetS50/validation"):
        open_split(CARD, "val", tmp_path)
    (tmp_path / "validation/n1").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"holds no folder with \*\.JPEG files"):
        open_split(CARD, "val", tmp_path)
    put(tmp_path / "validation/n1/a.JPEG", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(BadInput, match=r"holds 1 folders; ImageNet-S-50 has 50 classes"):
        open_split(CARD, "val", tmp_path)
    with pytest.raises(BadInput, match=r"holds 50 folders; ImageNet-S-300 has 300"):
        open_split(catalogue.dataset("imagenet-s-300"), "val", tree)


@pytest.mark.slow
def test_a_run_is_fitted_on_train_and_reports_the_benchmark_s_figures(tree, small_file, tmp_path):
    record = run(small_file, tree, num_seeds=2, save_predictions=tmp_path / "predictions")
    assert record["fitted_on"]["split"] == "train" and record["fitted_on"]["images"] == 100
    assert record["dataset"]["limited"] and record["dataset"]["images"] == 50
    assert shortfall(record) == "run on 50 images, 100 of 64431 train images: not the whole splits"
    for metric in ("mIoU", "boundary_mIoU", "f_measure", "image_accuracy", "mIoU_ml"):
        assert 0 <= record["metrics"][metric]["value"] <= 100
    assert "mIoU_s" not in record["metrics"]  # nothing is that small
    assert (
        record["matching"]["solver"].startswith("scipy")
        and len(record["matching"]["clusters_with_a_unique_optimum"]) == 2
    )
    assert record["cluster_to_class"][0][0] == 0 and "n00000007" in record["per_class"]
    # the same from the maps that the run painted
    for number, seed in enumerate(record["seeds"]):
        maps = []
        for sample in open_split(CARD, "val", tree):
            painted, _ = read_ids(tmp_path / f"predictions/seed-{seed}/{sample.id}.png", "rgb")
            maps.append((painted, read_label(sample.label, CARD)[0]))
        figures = imagenet_s_figures.figures(rows_from(maps), len(maps), CLASSES)
        for name, value in figures.items():
            if value is not None:
                assert record["metrics"][name]["per_seed"][number] == pytest.approx(value, abs=1e-9), name


def test_saved_predictions_score_to_the_last_digit(tree, small_file, tmp_path):
    made = run(small_file, tree, num_seeds=1, save_predictions=tmp_path / "predictions")
    scored = score_folder(tmp_path / "predictions", "imagenet-s-50", tmp_path / "r", Settings(data_root=tree)).record
    assert scored["metrics"]["mIoU"]["value"] == made["metrics"]["mIoU"]["value"]
    assert scored["dataset"]["manifest"] == made["dataset"]["manifest"] and scored["per_class"] == made["per_class"]


def test_fitting_on_val_needs_no_train_and_is_recorded(tree, small_file, tmp_path):
    for folder in ("validation", "validation-segmentation"):
        (tmp_path / "cut").mkdir(exist_ok=True)
        (tmp_path / "cut" / folder).symlink_to(tree / folder)
    record = run(small_file, tmp_path / "cut", num_seeds=1, entries={"fit": "val"})
    assert record["fitted_on"]["split"] == "val" and record["protocol"]["modified"]
    with pytest.raises(BadInput, match=r"does not hold ImageNet-S-50 \(train\)"):
        run(small_file, tmp_path / "cut", num_seeds=1)


# --- matched on val, used elsewhere ---


@pytest.fixture
def labelled_test(tree, tmp_path):
    """The tree with its test images as train-semi, whose labels then are those of test."""
    root = tmp_path / "labelled"
    root.mkdir()
    for folder in ("train", "validation", "validation-segmentation"):
        (root / folder).symlink_to(tree / folder)
    (root / "train-semi").symlink_to(tree / "test")
    for path in (tree / "test").glob("*/*.JPEG"):
        label = np.zeros((40, 48), np.uint16)
        label[5:20, 5:40] = int(path.parent.name[1:])
        put(root / "train-semi-segmentation" / path.parent.name / f"{path.stem}.png", encode(label))
    return root


@pytest.mark.slow
def test_clusters_of_train_matched_on_val_give_another_split_its_classes(labelled_test, small_file):
    on_val = run(small_file, labelled_test, num_seeds=2)
    elsewhere = run(small_file, labelled_test, num_seeds=2, split="train-semi")
    assert elsewhere["cluster_to_class"] == on_val["cluster_to_class"]
    assert elsewhere["matching"] == on_val["matching"]
    assert elsewhere["fitted_on"] == on_val["fitted_on"] and len(set(on_val["fitted_on"]["centres_sha256"])) == 2
    assert elsewhere["matched_on"] == on_val["matched_on"]
    assert (elsewhere["matched_on"]["split"], elsewhere["matched_on"]["images"]) == ("val", 50)
    assert elsewhere["protocol"]["fingerprint"] == on_val["protocol"]["fingerprint"]
    own = run(small_file, labelled_test, num_seeds=2, split="train-semi", entries={"matched_on": "train-semi"})
    assert own["cluster_to_class"] != on_val["cluster_to_class"] and own["protocol"]["modified"]


@pytest.mark.slow
def test_the_figures_of_another_split_are_those_of_what_val_s_matching_paints(labelled_test, small_file, tmp_path):
    made = run(small_file, labelled_test, num_seeds=1, split="train-semi", save_predictions=tmp_path / "p")
    settings = Settings(data_root=labelled_test, split="train-semi")
    scored = score_folder(tmp_path / "p", "imagenet-s-50", tmp_path / "r", settings).record
    for name, entry in scored["metrics"].items():
        assert entry["value"] == pytest.approx(made["metrics"][name]["value"], abs=1e-9), name


@pytest.mark.slow
def test_centres_are_kept_and_found_anew_alike(tree, small_file, tmp_path):
    first, again = (run(small_file, tree, num_seeds=1, cache=tmp_path / "cache") for _ in range(2))
    fresh = run(small_file, tree, num_seeds=1, cache=tmp_path / "cache", fresh=True)
    assert first["fitted_on"] == again["fitted_on"] == fresh["fitted_on"]
    assert first["cluster_to_class"] == again["cluster_to_class"] == fresh["cluster_to_class"]


def test_clusters_cannot_be_matched_where_nothing_is_labelled(tree, small_file):
    with pytest.raises(WrongName, match="train has no labels to match clusters on"):
        run(small_file, tree, entries={"matched_on": "train"})


# --- cluster ids of any program, matched by images ---


@pytest.mark.slow
def test_raw_cluster_ids_matched_by_images_score_as_the_run(tree, small_file, tmp_path):
    made = run(small_file, tree, num_seeds=2, save_predictions=tmp_path / "p")
    for number, seed in enumerate(made["seeds"]):
        clusters = np.argsort(made["cluster_to_class"][number]).astype(np.uint16)
        for path in (tmp_path / f"p/seed-{seed}").rglob("*.png"):
            put(path, encode(clusters[read_ids(path, "rgb")[0]]))
    settings = Settings(data_root=tree)
    scored = score_folder(tmp_path / "p", "imagenet-s-50", tmp_path / "r", settings, matching="images").record
    assert scored["cluster_to_class"] == made["cluster_to_class"] and scored["matching"] == made["matching"]
    assert (
        scored["protocol"]["id"] == "predictions-clustering+images"
        and scored["protocol"]["preset"]["figures"] == "imagenet-s"
    )
    for name, entry in scored["metrics"].items():
        assert entry["per_seed"] == pytest.approx(made["metrics"][name]["per_seed"], abs=1e-9), name


# --- bad input ---


@pytest.fixture
def val_only(tree, tmp_path):
    """A copy of val that a test may spoil."""
    for folder in ("validation", "validation-segmentation"):
        shutil.copytree(tree / folder, tmp_path / "copy" / folder)
    return tmp_path / "copy"


def label_of(root, number=7):
    return root / f"validation-segmentation/n{number:08d}/n{number:08d}_0.png"


@pytest.mark.slow
@pytest.mark.parametrize("strange", [51, 300, 999, 1001])
def test_an_unknown_label_id_is_named(val_only, small_file, strange):
    put(label_of(val_only), encode(np.full((40, 48), strange, np.uint16)))
    with pytest.raises(BadInput, match=rf"n00000007_0\.png holds the label {strange}, but imagenet-s-50 has"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})


@pytest.mark.slow
def test_labels_of_16_bits_are_refused_grey_and_rgb(val_only, small_file):
    Image.fromarray(np.full((40, 48), 7, np.uint16)).save(label_of(val_only))
    with pytest.raises(BadInput, match=r"n00000007_0\.png has I;16 pixels; an RGB PNG"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})
    cv2.imwrite(str(label_of(val_only)), np.full((40, 48, 3), 7, np.uint16))
    with pytest.raises(BadInput, match=r"n00000007_0\.png has 16-bit RGB pixels; an RGB PNG"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})


@pytest.mark.slow
def test_an_alpha_channel_beside_rgb_is_let_through_as_the_benchmark_does(val_only, tree, small_file):
    with Image.open(label_of(val_only)) as picture:
        clear = picture.convert("RGBA")
    clear.putalpha(3)
    clear.save(label_of(val_only))
    spoilt, sound = (run(small_file, root, num_seeds=1, entries={"fit": "val"}) for root in (val_only, tree))
    assert spoilt["metrics"] == sound["metrics"]


@pytest.mark.slow
def test_a_missing_label_and_one_of_another_size_are_named(val_only, small_file):
    put(label_of(val_only), encode(np.zeros((39, 48), np.uint16)))
    with pytest.raises(BadInput, match=r"n00000007_0\.png is 48×39 pixels, its image 48×40"):
        run(small_file, val_only, num_seeds=1, entries={"fit": "val"})
    label_of(val_only).unlink()
    with pytest.raises(BadInput, match=r"n00000007_0\.png is missing \(1 of 50 samples"):
        open_split(CARD, "val", val_only)


def test_an_empty_class_folder_is_named(val_only):
    for path in (val_only / "validation/n00000009").iterdir():
        path.unlink()
    with pytest.raises(BadInput, match=r"n00000009 holds no \*\.JPEG file \(1 class folders are empty\)"):
        open_split(CARD, "val", val_only)


def test_a_flat_folder_is_no_tree(tree, tmp_path):
    (tmp_path / "test").mkdir()
    for path in (tree / "test").glob("*/*.JPEG"):
        shutil.copy(path, tmp_path / "test" / path.name)
    with pytest.raises(BadInput, match="Put the images into one folder per class"):
        open_split(CARD, "test", tmp_path)


@pytest.mark.slow
def test_test_has_no_labels_to_score_against(tree, small_file):
    with pytest.raises(BadInput, match="imagenet-s-50 test has no labels to count figures against"):
        run(small_file, tree, num_seeds=1, split="test")
    record = run(small_file, tree, num_seeds=1, split="test", entries={"matched_on": None})
    assert record["protocol"]["id"] == "clustering-unlabelled" and "mIoU" not in record["metrics"]
    assert record["fitted_on"]["split"] == "train"


def test_presets_that_contradict_themselves_are_refused():
    preset = CARD.protocols.preset("clustering")
    with pytest.raises(WrongName, match="set whiten = 0"):
        override(preset, {"whiten": 32})
    with pytest.raises(WrongName, match="set grid = label"):
        override(preset, {"grid": "input"})
    with pytest.raises(WrongName, match=r"^--set matched_on: each split .* set fit to one split as well"):
        override(preset, {"fit": None})
