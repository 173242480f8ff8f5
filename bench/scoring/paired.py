"""Paired comparison: the difference of two models on the same images, its intervals and its test.

Two questions are asked apart. *Over images*: every resample draws one list of images and scores both models on it,
clusters, matching and seeds held fixed; what is hard about an image is hard for both and cancels. *For the figure*:
would the difference be there on new images, with new seeds, clustered again? The test answers the second (`Tested`).
See docs/certainty.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.scoring.bootstrap import RESAMPLES, interval, resampled
from bench.scoring.davis_figures import METRICS, resampled_means, tables_of
from bench.scoring.metrics import Counts, Float, from_sums, iou_of_sums, mean_present
from bench.scoring.subsamples import error_of_difference
from bench.scoring.tolerance import Tolerance, of_two_samples, quantile

if TYPE_CHECKING:
    from bench.scoring.confusion_rows import ConfusionRows
    from bench.scoring.frame_rows import FrameRows

CLASSES = "IoU per class"
"""The name of the per-class values among those of the metrics."""


SAMPLES = "new images, clustered again, and new seeds"
SEEDED = "new images and new seeds, given what was fitted"
IMAGES = "new images, given what was fitted"
SEQUENCES = "new sequences"
NEW_IMAGES = "new images"
SEEDS = "other seeds of one model on the same images"


@dataclass(frozen=True)
class Tested:
    """Whether a difference is more than chance, in points."""

    low: float
    high: float
    """95 % interval of the difference."""
    p: float
    """Two-sided, of "no difference"."""
    covers: str
    """What chance is made of: one of the names above."""
    found: float
    """The smallest true difference that such a test finds with a chance of 80 %."""


@dataclass(frozen=True)
class Difference:
    """One figure of two models, in percent; their difference and its bounds, in points. NaN where undefined."""

    first: float
    second: float
    difference: float
    """second − first."""
    low: float
    high: float
    """95 % percentile interval of the difference over images; NaN of a single image or sequence."""
    p: float
    """Over images alone, two-sided, see `p_value`."""
    tested: Tested | None = None
    """For the figure; None where nothing can be said of it."""


@dataclass(frozen=True)
class Part:
    """What a figure is made of, for two models: a class's IoU or a sequence's J&F, percent. None where undefined."""

    name: str
    a: float | None
    b: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    """None where nothing can be drawn, as for one sequence."""


@dataclass(frozen=True)
class Paired:
    """How two models differ on the same images."""

    metrics: dict[str, Difference]
    parts: tuple[Part, ...]
    unit: str
    """What was drawn, and what `parts` are of: images (classes), or sequences."""


def known(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else value


def bounds(one: Difference) -> tuple[float, float] | None:
    """The ends of the interval; None where there is none."""
    return None if math.isnan(one.low) else (one.low, one.high)


def p_value(differences: Float) -> float:
    """Two-sided p of "no difference": twice the smaller share of resamples on one side of 0, at most 1.

    A resample of exactly 0 counts on both sides, and one is added to the count and to the number of resamples, so p
    is never 0: the least that R resamples can give is 2 / (R + 1). It agrees with the percentile interval: p < 0.05
    where the interval leaves out 0. NaN for no values.
    """
    known = differences[~np.isnan(differences)]
    if not len(known):
        return float("nan")
    smaller = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return min(1.0, 2 * (int(smaller) + 1) / (len(known) + 1))


def of_confusion(
    first: ConfusionRows,
    second: ConfusionRows,
    absent: str,
    names: Sequence[str],
    resamples: int = RESAMPLES,
    *,
    one_model: bool = False,
    clustered: bool = False,
) -> Paired:
    """The difference of every metric and of every class's IoU, from rows of the same images in any order.

    With `one_model` both are of the same weights and preset, so that only seeds can differ. With `clustered` the images
    themselves were clustered: then nothing is tested without subsamples that were clustered again.

    Raises ValueError for rows of other images or another number of classes.
    """
    if first.num_classes != second.num_classes:
        raise ValueError(f"{first.num_classes} and {second.num_classes} classes")
    values, draws = [], []
    for rows in (first, second.in_order(first.ids)):
        sums = np.stack([rows.sums(i) for i in range(len(rows.seeds))])
        whole = _figures(sums, None, absent, rows.counted)
        values.append({name: mean_present(one, axis=0) for name, one in whole.items()})
        found = resampled(rows, partial(_figures, absent=absent, counted=rows.counted), resamples)
        draws.append({name: _if_several(one, len(rows.ids)) for name, one in found.items()})
    metrics = {
        name: _difference(float(values[0][name]), float(values[1][name]), draws[1][name] - draws[0][name])
        for name in values[0]
        if name != CLASSES
    }
    tests = _tests(first, second, absent, metrics, draws, one_model=one_model, clustered=clustered)
    metrics = {name: replace(one, tested=tests.get(name)) for name, one in metrics.items()}
    moved = draws[1][CLASSES] - draws[0][CLASSES]
    parts = []
    for i, name in enumerate(names):
        one = _difference(float(values[0][CLASSES][i]), float(values[1][CLASSES][i]), moved[:, i])
        parts.append(Part(name, known(one.first), known(one.second), known(one.difference), bounds(one)))
    return Paired(metrics, tuple(parts), "images")


def _tests(
    first: ConfusionRows,
    second: ConfusionRows,
    absent: str,
    metrics: Mapping[str, Difference],
    draws: Sequence[Mapping[str, Float]],
    *,
    one_model: bool,
    clustered: bool,
) -> dict[str, Tested]:
    """Metric → the test of its difference."""
    seeds = [rows.figures({"absent": absent}) for rows in (first, second)]
    resampled = [rows.resampled(absent) if rows.subsamples is not None else None for rows in (first, second)]
    tests: dict[str, Tested] = {}
    for name, one in metrics.items():
        ours, theirs = (values[name] for values in seeds)
        if one_model:
            if len(ours) > 1 and len(theirs) > 1:
                tests[name] = _tested(one, of_two_samples(ours, theirs, 0.0), SEEDS)
        elif resampled[0] is not None and resampled[1] is not None:
            error = error_of_difference(resampled[0][name], resampled[1][name], ours, theirs, len(first.ids))
            tests[name] = _tested(one, error.both, SAMPLES)
        elif not clustered and not math.isnan(one.low):
            tests[name] = _of_images(one, draws[1][name] - draws[0][name], ours, theirs)
    return tests


def _tested(one: Difference, error: Tolerance, covers: str) -> Tested:
    allowed = error.points
    return Tested(one.difference - allowed, one.difference + allowed, error.p(one.difference), covers, error.found())


def _of_images(one: Difference, resampled: Float, ours: Sequence[float], theirs: Sequence[float]) -> Tested:
    """By the images drawn; and by the seeds, where either was run under several."""
    variances = [float(np.var(values, ddof=1)) / len(values) for values in (ours, theirs) if len(values) > 1]
    images = float(np.nanvar(resampled))
    if not any(variances):
        error = Tolerance(math.sqrt(images), math.inf)
        return Tested(one.low, one.high, one.p, IMAGES, error.found())
    frees = [len(values) - 1 for values in (ours, theirs) if len(values) > 1]
    total = images + sum(variances)
    # Welch and Satterthwaite: the images' part is known well, that of a few seeds is not
    freedom = total**2 / sum(variance**2 / free for variance, free in zip(variances, frees, strict=True))
    return _tested(one, Tolerance(math.sqrt(total), freedom), SEEDED)


def _figures(sums: Float | Counts, whole: Float | None, absent: str, counted: Sequence[int] | None) -> dict[str, Float]:
    return from_sums(sums, absent, counted, whole) | {CLASSES: iou_of_sums(sums)}


def _if_several(resampled: Float, units: int) -> Float:
    """The resamples of several images, or sequences; none of a single one, which has nothing to be drawn from."""
    return resampled if units > 1 else resampled[:0]


def _difference(first: float, second: float, resampled: Float) -> Difference:
    return Difference(first, second, second - first, *interval(resampled), p_value(resampled))


def _of_drawn(one: Difference, covers: str) -> Difference:
    """With the test of the sequences or images drawn: nothing else is drawn at random."""
    if math.isnan(one.low):
        return one
    error = Tolerance((one.high - one.low) / (2 * quantile(math.inf)), math.inf)
    return replace(one, tested=Tested(one.low, one.high, one.p, covers, error.found()))


def of_images(
    first: Mapping[str, float],
    second: Mapping[str, float],
    drawn: Mapping[str, Float],
    others: Mapping[str, Float],
    images: int,
) -> Paired:
    """The difference of every metric, percent, with R values of both in the same resamples of so many images."""
    metrics = {
        name: _of_drawn(
            _difference(first[name], second[name], _if_several(others[name] - drawn[name], images)), NEW_IMAGES
        )
        for name in first
        if name in second and not (math.isnan(first[name]) or math.isnan(second[name]))
    }
    return Paired(metrics, (), "images")


def same_objects(first: FrameRows, second: FrameRows) -> bool:
    """Whether two runs were measured on the same objects in the same frames."""
    same = np.array_equal(first.frame, second.frame) and np.array_equal(first.object, second.object)
    return same and first.ids == second.ids


def of_frames(first: FrameRows, second: FrameRows, resamples: int = RESAMPLES) -> Paired:
    """The difference of every metric and of every sequence's J&F, from rows of the same objects; sequences are drawn.

    Raises ValueError for rows of other objects or frames.
    """
    if not same_objects(first, second):
        raise ValueError("other objects or frames")
    tables, draws = [], []
    for rows in (first, second):
        table, belongs = tables_of(rows)
        tables.append(table)
        draws.append(_if_several(resampled_means(table, belongs, resamples), len(rows.sequences)))
    means = [table.mean(axis=0) for table in tables]
    metrics = {
        name: _of_drawn(_difference(float(means[0][i]), float(means[1][i]), draws[1][:, i] - draws[0][:, i]), SEQUENCES)
        for i, name in enumerate(METRICS)
    }
    overall = METRICS.index("JF_mean")
    parts = []
    for number, name in enumerate(first.sequences):
        a, b = (float(table[belongs == number, overall].mean()) for table in tables)
        parts.append(Part(name, a, b, b - a, None))
    return Paired(metrics, tuple(parts), "sequences")
