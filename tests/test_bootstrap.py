"""Intervals by resampling images."""

import numpy as np
import pytest

from bench.scoring.bootstrap import intervals, resample_weights, resampled_metrics
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.metrics import confusion_sums, from_sums
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


@pytest.mark.parametrize("absent", ["zero", "skip"])
@pytest.mark.parametrize("found", [8, 1], ids=["perfect", "nearly all background"])
def test_a_class_that_a_resample_lost_pulls_the_interval_neither_way(found, absent):
    """Few images, each of a class of its own; the first `found` of them perfect, the others painted as class 0."""
    images = np.arange(8, dtype=np.int32)
    predicted = np.where(images < found, images, 0).astype(np.int32)
    seed = SeedRows(images, predicted, images, np.full(8, 5, np.int64))
    for classes in (8, 9):  # the ninth occurs nowhere
        rows = ConfusionRows(tuple("abcdefgh"), classes, (seed,), np.empty((1, 0), np.int32))
        for name, (low, high) in intervals(rows, absent, 500).items():
            value = float(from_sums(confusion_sums(rows.confusion(0)), absent)[name])
            assert low - 1e-9 <= value <= high + 1e-9, name
            if found == 8:
                assert low == pytest.approx(high)  # no draw makes perfect predictions worse


def test_a_lost_class_has_its_value_in_all_images():
    sums = np.array([[4, 0, 0, 5, 0, 0, 4, 0, 0]], float)  # of three classes the first alone
    whole = np.array([4, 1, 0, 6, 2, 0, 5, 4, 0], float)
    values = from_sums(sums, "zero", whole=whole)
    assert values["mIoU"] == pytest.approx((80 + 20 + 0) / 3)
    assert values["mean_class_accuracy"] == pytest.approx((100 + 25) / 2)
    assert from_sums(sums, "skip", whole=whole)["mIoU"] == pytest.approx((80 + 20) / 2)


def test_many_classes_are_resampled_in_parts_with_the_same_values(monkeypatch):
    rows = random_rows(4, 30)
    whole = intervals(rows, "zero", 300)
    monkeypatch.setattr("bench.scoring.bootstrap._SUMS", 3 * rows.num_classes * 7)
    assert intervals(rows, "zero", 300) == whole
