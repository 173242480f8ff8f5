"""COCO-Stuff-81: its labels, its counting and its figures against those of the release that reports the row."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bench
from bench.base.errors import BadInput
from bench.cards import catalogue
from bench.cards.datasets import Labels
from bench.data.decoding import read_label
from bench.data.listings import read_listing
from bench.data.preprocessing import label_to_input, normalise, to_input
from bench.data.samples import Samples, open_split
from bench.passes.image_pass import observation_recipe
from bench.scoring.id_counts import Painted, contingency, matched_classes
from bench.scoring.matching import match
from bench.scoring.metrics import class_iou, confusion_sums, from_sums
from tests.conftest import GOLDEN

CARD = catalogue.dataset("coco-stuff-81")
PRESET = CARD.protocols.preset("clustering")
FACTS = json.loads((GOLDEN / "coco81/classes.json").read_text(encoding="utf-8"))
FIGURES = json.loads((GOLDEN / "coco81/golden.json").read_text(encoding="utf-8"))["groups"]
INPUTS, ARRAYS = (dict(np.load(GOLDEN / "coco81" / name)) for name in ("inputs.npz", "golden_arrays.npz"))
RAW = [name for name in INPUTS if name.startswith("raw_")]
IGNORE = 255


def paint(group):
    """The given predictions, counted on the given labels image by image."""
    labels = np.where(INPUTS[f"labels_{group}"] < 0, IGNORE, INPUTS[f"labels_{group}"]).astype(np.uint8)
    counts = tuple(contingency(p, t, IGNORE) for p, t in zip(INPUTS[f"predictions_{group}"], labels, strict=True))
    return Painted(tuple(map(str, range(len(counts)))), counts, "")


def score(group):
    classes = FIGURES[group]["classes"]
    rows, mappings = matched_classes([paint(group)], "pixels", classes, classes)
    return rows, mappings[0]


# --- the golden figures ---


@pytest.mark.parametrize("group", FIGURES)
def test_the_confusion_is_the_release_s(group):
    classes = FIGURES[group]["classes"]
    table = np.zeros((classes, classes), np.int64)
    used, counts = paint(group).table(classes)
    table[used] = counts
    np.testing.assert_array_equal(table.T, ARRAYS[f"confusion_{group}"])
    assert table.sum() == FIGURES[group]["counted_pixels"]


@pytest.mark.parametrize("group", FIGURES)
def test_the_matching_is_the_release_s_where_it_ties_as_well(group):
    _, mapping = score(group)
    cluster_of_class = np.argsort(mapping)
    assert cluster_of_class.tolist() == FIGURES[group]["cluster_of_class"]


@pytest.mark.parametrize("group", FIGURES)
def test_the_figures_are_the_release_s(group):
    rows, _ = score(group)
    sums, figures = confusion_sums(rows.confusion(0)), FIGURES[group]
    ours = from_sums(sums, "skip")
    for key, theirs in (("mIoU", "miou"), ("pixel_accuracy",) * 2, ("mean_class_accuracy",) * 2):
        assert float(ours[key]) == pytest.approx(figures[theirs], abs=1e-9), key
    theirs = [np.nan if v is None else v for v in figures["iou_in_class_order"]]
    np.testing.assert_allclose(class_iou(*np.split(sums, 3)), theirs, atol=1e-9, rtol=0)
    assert int(np.isnan(theirs).sum()) == figures["classes_left_out_of_the_mean"]


def test_other_optimal_assignments_give_another_mean():
    figures = FIGURES["sparse"]
    assert figures["miou"] != figures["miou_over_all_optimal_assignments_that_pair_most_empties"]["miou"]


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_permuting_cluster_ids_changes_no_metric(seed):
    order = np.random.default_rng(seed).permutation(81)
    before, _ = score("dense")
    painted = paint("dense")
    renamed = tuple(np.column_stack([order[t[:, 0]], t[:, 1:]]) for t in painted.counts)
    after, _ = matched_classes([Painted(painted.ids, renamed, "")], "pixels", 81, 81)
    np.testing.assert_array_equal(before.confusion(0), after.confusion(0))


def test_an_image_of_only_ignored_pixels_changes_nothing():
    painted = paint("sparse")
    empty = contingency(np.full((4, 4), 3), np.full((4, 4), IGNORE, np.uint8), IGNORE)
    assert len(empty) == 0
    longer = Painted((*painted.ids, "void"), (*painted.counts, empty), "")
    rows, mappings = matched_classes([longer], "pixels", 81, 81)
    np.testing.assert_array_equal(rows.confusion(0), score("sparse")[0].confusion(0))
    np.testing.assert_array_equal(mappings[0], score("sparse")[1])


# --- labels ---


def put(path, raw):
    Image.fromarray(raw).save(path)
    return path


def labels_of(facts):
    """A card's labels from `raw id → class`, an entry an id."""
    entries = [{"ids": (int(k), int(k)), "classes": (v, v)} for k, v in facts.items() if v >= 0]
    return Labels.model_validate({"map": entries})


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("classes", [81, 171, 27])
def test_raw_ids_become_the_classes_of_the_golden_maps(tmp_path, name, classes):
    card = CARD
    if classes != 81:
        names = tuple(map(str, range(classes)))
        card = CARD.model_copy(update={"labels": labels_of(FACTS[f"cocostuff{classes}"]), "classes": names})
    label, _ = read_label(put(tmp_path / "raw.png", INPUTS[name]), card)
    np.testing.assert_array_equal(np.where(label == IGNORE, -1, label.astype(int)), ARRAYS[f"{name}_mapped{classes}"])


def test_the_card_s_map_and_names_are_the_given_facts(tmp_path):
    assert list(CARD.classes) == FACTS["coco81_names"]
    known = {int(k): v for k, v in FACTS["coco81"].items() if v >= 0}
    raw = np.array([sorted(known)], np.uint8)
    label, _ = read_label(put(tmp_path / "raw.png", raw), CARD)
    assert dict(zip(raw[0].tolist(), label[0].tolist(), strict=True)) == known


@pytest.mark.parametrize("unused", FACTS["unused_ids"])
def test_an_unused_id_is_named(tmp_path, unused):
    path = put(tmp_path / "raw.png", np.array([[0, unused]], np.uint8))
    with pytest.raises(
        BadInput, match=rf"raw\.png holds the id {unused}, which is not in the label map of coco-stuff-81"
    ):
        read_label(path, CARD)


@pytest.mark.parametrize("name", RAW)
def test_labels_are_resized_as_the_release_does(tmp_path, name):
    label, _ = read_label(put(tmp_path / "raw.png", INPUTS[name]), CARD)
    resized = label_to_input(label, PRESET)
    np.testing.assert_array_equal(np.where(resized == IGNORE, -1, resized.astype(int)), ARRAYS[f"{name}_resized"])


def test_every_size_is_resized_by_torch_s_rule():
    for size in range(1, 1001):
        line = torch.arange(size, dtype=torch.float32)[None, None, None]
        theirs = F.interpolate(line, size=(1, 320), mode="nearest")[0, 0, 0].numpy()
        ours = label_to_input(np.arange(size, dtype=np.uint16)[None], PRESET.model_copy(update={"input": (1, 320)}))
        np.testing.assert_array_equal(ours[0], theirs, err_msg=str(size))


def test_images_are_resized_after_normalising_without_antialiasing():
    image = np.random.default_rng(0).integers(0, 256, (57, 401, 3)).astype(np.uint8)
    whole = normalise(torch.from_numpy(image)[None], PRESET)
    theirs = F.interpolate(whole, size=(320, 320), mode="bilinear", align_corners=False)
    ours = normalise(torch.from_numpy(to_input(image, PRESET))[None], PRESET)
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)


def test_another_map_is_another_observation(tmp_path):
    samples = Samples(CARD, "val", tmp_path, "", (), ())
    other = Samples(CARD.model_copy(update={"labels": labels_of({"0": 1})}), "val", tmp_path, "", (), ())
    plain = Samples(catalogue.dataset("pascal-voc"), "val", tmp_path, "", (), ())
    recipes = [observation_recipe("", each, PRESET, "float32") for each in (samples, other)]
    assert recipes[0] != recipes[1] and "labels" not in observation_recipe("", plain, PRESET, "float32")


def test_a_key_that_labels_got_later_is_left_out_of_the_cache_s_key_where_it_is_unset(tmp_path):
    samples = Samples(CARD, "val", tmp_path, "", (), ())
    recipe = observation_recipe("weights", samples, PRESET, "float32")
    assert set(recipe["labels"]) == {"encoding", "ignore", "map", "ignored_colours"}


# --- the tree ---


@pytest.fixture
def tree(tmp_path):
    """Three images in COCO's tree, the last without an annotation."""
    generator = np.random.default_rng(0)
    for folder in ("val2017", "stuffthingmaps/val2017", "annotations"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("000000000009", "000000000025", "000000000007"):
        Image.fromarray(generator.integers(0, 256, (40, 60, 3)).astype(np.uint8)).save(tmp_path / f"val2017/{name}.jpg")
        raw = generator.choice([0, 16, 89, 91, 181, 255], (40, 60)).astype(np.uint8)
        put(tmp_path / f"stuffthingmaps/val2017/{name}.png", raw)
    images = [{"id": int(n), "file_name": f"{int(n):012d}.jpg"} for n in (25, 9, 7)]
    annotations = [{"id": i, "image_id": n, "category_id": 1} for i, n in enumerate((25, 9, 25))]
    write(tmp_path, {"images": images, "annotations": annotations, "categories": []})
    return tmp_path


def write(tree, content):
    path = tree / "annotations/instances_val2017.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_only_images_with_an_annotation_take_part_in_order(tree):
    samples = open_split(CARD, "val", tree)
    assert [sample.id for sample in samples] == ["000000000009", "000000000025"]
    assert samples.limited


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[]", "its parts have wrong types"),
        ({"images": []}, "'annotations' is missing"),
        ({"annotations": [], "images": []}, "annotates no image"),
        ({"annotations": [{"id": 1, "category_id": 1}], "images": []}, "'image_id' is missing"),
        ({"annotations": [{"image_id": [1], "category_id": 1}], "images": []}, "its parts have wrong types"),
        (
            {"annotations": [{"image_id": 1, "category_id": 1}], "images": [{"id": 2, "file_name": "2.jpg"}]},
            "image 1 is annotated",
        ),
        (
            {"annotations": [{"image_id": 1, "category_id": 1}], "images": [{"id": 1, "file_name": "../1.jpg"}]},
            "leads out of",
        ),
        # captions
        (
            {"annotations": [{"image_id": 1, "caption": "a cat"}], "images": [{"id": 1, "file_name": "1.jpg"}]},
            "'category_id' is missing",
        ),
        (
            {
                "annotations": [{"image_id": 1, "category_id": 1}],
                "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 1, "file_name": "2.jpg"}],
            },
            "gives two images the id 1",
        ),
        ({"annotations": None, "images": []}, "its parts have wrong types"),
        *(
            (
                {"annotations": [{"image_id": 1, "category_id": 1}], "images": [{"id": 1, "file_name": name}]},
                "a file name in it is none",
            )
            for name in ("", ".", "/")
        ),
    ],
)
def test_a_json_that_is_not_coco_s_is_named(tree, content, words):
    path = write(tree, content)
    with pytest.raises(BadInput, match=words) as caught:
        read_listing(path, "coco-instances")
    assert str(path) in caught.value.problem


def test_a_wrong_tree_says_what_is_missing(tmp_path):
    with pytest.raises(BadInput, match=r"does not hold COCO-Stuff-81 \(val\).*instances_val2017\.json"):
        open_split(CARD, "val", tmp_path)


# --- whole runs ---


def test_a_run_counts_at_the_input_size_and_skips_absent_classes(tree, small_file, tmp_path):
    record = bench.evaluate(
        small_file,
        "coco-stuff-81",
        data_root=tree,
        cache=tmp_path / "cache",
        entries={"clusters": 2, "input": [64, 64], "saliency_threshold": -1e9, "whiten": 0},
    )
    counted = np.sum(record["confusion"]["mean"])
    labels = [read_label(sample.label, CARD)[0] for sample in open_split(CARD, "val", tree)]
    small = PRESET.model_copy(update={"input": (64, 64)})
    assert counted == sum((label_to_input(label, small) != IGNORE).sum() for label in labels)
    assert record["per_class"]["toilet"] is None and record["dataset"]["limited"]


def test_dense_clustering_counts_every_labelled_pixel_at_the_input_size(tree, small_file, tmp_path):
    record = bench.evaluate(
        small_file,
        "coco-stuff-81",
        "clustering-dense",
        data_root=tree,
        cache=tmp_path / "cache",
        entries={"input": [64, 64], "restarts": 1},
        num_seeds=1,
    )
    labels = [read_label(sample.label, CARD)[0] for sample in open_split(CARD, "val", tree)]
    small = PRESET.model_copy(update={"input": (64, 64)})
    assert np.sum(record["confusion"]["mean"]) == sum((label_to_input(x, small) != IGNORE).sum() for x in labels)
    assert len(record["cluster_to_class"][0]) == len(set(record["cluster_to_class"][0])) == 81
    assert record["pixels"]["drawn"] == 2 * 64


@pytest.mark.slow
def test_real_files_are_read_and_run(realdata, small_file, tmp_path):
    samples = open_split(CARD, "val", realdata / "COCO")
    assert len(samples) == 35  # one of the 36 has no annotation
    record = bench.evaluate(
        small_file,
        "coco-stuff-81",
        data_root=realdata / "COCO",
        cache=tmp_path,
        entries={"clusters": 10, "input": [64, 64], "restarts": 2},
    )
    assert record["dataset"]["images"] == 35 and 0 <= record["metrics"]["mIoU"]["value"] <= 100


def test_matching_pixels_is_optimal_on_the_golden_tables():
    for group, figures in FIGURES.items():
        table = ARRAYS[f"confusion_{group}"].T
        assert table[np.arange(len(table)), match(table, "pixels")].sum() == figures["matched_pixels"]
