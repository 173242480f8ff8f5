"""Saliency and CorLoc: figures against those of the releases, the rows, and what must hold of them always."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.base.errors import BadInput
from bench.data.boxes import coco_corners, voc_corners
from bench.scoring import corloc, normalised_cut, rows, saliency_figures
from bench.scoring.box_rows import BoxRows
from bench.scoring.rows import Context
from bench.scoring.saliency_figures import DEFINITIONS, Rule, Stack, count_mask, series
from bench.scoring.saliency_rows import SaliencyRows
from tests.conftest import GOLDEN

MASKS, FIGURES = (
    dict(np.load(GOLDEN / "saliency" / "inputs.npz")),
    json.loads((GOLDEN / "saliency" / "golden.json").read_text()),
)
BOXES, FOUND = (json.loads((GOLDEN / "corloc" / f"{name}.json").read_text()) for name in ("boxes", "golden"))
NUMBERED, ALL = [str(i) for i in range(10)], [*(str(i) for i in range(10)), "empty", "none"]
NAMES = {
    "tokencut": {"IoU": "iou", "accuracy": "accuracy", "F_max": "max_f"},
    "selfmask": {
        **{"iou": "iou", "pixel_accuracy": "accuracy", "mae": "mae"},
        **{"f_measure": "f_half", "f_max": "max_f", "f_mean": "adaptive_f"},
    },
    "pysodmetrics": {name: name for name in ("max_f", "mean_f", "adaptive_f", "mae")},
}
TOLERANCE = {"tokencut": 2e-7, "selfmask": 2e-7, "pysodmetrics": 5.01e-11}  # of ten digits the last is half a unit off


def counts(definition, ids=NUMBERED, kind="soft"):
    above = DEFINITIONS[definition].foreground
    return [count_mask(MASKS[f"{kind}_{i}"], MASKS[f"gt_{i}"] > above, definition) for i in ids]


@pytest.mark.parametrize("kind", ["binary", "soft"])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_figures_are_those_of_the_release(definition, kind):
    golden = FIGURES[definition][kind]
    groups = [([name], figures) for name, figures in golden["per_image"].items()]
    groups += [(NUMBERED, golden["numbered_images"])] + (
        [(ALL, golden["all_images"])] if "all_images" in golden else []
    )
    for ids, figures in groups:
        masks, greys = ([MASKS[f"{what}_{i}"] for i in ids] for what in (kind, "gt"))
        found = getattr(saliency_figures, definition)(masks, greys)
        for name, own in NAMES[definition].items():
            expected = np.nan if figures[name] is None else figures[name]
            assert found[own] == pytest.approx(expected, abs=TOLERANCE[definition], rel=0, nan_ok=True), (ids, name)


def test_what_is_fixed_differs_as_documented():
    stack = Stack.of(counts("selfmask"))
    fixed = series(stack, Rule.of({"rules": "selfmask", "beta2": 0.3}))["max_f"].figure()
    assert abs(fixed - FIGURES["selfmask"]["soft"]["numbered_images"]["f_max"]) > 0.01
    whole = Stack.of(counts("tokencut", ALL))
    rules = [Rule.of({"rules": "tokencut", "undefined": how}) for how in ("carry", "skip")]
    carried, skipped = (series(whole, rule)["iou"].figure() for rule in rules)
    known = [v["IoU"] for v in FIGURES["tokencut"]["soft"]["per_image"].values() if v["IoU"] is not None]
    assert np.isnan(carried) and skipped == pytest.approx(np.mean(known), abs=2e-7)
    assert saliency_figures.undefined_images(whole) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(DEFINITIONS)))
def test_a_perfect_mask_is_1_and_order_and_halves_change_nothing(seed, definition):
    generator = np.random.default_rng(seed)
    truth = [generator.random((5, 7)) < 0.5 for _ in range(6)]
    for one in truth:
        one[0, :2] = True, False
    perfect = Stack.of([count_mask(one.astype(np.float32), one, definition) for one in truth])
    found = {name: one.figure() for name, one in series(perfect, Rule.of({"rules": definition})).items()}
    assert found["max_f"] == pytest.approx(1, abs=1e-5) and found.get("mae", 0) == 0
    assert found.get("iou", 1) == pytest.approx(1, abs=1e-5) and found.get("accuracy", 1) == 1

    rule = Rule.of({"rules": definition, "undefined": "skip"})
    soft = [count_mask(generator.random((5, 7)), one, definition) for one in truth]
    whole = series(Stack.of(soft), rule)
    for name, one in series(Stack.of([soft[i] for i in generator.permutation(6)]), rule).items():
        assert one.figure() == pytest.approx(whole[name].figure(), abs=1e-12)
    for name, one in whole.items():
        halves = [series(Stack.of(part), rule)[name].values for part in (soft[:3], soft[3:])]
        np.testing.assert_array_equal(np.concatenate(halves), one.values)


def test_a_prediction_outside_of_0_to_1_or_of_another_shape_is_refused():
    for bad in (np.full((2, 2), 1.5), np.full((2, 2), np.nan), np.zeros((2, 3))):
        with pytest.raises(ValueError, match="prediction"):
            count_mask(bad, np.zeros((2, 2), bool), "tokencut")


# --- boxes ---


def annotated(name):
    """Boxes of every image as the releases convert them; of VOC all or those that are not hard."""
    found = []
    for entry in BOXES["voc" if name.startswith("voc") else "coco"]:
        kept = [one for one in entry["objects"] if not one.get("iscrowd")]
        if name == "voc_no_hard":
            kept = [one for one in kept if not (one["truncated"] or one["difficult"])]
        corners = [voc_corners(*one["box"]) if name.startswith("voc") else coco_corners(one["bbox"]) for one in kept]
        found.append(np.array(corners, np.float64).reshape(-1, 4))
    return found, [entry["prediction"] for entry in BOXES["voc" if name.startswith("voc") else "coco"]]


@pytest.mark.parametrize("name", ["voc", "voc_no_hard", "coco"])
def test_boxes_and_decisions_are_those_of_the_releases(name):
    boxes, predicted = annotated(name)
    for own, box, golden in zip(boxes, predicted, FOUND[name]["per_image"], strict=True):
        if golden is None:
            assert not len(own)
            continue
        assert own.tolist() == golden["boxes"]
        assert corloc.box_iou(box, own) == pytest.approx(golden["iou"], abs=3e-8, rel=0)
        assert (corloc.best_iou(box, own) >= corloc.OVERLAP) == golden["found"]
    whole = corloc.corloc(predicted, boxes)
    assert (whole.found, whole.images) == (FOUND[name]["found"], FOUND[name]["images"])
    assert whole.corloc == pytest.approx(FOUND[name]["corloc"], abs=1e-8)


def test_boxes_of_components_are_those_of_the_release():
    arrays = np.load(GOLDEN / "corloc" / "masks.npz")
    sizes, patch = arrays["image_height_width"], int(arrays["patch"])
    for mask, seed, size, golden in zip(arrays["masks"], arrays["seeds"], sizes, FOUND["component_boxes"], strict=True):
        assert list(corloc.component_box(mask, seed, patch, tuple(size))) == golden["box"]
        assert corloc.component_of(mask, seed).sum() == golden["patches_in_component"]
    with pytest.raises(ValueError, match="is not in the mask"):
        corloc.component_of(np.zeros((2, 2), bool), (0, 1))


# --- the normalised cut ---


def two_regions(rows, columns, seed=0):
    """Features of a rectangle and of what is around it, D×rows×columns, with a little noise; and the rectangle."""
    generator = np.random.default_rng(seed)
    inside = np.zeros((rows, columns), bool)
    inside[rows // 4 : rows // 2, columns // 4 : columns // 2] = True
    features = generator.normal(0, 0.05, (8, rows, columns))
    features[0][inside], features[1][~inside] = 1, 1
    return features, inside


@pytest.mark.parametrize("size", [(8, 10), (18, 20)])  # the whole matrix, and Lanczos
def test_a_cut_finds_the_smaller_region_and_its_box(size):
    features, inside = two_regions(*size)
    found = normalised_cut.cut(features)
    assert np.array_equal(found.component, inside) and found.eigenvector[found.seed] > 0
    graph = normalised_cut.similarity_graph(features.reshape(8, -1).T)
    degrees = np.diag(graph.sum(axis=1))
    vector = scipy.linalg.eigh(degrees - graph, degrees, subset_by_index=[1, 1])[1][:, 0]
    mine, gap = normalised_cut.second_eigenvector(graph)
    assert abs(mine @ vector) == pytest.approx(np.linalg.norm(mine) * np.linalg.norm(vector), rel=1e-9)
    assert gap == found.gap > 0.1


def test_the_sign_of_the_eigenvector_changes_nothing():
    vector = np.array([[0.1, 0.2, -0.9], [0.1, 0.1, -0.8]])
    one, other = (normalised_cut.of_eigenvector(sign * vector) for sign in (1, -1))
    assert one.seed == other.seed == (0, 2) and np.array_equal(one.foreground, other.foreground)
    assert one.foreground.tolist() == [[False, False, True], [False, False, True]]


def test_a_cut_that_could_be_any_is_known_and_always_the_same():
    features = np.ones((3, 18, 20)) + np.random.default_rng(0).normal(0, 0.01, (3, 18, 20))  # all are joined to all
    found, again = normalised_cut.cut(features), normalised_cut.cut(features)
    assert found.gap < normalised_cut.EQUAL and np.array_equal(found.foreground, again.foreground)


def test_too_many_patches_and_a_single_one_are_refused():
    for shape, said in (((2, 100, 61), "6100 patches"), ((2, 1, 1), "single patch")):
        with pytest.raises(ValueError, match=said):
            normalised_cut.cut(np.ones(shape))


# --- rows ---

PRESET = {"rules": "tokencut", "undefined": "carry"}


@pytest.fixture
def saliency_rows():
    return SaliencyRows(tuple(NUMBERED), Stack.of(counts("tokencut")))


@pytest.fixture
def box_rows():
    boxes, predicted = annotated("voc_no_hard")
    best = [corloc.best_iou(box, own) for box, own in zip(predicted, boxes, strict=True)]
    return BoxRows(tuple(map(str, range(len(boxes)))), np.array([len(own) for own in boxes], np.int32), np.array(best))


def test_rows_read_back_give_the_same_figures_with_intervals(saliency_rows, box_rows, tmp_path):
    for own, main in ((saliency_rows, "max_f"), (box_rows, "corloc")):
        own.write(tmp_path / "a.rows.npz")
        again = rows.read(tmp_path / "a.rows.npz")
        assert type(again) is type(own) and not own.changed(again).any()
        entries = again.entries(Context(PRESET))
        assert entries == own.entries(Context(PRESET)) and own.comparable[0] == main
        entry = entries["metrics"][main]
        assert entry["ci95"][0] < entry["value"] < entry["ci95"][1] and entry["per_seed"] == [entry["value"]]
    assert box_rows.figures({})["corloc"] == [pytest.approx(FOUND["voc_no_hard"]["corloc"], abs=1e-8)]


def test_an_undefined_mean_is_left_out_of_the_figures():
    own = SaliencyRows(tuple(ALL), Stack.of(counts("tokencut", ALL)))
    assert "iou" not in own.figures(PRESET) and "iou" in own.figures(PRESET | {"undefined": "skip"})
    assert "iou" not in own.entries(Context(PRESET))["metrics"]


def test_a_model_does_not_differ_from_itself_and_a_better_one_does(saliency_rows, box_rows):
    perfect = [count_mask((MASKS[f"gt_{i}"] > 0).astype(float), MASKS[f"gt_{i}"] > 0, "tokencut") for i in NUMBERED]
    better = (
        (saliency_rows, replace(saliency_rows, stack=Stack.of(perfect)), "max_f"),
        (box_rows, replace(box_rows, iou=np.ones(len(box_rows.ids))), "corloc"),
    )
    for own, other, main in better:
        same = own.pair(own, PRESET, [], 200).metrics[main]
        assert same.difference == 0 and (same.low, same.high) == (0, 0) and same.p == 1
        found = own.pair(other, PRESET, [], 200)
        assert found.unit == "images" and found.metrics[main].low > 0 and found.metrics[main].tested.p < 0.05
        assert own.changed(other).any() and not own.changed(own).any()
        with pytest.raises(ValueError, match="other images"):
            own.pair(replace(other, ids=other.ids[::-1]), PRESET, [], 10)


def test_damaged_rows_are_refused(saliency_rows, box_rows, tmp_path):
    path = tmp_path / "a.rows.npz"
    for own in (saliency_rows, box_rows):
        own.write(path)
        arrays = dict(np.load(path))
        for name, array in arrays.items():
            for value in (array[:-1], np.full_like(array, 7)):
                np.savez(path, **arrays | {name: value})
                if name in ("ids", "objects", "half", "adaptive", "error") and len(value) == len(array):
                    continue  # other ids, or numbers that could be
                with pytest.raises(BadInput, match="missing or damaged"):
                    rows.read(path)
