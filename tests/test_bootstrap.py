"""Intervals by resampling images."""

import numpy as np
import pytest

from bench.bootstrap import intervals, resample_weights, resampled_metrics
from bench.metrics import confusion_sums, from_sums
from bench.rows import ConfusionRows, SeedRows
from tests.synthetic import random_rows


def miou(rows):
    values = [from_sums(confusion_sums(rows.confusion(i)), "zero")["mIoU"] for i in range(len(rows.seeds))]
    return float(np.mean(values))


def drawn_again(rows, weights):
    """The rows of a list of images in which image i stands `weights[i]` times."""
    order = np.repeat(np.arange(len(rows.ids)), weights.astype(int))
    seeds = []
    for seed in rows.seeds:
        where = [np.flatnonzero(seed.image == i) for i in order]
        image = np.repeat(np.arange(len(order)), [len(w) for w in where]).astype(np.int32)
        at = np.concatenate(where)
        seeds.append(SeedRows(image, seed.predicted[at], seed.true[at], seed.count[at]))
    return ConfusionRows(tuple(f"drawn-{i}" for i in range(len(order))), rows.num_classes, tuple(seeds), rows.labels)


@pytest.fixture(scope="module")
def rows():
    return random_rows(7, images=40)


def test_the_interval_holds_the_value(rows):
    low, high = intervals(rows, "zero", 500)["mIoU"]
    assert low < miou(rows) < high


def test_every_metric_has_an_interval(rows):
    bounds = intervals(rows, "zero", 100)
    assert {"mIoU", "pixel_accuracy", "mean_class_accuracy"} <= set(bounds)
    assert all(0 <= low <= high <= 100 for low, high in bounds.values())


def test_four_times_the_images_halve_its_width(rows):
    more = drawn_again(rows, np.full(len(rows.ids), 4))
    wide, narrow = (np.diff(intervals(each, "zero", 1000)["mIoU"])[0] for each in (rows, more))
    assert wide / narrow == pytest.approx(2, rel=0.15)


def test_images_all_alike_leave_no_uncertainty():
    one = random_rows(3, images=1)
    low, high = intervals(drawn_again(one, np.array([9])), "zero", 100)["mIoU"]
    assert low == pytest.approx(high)


@pytest.mark.parametrize("resamples", [1, 249, 250, 601])
def test_each_resample_draws_as_many_images_as_there_are(resamples):
    weights = np.concatenate(list(resample_weights(13, resamples, seed=0)))
    assert weights.shape == (resamples, 13)
    np.testing.assert_array_equal(weights.sum(axis=1), 13)


def test_every_image_is_drawn_once_on_average():
    weights = np.concatenate(list(resample_weights(10, 4000, seed=0)))
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(weights.var(axis=0), 0.9, atol=0.1)


@pytest.mark.parametrize("absent", ["zero", "skip"])
def test_a_resample_is_the_metric_of_the_drawn_images(rows, absent):
    resampled = resampled_metrics(rows, absent, resamples=3, seed=5)
    for i, weights in enumerate(np.concatenate(list(resample_weights(len(rows.ids), 3, seed=5)))):
        again = drawn_again(rows, weights)
        per_seed = [from_sums(confusion_sums(again.confusion(s)), absent) for s in range(len(again.seeds))]
        for name, values in resampled.items():
            assert values[i] == pytest.approx(np.mean([one[name] for one in per_seed]))


def test_the_same_rows_give_the_same_interval(rows):
    assert intervals(rows, "zero", 300) == intervals(rows, "zero", 300)


def test_a_class_that_a_resample_lost_does_not_pull_the_interval_down():
    """Perfect predictions of a few images, each of a class of its own: no draw makes them worse."""
    images = np.arange(8, dtype=np.int32)
    seed = SeedRows(images, images, images, np.full(8, 5, np.int64))
    for classes, rule, expected in ((8, "zero", 100), (8, "skip", 100), (9, "skip", 100), (9, "zero", 100 * 8 / 9)):
        rows = ConfusionRows(tuple("abcdefgh"), classes, (seed,), np.empty((1, 0), np.int32))
        low, high = intervals(rows, rule, 200)["mIoU"]
        # a class that occurs nowhere still counts as 0 where the rule says so
        assert low <= high <= expected + 1e-9 and low > expected - 20
        assert (low == high == 100) == (expected == 100)
