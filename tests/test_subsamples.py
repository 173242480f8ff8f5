"""Subsamples and halves: who is drawn, what is counted of them, and what errors and optimism are made of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.base.errors import BadInput
from bench.base.files import load_npz, save_npz
from bench.protocols.clustering import scoring
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.resampled import seeds_of
from bench.protocols.clustering.scoring import half_tables, resampled_sums, score, score_labels
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.halves import crossed_sums, first_half, optimism, table_sums
from bench.scoring.matching import match
from bench.scoring.metrics import iou_of_sums
from bench.scoring.subsamples import (
    FEW,
    FEW_SCALE,
    FREEDOM,
    MOST_SUMS,
    MOST_WORK,
    SEEDS,
    SHARE,
    SUBSAMPLES,
    draws,
    error_of,
    error_of_difference,
    obstacle,
    subsample_size,
)
from bench.scoring.tolerance import quantile
from tests.benchmarks.certainty import Population
from tests.synthetic import random_rows, with_subsamples

few = settings(max_examples=40, deadline=None)
CLUSTERS, CLASSES = 5, 6
names = st.lists(st.text("abz019-é", min_size=1, max_size=6), unique=True, min_size=1, max_size=40)


def preset(**entries):
    """Without whitening, so that a part of the images has the points that it has in the whole."""
    return ClusteringPreset(**{"whiten": 0, "clusters": CLUSTERS, "restarts": 1} | entries).resolved()


@pytest.fixture(scope="module")
def seen():
    """60 images of five kinds."""
    return Population.of(CLUSTERS).sample(60, 3)[0]


def part(seen, places):
    """The observations of some of the images, in this order."""
    lengths = np.diff(seen.offsets)[places]
    rows = np.concatenate([np.arange(seen.offsets[i], seen.offsets[i + 1]) for i in places])
    columns = {name: getattr(seen, name)[places] for name in ("prototypes", "areas", "near", "sizes")}
    return replace(
        seen,
        ids=tuple(seen.ids[i] for i in places),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        classes=seen.classes[rows],
        counts=seen.counts[rows],
        **columns,
    )


def clusters_at_random(seen, seed):
    return np.random.default_rng(seed).integers(0, CLUSTERS, len(seen)).astype(np.int32)


def by_main_class(seen):
    """As clusters the class that has the most pixels inside each image's mask."""
    inside, _ = seen.histograms("label", CLASSES)
    return inside.toarray()[:, 1:].argmax(axis=1).astype(np.int32)


# --- who is drawn ---


@given(names, st.randoms(use_true_random=False))
@few
def test_who_is_drawn_follows_from_the_ids_and_not_from_their_order(ids, random):
    shuffled = list(ids)
    random.shuffle(shuffled)
    mine, others = draws(ids), draws(shuffled)
    assert [[ids[i] for i in own] for own in mine] == [[shuffled[i] for i in own] for own in others]
    assert len(mine) == SUBSAMPLES
    for own in mine:
        assert len(own) == subsample_size(len(ids)) == round(len(ids) * 2 / 3)
        drawn = [ids[i] for i in own]
        assert drawn == sorted(set(drawn))


@given(names, st.randoms(use_true_random=False), st.integers(0, 2**31))
@few
def test_halves_follow_from_ids_and_seed_and_not_from_the_order(ids, random, seed):
    shuffled = list(ids)
    random.shuffle(shuffled)
    one, other = first_half(ids, seed), first_half(shuffled, seed)
    assert {name for name, first in zip(ids, one, strict=True) if first} == {
        name for name, first in zip(shuffled, other, strict=True) if first
    }
    assert one.sum() == len(ids) // 2


def test_subsamples_and_halves_are_not_all_alike():
    ids = [f"{i:03}" for i in range(60)]
    assert len({tuple(own) for own in draws(ids)}) == SUBSAMPLES
    assert len({tuple(first_half(ids, seed)) for seed in range(20)}) == 20
    counts = np.bincount(np.concatenate(draws(ids)), minlength=60)
    assert counts.min() > 10 and counts.max() <= SUBSAMPLES  # each image is in about 27 of 40


def test_subsamples_are_clustered_under_two_seeds_at_least_and_five_at_most():
    assert seeds_of((7,)) == (7, 8) and seeds_of((1, 2)) == (1, 2)
    assert seeds_of(tuple(range(20))) == tuple(range(SEEDS))
    assert max(seeds_of((2**31 - 1,))) < 2**31  # as every seed is


def test_too_few_images_or_too_many_are_named():
    assert obstacle(30, 20) == "" and "fewer than 20 clusters" in obstacle(29, 20)
    assert obstacle(MOST_WORK // 20, 20) == "" and "takes too long" in obstacle(MOST_WORK // 20 + 1, 20)


# --- errors ---


def resampled(generator, images, seeds, count=5):
    """B×S values of subsamples, as a figure with these standard errors by images and by a single seed has them."""
    of_images = generator.normal(0, images * math.sqrt((1 - SHARE) / SHARE), (SUBSAMPLES, 1))
    return 40 + of_images + generator.normal(0, seeds, (SUBSAMPLES, count))


@pytest.mark.parametrize("images, seeds", [(2.0, 0.0), (2.0, 1.0), (1.0, 3.0), (0.0, 1.0)])
@pytest.mark.parametrize("count", [2, 5])
def test_errors_are_those_that_values_were_drawn_with(images, seeds, count):
    generator, found = np.random.default_rng(1), []
    for _ in range(300):
        own = error_of(resampled(generator, images, seeds, count), generator.normal(40, seeds, count), FEW)
        found.append((own.images**2, own.seeds**2))
    # what lies below 0 for the seeds' noise is cut off, so that a share of this noise may remain
    slack = 0.1 * images**2 + 0.35 * seeds**2 * SHARE / (1 - SHARE) / count
    assert np.mean(found, axis=0)[0] == pytest.approx(images**2, abs=slack)
    assert np.mean(found, axis=0)[1] == pytest.approx(seeds**2 / count, rel=0.25, abs=1e-9)


def test_of_a_single_seed_the_subsamples_say_how_far_seeds_lie_apart():
    values = resampled(np.random.default_rng(2), 1.0, 2.0, 2)
    own = error_of(values, [40.0], FEW)
    assert own.seeds == pytest.approx(2.0, rel=0.3)
    assert own.both.error == math.hypot(own.images, own.seeds)


def test_of_few_images_a_part_of_the_variance_is_the_subsamples_own():
    values = resampled(np.random.default_rng(2), 2.0, 1.0, 5)
    few_images, many = (error_of(values, [40.0, 41.0], images) for images in (FEW - 1, FEW))
    assert few_images.images**2 == pytest.approx(FEW_SCALE * many.images**2) and few_images.seeds == many.seeds
    apart = [error_of_difference(values, values[::-1], [1.0, 2.0], [3.0, 4.0], n).images for n in (FEW - 1, FEW)]
    assert apart[0] ** 2 == pytest.approx(FEW_SCALE * apart[1] ** 2)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@few
def test_by_images_nothing_differs_from_itself(seed, count):
    values = resampled(np.random.default_rng(seed), 2.0, 1.0, count)
    assert error_of_difference(values, values, [40.0, 41.0], [40.0, 41.0], FEW).images == 0.0


def test_what_is_hard_for_both_cancels_whatever_the_number_of_seeds():
    generator = np.random.default_rng(3)
    one = resampled(generator, 3.0, 0.1, 5)
    other = one[:, :2] + generator.normal(0, 0.1, (SUBSAMPLES, 2))
    apart = error_of_difference(one, other, [1.0, 1.1], [2.0, 2.1], FEW)
    assert error_of(one, [40.0, 40.1], FEW).images > 2 > 0.3 > apart.images


# --- halves ---


@given(st.integers(0, 2**32 - 1), st.sampled_from(["iou", "pixels"]), st.randoms(use_true_random=False))
@few
def test_other_ids_for_clusters_change_nothing(seed, objective, random):
    tables = np.random.default_rng(seed).integers(1, 10**9, (2, CLUSTERS + 1, CLASSES))
    order = random.sample(range(CLUSTERS + 1), CLUSTERS + 1)
    one, other = (crossed_sums((own[0], own[1]), objective) for own in (tables, tables[:, order]))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one[2 * CLASSES :], tables.sum(axis=(0, 1)))  # every pixel once


@pytest.mark.parametrize("objective", ["iou", "pixels"])
@pytest.mark.parametrize("clusters", [CLUSTERS, 9, 3])
def test_sums_of_a_table_are_those_of_rows_of_the_same_clustering(seen, objective, clusters):
    own = preset(matching=objective, clusters=clusters)
    labels = np.random.default_rng(1).integers(0, clusters, len(seen)).astype(np.int32)
    rows = score_labels(seen, [labels], own, CLASSES).rows
    table = scoring.pixel_table(*seen.histograms("label", CLASSES), labels, clusters)
    np.testing.assert_array_equal(table_sums(table, match(table, objective)), rows.sums(0))


def test_rows_of_halves_are_crossed_and_hold_all_pixels(seen):
    own, labels = preset(classes_from="halves"), clusters_at_random(seen, 1)
    rows = score_labels(seen, [labels], own, CLASSES, [7]).rows
    tables = half_tables(*seen.histograms("label", CLASSES), labels, CLUSTERS, first_half(seen.ids, 7))
    np.testing.assert_array_equal(crossed_sums(tables, "iou"), rows.sums(0))
    table = scoring.pixel_table(*seen.histograms("label", CLASSES), labels, CLUSTERS)
    np.testing.assert_array_equal(tables[0] + tables[1], table)
    whole = score_labels(seen, [labels], preset(), CLASSES).rows
    np.testing.assert_array_equal(rows.sums(0)[2 * CLASSES :], whole.sums(0)[2 * CLASSES :])
    assert optimism(rows, own) == {}  # nothing was matched on what it was judged by


def test_clusters_at_random_look_better_than_they_are_and_true_ones_do_not(seen):
    lost = []
    for seed in range(20):
        rows = score_labels(seen, [clusters_at_random(seen, seed)], preset(), CLASSES).rows
        lost.append(optimism(rows, preset())["mIoU"])
    assert np.mean(lost) > 1.0
    best = score_labels(seen, [by_main_class(seen)], preset(), CLASSES).rows
    assert optimism(best, preset())["mIoU"] == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("entries", [{"matched_on": "train"}, {"matching": "images"}, {"clusters": "20"}, {}])
def test_of_what_is_named_otherwise_no_optimism_is_told(seen, entries):
    rows = score_labels(seen, [clusters_at_random(seen, 1)], preset(), CLASSES).rows
    if not entries:
        rows = replace(rows, labels=np.zeros((1, 0), np.int32))
    assert optimism(rows, preset() | entries) == {}


# --- the sums of subsamples ---

RECIPES = [
    {},
    {"classes_from": "halves"},
    {"matching": "images"},
    {"matching": "pixels"},
    pytest.param({"solver": "minibatch"}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("entries", RECIPES)
def test_a_subsample_is_scored_as_these_images_alone_are(seen, entries):
    own, seeds = preset(**entries), (5, 6)
    sums = resampled_sums(seen, own, seeds, CLASSES)
    assert sums.shape == (SUBSAMPLES, 2, 3 * CLASSES) and sums.dtype == np.int64
    for number in (0, 17):
        alone = score(part(seen, draws(seen.ids)[number]), own, seeds, CLASSES).rows
        np.testing.assert_array_equal(sums[number], [alone.sums(i) for i in range(2)])


@pytest.mark.parametrize("entries", RECIPES)
def test_sums_do_not_depend_on_the_order_of_images_nor_on_threads(seen, entries, monkeypatch):
    sums = resampled_sums(seen, preset(**entries), (5, 6), CLASSES)
    shuffled = part(seen, np.random.default_rng(1).permutation(len(seen)))
    monkeypatch.setattr(scoring, "default_workers", lambda: 5)
    np.testing.assert_array_equal(resampled_sums(shuffled, preset(**entries), (5, 6), CLASSES), sums)
    monkeypatch.setattr(scoring, "default_workers", lambda: 1)
    np.testing.assert_array_equal(resampled_sums(seen, preset(**entries), (5, 6), CLASSES), sums)


def test_progress_is_told_of_each_subsample(seen):
    told = []
    resampled_sums(seen, preset(), (5, 6), CLASSES, progress=lambda *step: told.append(step))
    assert told == [(number, SUBSAMPLES) for number in range(1, SUBSAMPLES + 1)]


# --- rows that keep them ---


@pytest.fixture
def kept():
    return with_subsamples(random_rows(1, 30))


def test_rows_keep_subsamples_in_whatever_order_images_are_put(kept, tmp_path):
    kept.write(tmp_path / "x.npz")
    read = ConfusionRows.read(tmp_path / "x.npz")
    np.testing.assert_array_equal(read.subsamples, kept.subsamples)
    turned = read.in_order(kept.ids[::-1])
    assert turned.errors("zero") == kept.errors("zero")
    assert set(kept.errors("zero")) == set(kept.comparable)


def test_an_interval_is_its_standard_errors_together_times_the_quantile(kept):
    for name, entry in kept.metrics("zero").items():
        interval = entry["interval"]
        assert interval["seeds"] == pytest.approx(entry["std"] / math.sqrt(2))
        allowed = quantile(FREEDOM) * math.hypot(interval["images"], interval["seeds"])
        assert interval["high"] - entry["value"] == pytest.approx(allowed)
        assert entry["value"] - interval["low"] == pytest.approx(allowed)
        assert kept.errors("zero")[name].both.points == pytest.approx(allowed)


def test_a_class_that_a_subsample_lacks_has_its_value_in_the_whole(kept):
    """Else a rare class would make figures of subsamples lie apart that do not."""
    sums = kept.subsamples.copy()
    sums[:, :, [0, 4, 8]] = 0  # of class 0
    own = replace(kept, subsamples=sums).resampled("zero")["mIoU"]
    per_class = iou_of_sums(kept.subsamples)
    per_class[..., 0] = iou_of_sums(kept.sums(0))[0]
    np.testing.assert_allclose(own, per_class.mean(axis=-1))


def other_pixels(sums):
    sums[3, 1, -1] += 1


def more_hits_than_predictions(sums):
    sums[..., 0] = sums[..., 4] + 1


def more_predictions_than_pixels(sums):
    sums[0, 0, 4] += 10**6


@pytest.mark.parametrize(
    "change, says",
    [
        (other_pixels, "of other pixels than its rows"),
        (more_hits_than_predictions, "more right pixels than there are pixels"),
        (more_predictions_than_pixels, "more right pixels than there are pixels"),
    ],
)
def test_sums_that_cannot_be_of_these_images_give_no_error(kept, change, says):
    sums = kept.subsamples.copy()
    change(sums)
    with pytest.raises(ValueError, match=says):
        replace(kept, subsamples=sums).errors("zero")


WRONG = {
    "one axis less": lambda sums: sums[0],
    "another number of subsamples": lambda sums: sums[:39],
    "one seed": lambda sums: sums[:, :1],
    "six seeds": lambda sums: np.repeat(sums, 3, axis=1),
    "fewer classes": lambda sums: sums[..., :-3],
    "fractions": lambda sums: sums.astype(np.float64),
    "text": lambda sums: np.full(sums.shape, "1"),
    "flags": lambda sums: sums > 0,
    "below 0": lambda sums: np.where(np.arange(sums.shape[-1]) == 0, -1, sums),
    "far beyond all pixels": lambda sums: np.where(np.arange(sums.shape[-1]) == 0, 1 << 60, sums),
    "empty": lambda sums: sums[:0],
    "ten million zeros": lambda sums: np.zeros((SUBSAMPLES, 2, 125_000), np.int8),
}


@pytest.mark.parametrize("what", WRONG)
def test_arrays_that_are_no_subsamples_are_damage(kept, tmp_path, what):
    path = tmp_path / "x.npz"
    kept.write(path)
    save_npz(path, load_npz(path) | {"subsamples": WRONG[what](kept.subsamples)})
    with pytest.raises(BadInput, match="missing or damaged"):
        ConfusionRows.read(path)


def test_subsamples_of_more_classes_than_runs_keep_take_no_memory(kept, tmp_path):
    """Zeros pack well: in a file of some kB they would fill gigabytes once they are counted."""
    path, classes = tmp_path / "x.npz", 1 << 16
    kept.write(path)
    zeros = np.zeros((SUBSAMPLES, 2, 3 * classes), np.int8)
    assert zeros.size > MOST_SUMS
    save_npz(path, load_npz(path) | {"num_classes": np.array(classes), "subsamples": zeros})
    with pytest.raises(BadInput, match="its subsamples are of 2 seeds and 65536 classes"):
        ConfusionRows.read(path)


def test_optimism_of_tables_beyond_memory_is_not_told(seen):
    rows = score_labels(seen, [clusters_at_random(seen, 1)], preset(), CLASSES).rows
    assert optimism(rows, preset())
    assert optimism(rows, preset() | {"clusters": 1 << 24}) == {}
