"""J, F and their statistics: against the official toolboxes' figures, and what must hold of them always."""

import importlib.util
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from bench.scoring.davis_figures import statistics
from bench.scoring.j_and_f import assign, boundary, contour_accuracy, disc, radius, region_similarity, score_ids
from tests.conftest import GOLDEN

EXACT = {"abs": 1e-9, "rel": 0}
FIGURES = json.loads((GOLDEN / "davis.json").read_text())
INPUTS = dict(np.load(GOLDEN / "davis.npz"))
MEASURES = {"J": region_similarity, "F": contour_accuracy}
INNER, ALL = slice(1, -1), slice(None)


def require_statistics(values, figures):
    """Each of mean, recall and decay as the toolboxes have it; null where it is undefined."""
    for name, expected in figures.items():
        assert getattr(statistics(np.asarray(values)), name) == pytest.approx(
            np.nan if expected is None else expected, **EXACT, nan_ok=True
        ), name


def require_sequence(annotations, predictions, figures):
    for name, measure in MEASURES.items():
        values = [measure(a > 0, p > 0) for a, p in zip(annotations, predictions, strict=True)]
        assert values == pytest.approx(figures[f"{name}_per_frame"], **EXACT)
        require_statistics(values[INNER], figures["inner_frames"][name])
        require_statistics(values, figures["all_frames"][name])


@pytest.mark.parametrize("name", FIGURES["binary"])
def test_generated_sequences(name):
    pair = (INPUTS[f"binary_{name}_annotation"], INPUTS[f"binary_{name}_prediction"])
    require_sequence(*pair, FIGURES["binary"][name])


@pytest.mark.parametrize("name", FIGURES["edge_frames"])
def test_edge_frames(name):
    annotation, prediction = (INPUTS[f"edge_{name}_{kind}"] > 0 for kind in ("annotation", "prediction"))
    for key, measure in MEASURES.items():
        assert measure(annotation, prediction) == pytest.approx(FIGURES["edge_frames"][name][key], **EXACT)


def test_boundary_pixels():
    counts = {name: int(boundary(INPUTS[f"edge_{name}_annotation"] > 0).sum()) for name in FIGURES["boundary_pixels"]}
    assert counts == FIGURES["boundary_pixels"]


def test_footprints():
    for row in FIGURES["footprints"]:
        assert radius((row["height"], row["width"])) == row["radius"]
        assert disc(row["radius"]).sum() == row["footprint_pixels"]


@pytest.mark.parametrize("name", FIGURES["statistics"])
def test_statistics(name):
    require_statistics(INPUTS[f"values_{name}"], FIGURES["statistics"][name])


def test_statistics_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no values"):
        statistics(np.empty(0))


def test_void_frames():
    annotations, predictions = INPUTS["multi_three_annotation"], INPUTS["multi_three_prediction"]
    for row in FIGURES["void_frames"]:
        annotation, prediction = annotations[row["frame"]], predictions[row["frame"]]
        masks, void = (annotation == row["object"], prediction == row["object"]), annotation == 255
        for name, measure in MEASURES.items():
            assert measure(*masks, void) == pytest.approx(row[name], **EXACT)
            assert measure(*masks) == pytest.approx(row[f"{name}_without_void"], **EXACT)


def multi_object(name):
    annotations, predictions = INPUTS[f"multi_{name}_annotation"], INPUTS[f"multi_{name}_prediction"]
    first = annotations[0]
    return annotations, predictions, int(first[first != 255].max())


def require_objects(name, task, similarity, accuracy):
    """Objects × frames against the toolbox, frame by frame and in their statistics."""
    figures = FIGURES["multi_object"][task]
    for key, values in (("J", similarity), ("F", accuracy)):
        assert values == pytest.approx(np.array(figures["per_frame"][name][key]), **EXACT)
        for number, row in enumerate(values, start=1):
            require_statistics(row, figures["per_object"][f"{name}_{number}"][key])


def semi_supervised(name):
    annotations, predictions, objects = multi_object(name)
    frames = [score_ids(*pair, objects) for pair in zip(annotations[INNER], predictions[INNER], strict=True)]
    return (np.stack(values, axis=1) for values in zip(*frames, strict=True))


def unsupervised(name):
    annotations, predictions, objects = multi_object(name)
    proposals = max(objects, int(predictions.max()))
    values = {key: np.zeros((objects, proposals, len(annotations))) for key in MEASURES}
    for t, (annotation, prediction) in enumerate(zip(annotations, predictions, strict=True)):
        for k in range(objects):
            for p in range(proposals):
                masks = (annotation == k + 1, prediction == p + 1, annotation == 255)
                for key, measure in MEASURES.items():
                    values[key][k, p, t] = measure(*masks)
    pairs = assign(values["J"], values["F"])
    return (values[key][pairs[:, 1], pairs[:, 0]] for key in MEASURES)


@pytest.mark.parametrize("task, scored", [("semi-supervised", semi_supervised), ("unsupervised", unsupervised)])
def test_several_objects(task, scored):
    means = {"J": [], "F": []}
    for name in FIGURES["multi_object"][task]["per_frame"]:
        similarity, accuracy = scored(name)
        require_objects(name, task, similarity, accuracy)
        means["J"] += [statistics(row) for row in similarity]
        means["F"] += [statistics(row) for row in accuracy]
    figures = FIGURES["multi_object"][task]["global"]
    for key, objects in means.items():
        for name in ("mean", "recall", "decay"):
            value = np.mean([getattr(one, name) for one in objects])
            assert value == pytest.approx(figures[f"{key}-{name.capitalize()}"], **EXACT)


# --- two real sequences under stated corruptions ---


@pytest.fixture(scope="module")
def corruptions(parity):
    """The parity folder's own generator: how predictions were made from the annotations."""
    spec = importlib.util.spec_from_file_location("davis_generate", parity / "metrics" / "davis" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def real(realdata):
    folder = realdata / "DAVIS" / "Annotations" / "480p"
    return {
        name: [np.asarray(Image.open(path)) > 0 for path in sorted((folder / name).glob("*.png"))]
        for name in FIGURES["real"]
    }


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(FIGURES["real_over_sequences"])))
def test_real_sequences(real, corruptions, number):
    rule, arguments = corruptions.RULES[number]
    over = []
    for name, annotations in real.items():
        figures = FIGURES["real"][name][number]
        assert (figures["rule"], figures["arguments"]) == (rule, list(arguments))
        predictions = [corruptions.corrupt(mask, t, rule, arguments) for t, mask in enumerate(annotations)]
        require_sequence(annotations, predictions, figures)
        over.append(figures["inner_frames"])
    for key in MEASURES:
        for name in ("mean", "recall", "decay"):
            expected = FIGURES["real_over_sequences"][number][f"{key}-{name}"]
            assert np.mean([one[key][name] for one in over]) == pytest.approx(expected, **EXACT)


# --- what must hold of any masks ---

SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_both_measures_are_symmetric_and_shares(pair):
    for measure in MEASURES.values():
        value = measure(*pair)
        assert 0 <= value <= 1 and value == measure(*pair[::-1])
        assert measure(pair[0], pair[0]) == 1


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_an_object_and_its_complement_have_one_boundary(pair):
    assert np.array_equal(boundary(pair[0]), boundary(~pair[0]))
    assert contour_accuracy(*pair) == pytest.approx(contour_accuracy(~pair[0], ~pair[1]), **EXACT)


def plainly(annotation, prediction):
    """F from the whole frame and a distance map, as the rules read: no window, no dilation."""
    edges = [boundary(mask) for mask in (annotation, prediction)]
    if not (edges[0].any() and edges[1].any()):
        return float(edges[0].any() == edges[1].any())
    near = [
        cv2.distanceTransform(1 - edge, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= radius(annotation.shape)
        for edge in edges
    ]
    precision, recall = (edges[i][near[1 - i]].sum() / edges[i].sum() for i in (1, 0))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(20, 220), st.integers(20, 320))
def test_the_window_changes_nothing(seed, height, width):
    rng = np.random.default_rng(seed)
    masks = [np.zeros((height, width), np.uint8) for _ in range(2)]
    for mask in masks:
        for _ in range(int(rng.integers(0, 3))):
            centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            cv2.circle(mask, centre, int(rng.integers(1, 60)), 1, -1)
    first, second = (mask.view(bool) for mask in masks)
    assert contour_accuracy(first, second) == pytest.approx(plainly(first, second), **EXACT)


@settings(max_examples=40, deadline=None)
@given(st.permutations([1, 2, 3]), st.integers(0, 2**32 - 1))
def test_renaming_objects_with_their_predictions_only_renames_values(order, seed):
    rng = np.random.default_rng(seed)
    annotation, prediction = (rng.integers(0, 4, (2, 20, 30))).astype(np.uint8)
    renamed = np.array([0, *order], np.uint8)
    before = score_ids(annotation, prediction, 3)
    after = score_ids(renamed[annotation], renamed[prediction], 3)
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(new[np.array(order) - 1], old)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_statistics_keep_their_bounds(values):
    found = statistics(np.array(values))
    assert min(values) - 1e-12 <= found.mean <= max(values) + 1e-12
    assert 0 <= found.recall <= 1 and -1 <= found.decay <= 1
    backwards = statistics(np.array(values[::-1]))
    assert (backwards.mean, backwards.recall) == pytest.approx((found.mean, found.recall))


def test_the_assignment_is_the_best_of_all():
    from itertools import permutations

    rng = np.random.default_rng(3)
    similarity, accuracy = rng.random((2, 3, 4, 5))
    pairs = assign(similarity, accuracy)
    fit = (similarity + accuracy).mean(axis=-1)
    best = max(sum(fit[k, p] for k, p in enumerate(chosen)) for chosen in permutations(range(4), 3))
    assert sum(fit[k, p] for p, k in pairs) == pytest.approx(best)
    assert list(pairs[:, 0]) == sorted(pairs[:, 0])
