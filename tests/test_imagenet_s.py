"""ImageNet-S's figures against those of the benchmark's toolbox, and what must not move them."""

import hashlib
import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from bench.data.decoding import read_ids, read_label
from bench.scoring import imagenet_s_figures
from bench.scoring.boundaries import band_width, count_bands, is_boundary
from bench.scoring.id_counts import Painted, contingency, matched_by_images
from bench.scoring.matching import UNMATCHED, match_images, unique_optima
from tests.conftest import GOLDEN
from tests.imagenet import CARD, CLASSES, IGNORE, joined, rows_from

FOLDER = GOLDEN / "imagenet_s"
FIGURES = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))["groups"]
KEYS = {"miou": "mIoU"} | {f"miou_{s}": f"mIoU_{s}" for s in imagenet_s_figures.SIZES}
KEYS |= {f"boundary_{theirs}": f"boundary_{ours}" for theirs, ours in KEYS.items()}
KEYS |= {"f_measure": "f_measure", "image_accuracy": "image_accuracy"}
POINTS = 1e-4
MATCHED = [name for name in FIGURES if "match" in FIGURES[name]]
few = settings(max_examples=40, deadline=None)


def maps_of(group):
    """(prediction, label) of every image."""
    for line in (FOLDER / group / "names.txt").read_text().split():
        file = f"{line.removesuffix('.png')}.png"
        label, _ = read_label(FOLDER / group / "gt" / file, CARD)
        yield read_ids(FOLDER / group / "pred" / file, "rgb")[0], label


def rows_of(group):
    return rows_from(maps_of(group))


def check(rows, images, theirs):
    ours = imagenet_s_figures.figures(rows, images, CLASSES)
    for key, own in KEYS.items():
        if theirs[key] is None:
            assert ours[own] is None, key
        else:
            assert ours[own] == pytest.approx(theirs[key], abs=POINTS), key
    np.testing.assert_allclose(imagenet_s_figures.class_iou(rows, CLASSES), theirs["iou_per_class"], atol=POINTS)
    np.testing.assert_allclose(
        imagenet_s_figures.boundary_iou(rows, CLASSES), theirs["boundary_iou_per_class"], atol=POINTS
    )


def shared_of(rows):
    shared = np.zeros((50, 50), np.int64)
    for image in np.unique(rows.image):
        own = rows.image == image
        predicted, true = (np.unique(column[own]) for column in (rows.predicted, rows.true))
        shared[np.ix_(predicted[predicted > 0] - 1, true[true > 0] - 1)] += 1
    return shared


def given_table(group):
    table = {int(k): v for k, v in FIGURES[group]["match"].items()}
    return np.array([table[i] for i in range(CLASSES)])


# --- the golden figures ---


@pytest.mark.slow
@pytest.mark.parametrize("group", FIGURES)
def test_figures_without_matching_are_the_toolbox_s(group):
    check(rows_of(group), FIGURES[group]["images"], FIGURES[group]["without_match"])


@pytest.mark.slow
@pytest.mark.parametrize("group", MATCHED)
def test_figures_with_the_given_table_are_the_toolbox_s(group):
    rows = rows_of(group).matched(given_table(group), CLASSES)
    check(rows, FIGURES[group]["images"], FIGURES[group]["with_match"])


def test_our_own_matching_gives_the_toolbox_s_figures_where_any_solver_must():
    rows, theirs = rows_of("unique"), FIGURES["unique"]
    check(rows.matched(match_images(shared_of(rows)), CLASSES), theirs["images"], theirs["with_match"])


@pytest.mark.slow
@pytest.mark.parametrize("group", MATCHED)
def test_our_own_matching_costs_what_the_best_costs(group):
    rows, theirs = rows_of(group), FIGURES[group]["matching"]
    shared = shared_of(rows)
    listed = {tuple(map(int, key.split(","))): n for key, n in theirs["cooccurrence"].items()}
    assert {(i + 1, j + 1): shared[i, j] for i, j in np.argwhere(shared)} == listed
    mapping = match_images(shared)
    kept = shared[np.arange(50), mapping[1:] - 1].sum()
    assert 50 - kept / FIGURES[group]["images"] == pytest.approx(theirs["total_cost_official"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("group", MATCHED)
def test_clusters_with_a_unique_optimum_are_the_given_ones(group):
    shared = shared_of(rows_of(group))
    unique = unique_optima(shared) & shared.any(axis=1)
    assert (np.flatnonzero(unique) + 1).tolist() == FIGURES[group]["matching"]["clusters_with_a_unique_optimum"]


@pytest.mark.parametrize("group", FIGURES)
def test_boundary_maps_are_the_toolbox_s(group):
    for (predicted, label), theirs in zip(maps_of(group), FIGURES[group]["per_image"], strict=True):
        assert band_width(*label.shape) == theirs["band"]
        hashes = [hashlib.sha256(whole_map(ids).astype("<u2").tobytes()).hexdigest() for ids in (label, predicted)]
        assert set(hashes) <= {value for value in map(str, flat(theirs))}


def whole_map(ids):
    return np.where(is_boundary(ids), ids + 1, 0)


def flat(value):
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from flat(inner)
    else:
        yield value


# --- what must not matter ---


def draw_maps(generator, images, classes):
    """Id maps with ignored pixels, as (prediction, label)."""
    shapes = generator.integers(4, 12, (images, 2))
    return [
        (
            generator.integers(0, classes, s).astype(np.uint16),
            generator.choice([*range(classes), IGNORE], s).astype(np.uint16),
        )
        for s in shapes
    ]


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 6))
@few
def test_permuting_cluster_ids_changes_no_metric_where_the_optimum_is_unique(seed, images, classes):
    generator = np.random.default_rng(seed)
    maps = draw_maps(generator, images, classes)
    order = np.concatenate([[0], 1 + generator.permutation(classes - 1)]).astype(np.uint16)
    before, after = rows_from(maps), rows_from([(order[p], t) for p, t in maps])
    mapping = np.concatenate([[0], 1 + generator.permutation(classes - 1)])
    figures = [
        imagenet_s_figures.figures(before.matched(mapping[order], classes), images, classes),
        imagenet_s_figures.figures(after.matched(mapping, classes), images, classes),
    ]
    assert figures[0] == pytest.approx(figures[1], abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
@few
def test_rows_of_two_halves_join_to_the_whole(seed, images):
    maps = draw_maps(np.random.default_rng(seed), images, 4)
    parts = [imagenet_s_figures.map_rows(i, p, t, IGNORE) for i, (p, t) in enumerate(maps)]
    halves = joined([joined(parts[images // 2 :]), joined(parts[: images // 2])])
    assert imagenet_s_figures.figures(halves, images, 4) == pytest.approx(
        imagenet_s_figures.figures(rows_from(maps), images, 4)
    )


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@few
def test_an_image_of_only_ignored_pixels_counts_only_in_means_over_images(seed, images):
    maps = draw_maps(np.random.default_rng(seed), images, 4)
    void = (np.full((5, 5), 2, np.uint16), np.full((5, 5), IGNORE, np.uint16))
    before = imagenet_s_figures.figures(rows_from(maps), images, 4)
    after = imagenet_s_figures.figures(rows_from([*maps, void]), images + 1, 4)
    for name, value in before.items():
        if name in ("f_measure", "image_accuracy"):
            assert after[name] == pytest.approx(value * images / (images + 1))
        else:
            assert after[name] == value


def squares(largest):
    sizes = st.integers(1, largest).flatmap(lambda c: st.tuples(st.integers(1, c), st.just(c)))
    return sizes.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 4)))


@given(squares(6))
@few
def test_image_matching_is_optimal_and_one_to_one(shared):
    clusters, classes = shared.shape
    best = max(sum(shared[i, c] for i, c in enumerate(chosen)) for chosen in permutations(range(classes), clusters))
    mapping = match_images(shared)
    assert mapping[0] == 0 and UNMATCHED not in mapping and len(set(mapping.tolist())) == clusters + 1
    assert shared[np.arange(clusters), mapping[1:] - 1].sum() == best


@given(squares(5))
@few
def test_a_unique_optimum_is_one_that_every_best_assignment_has(shared):
    clusters, classes = shared.shape
    scores = {c: sum(shared[i, j] for i, j in enumerate(c)) for c in permutations(range(classes), clusters)}
    best = [chosen for chosen, score in scores.items() if score == max(scores.values())]
    theirs = [len({chosen[i] for chosen in best}) == 1 for i in range(clusters)]
    assert unique_optima(shared).tolist() == theirs


def test_unique_optima_of_many_clusters_are_found_in_time():
    shared = np.random.default_rng(0).poisson(0.3, (919, 919)) + np.diag(np.full(919, 9))
    _, chosen = linear_sum_assignment(shared, maximize=True)
    assert (chosen == np.arange(919)).all() and unique_optima(shared).sum() > 900


@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(3, 40))
@few
def test_bands_of_a_mask_are_those_of_the_map_it_paints(seed, height, width):
    generator = np.random.default_rng(seed)
    label = np.repeat(generator.choice([0, 3, IGNORE], (height, 1)), width, axis=1).astype(np.uint16)
    mask = (generator.random((height, width)) < 0.1).astype(np.uint8)
    bands = count_bands(label, mask)
    classes = np.array([c for c in (0, 3) if (label == c).any()], np.uint16)
    offsets = np.array([0, len(classes)])
    ours = imagenet_s_figures.mask_rows(
        offsets, classes, bands[classes].astype(np.int32), np.array([6], np.int32), np.arange(8)
    )
    theirs = imagenet_s_figures.map_rows(0, mask.astype(np.uint16) * 7, label, IGNORE)
    assert as_table(ours) == as_table(theirs)


def as_table(rows):
    columns = (getattr(rows, name).tolist() for name in imagenet_s_figures.BandRows.__annotations__)
    return sorted(zip(*columns, strict=True))


# --- cluster ids of any program, matched by images ---


@pytest.mark.slow
@pytest.mark.parametrize("group", MATCHED)
def test_painted_ids_matched_by_images_are_the_toolbox_s(group):
    names = [f"{group}-{i}" for i in range(FIGURES[group]["images"])]
    bands = tuple(imagenet_s_figures.band_table(p, t, IGNORE) for p, t in maps_of(group))
    painted = Painted(tuple(names), tuple(map(imagenet_s_figures.counts_of, bands)), "", {}, bands)
    _, (mapping,), detail = matched_by_images([painted], CLASSES)
    assert mapping.tolist() == match_images(shared_of(rows_of(group))).tolist()
    unique = FIGURES[group]["matching"]["clusters_with_a_unique_optimum"]
    assert detail["matching"]["clusters_with_a_unique_optimum"] == [len(unique)]
    if group == "unique":
        figures = imagenet_s_figures.painted_figures([painted], [mapping], CLASSES)
        for key, own in KEYS.items():
            theirs = FIGURES[group]["with_match"][key]
            if own != "mIoU" and theirs is not None:
                assert figures[own] == [pytest.approx(theirs, abs=POINTS)], key


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@few
def test_a_band_table_without_boundaries_is_the_contingency_table(seed, classes):
    ((predicted, label),) = draw_maps(np.random.default_rng(seed), 1, classes)
    found = imagenet_s_figures.counts_of(imagenet_s_figures.band_table(predicted, label, IGNORE))
    assert found.tolist() == contingency(predicted, label, IGNORE).tolist()


def test_many_cluster_ids_go_to_the_class_that_they_share_most_images_with(tmp_path):
    counts = tuple(np.array([[900 + i, 1 + i % 2, 5], [0, 0, 5]]) for i in range(4))
    rows, (mapping,), detail = matched_by_images([Painted(tuple("abcd"), counts, "")], 3)
    assert [mapping[i] for i in (0, 900, 901, 902, 903)] == [0, 1, 2, 1, 2]
    assert detail["matching"]["clusters_with_a_unique_optimum"] == []
    assert rows.confusion(0)[:3].tolist() == [[20, 0, 0], [0, 10, 0], [0, 0, 10]]


def test_where_nothing_but_background_was_painted_it_stays_background():
    counts = [np.array([[0, 0, 5], [0, 2, 3]])]
    rows, (mapping,), _ = matched_by_images([Painted(("a",), counts, "")], 3)
    assert mapping[0] == 0
    np.testing.assert_array_equal(rows.confusion(0), [[5, 0, 3], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
