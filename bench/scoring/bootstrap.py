"""Bootstrap over images: how far a figure would move had other images been drawn.

Cluster labels and matching are held fixed; a resample draws N images with replacement and the metric is
averaged over the seeds inside it. A class that a resample has lost by chance keeps the value that it has in all images:
counted as 0, or left out of the mean, it would pull the interval of a small set away from the figure. The spread over
seeds is another thing and is reported apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bench.scoring.metrics import Float, from_sums, mean_present

if TYPE_CHECKING:
    from bench.scoring.confusion_rows import ConfusionRows

Statistic = Callable[[Float, Float], dict[str, Float]]
"""Takes R×3C sums, as `ConfusionRows.class_sums` has them per image, and the 3C sums of all images; returns name → R or
R×k values."""

RESAMPLES = 2000
_CELLS = 1 << 20
"""Draws held in memory at once: memory does not grow with images × resamples."""
_SUMS = 1 << 23
"""Sums held in memory at once: nor does it with classes × resamples."""


def resample_weights(images: int, resamples: int, seed: int) -> Iterator[Float]:
    """Chunks of r×N: how often each image is drawn in each resample."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS // images)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = generator.integers(0, images, (rows, images))
        drawn += np.arange(rows)[:, None] * images
        yield np.bincount(drawn.reshape(-1), minlength=rows * images).reshape(rows, images).astype(np.float64)


def resampled(rows: ConfusionRows, statistic: Statistic, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Float]:
    """What `statistic` makes of every resample, averaged over the seeds that have it: name → R or R×k values.

    The draws depend on `seed` and the number of images alone: rows of the same images in the same order, resampled
    by the same seed, are pairs.
    """
    sums = [rows.class_sums(i).astype(np.float64).T.tocsr() for i in range(len(rows.seeds))]
    wholes = [one.sum(axis=1) for one in sums]
    chunks: dict[str, list[Float]] = {}
    most = max(1, _SUMS // (3 * rows.num_classes))
    drawn = resample_weights(len(rows.ids), resamples, seed)
    for weights in (chunk[start : start + most] for chunk in drawn for start in range(0, len(chunk), most)):
        transposed = np.ascontiguousarray(weights.T)
        per_seed = [statistic((one @ transposed).T, whole) for one, whole in zip(sums, wholes, strict=True)]
        for name in per_seed[0]:
            chunks.setdefault(name, []).append(mean_present(np.stack([values[name] for values in per_seed]), axis=0))
    return {name: np.concatenate(values) for name, values in chunks.items()}


def resampled_metrics(rows: ConfusionRows, absent: str, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Float]:
    """Metric → its value in every resample (percent), averaged over the seeds."""
    return resampled(rows, lambda sums, whole: from_sums(sums, absent, rows.counted, whole), resamples, seed)


def intervals(rows: ConfusionRows, absent: str, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """Metric → 95 % percentile interval, percent."""
    values = resampled_metrics(rows, absent, resamples)
    return {name: interval(one) for name, one in values.items()}


def interval(values: Float) -> tuple[float, float]:
    """95 % percentile interval of R resampled values, those that are NaN left out; NaN where all are."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
