"""Bootstrap over images: how far a figure would move had other images been drawn.

Cluster labels and matching are held fixed; a resample draws N images with replacement and the metric is
averaged over the seeds inside it. The spread over seeds is another thing and is reported apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.metrics import from_sums
from bench.rows import ConfusionRows

RESAMPLES = 2000
_CELLS = 1 << 20
"""Draws held in memory at once: memory does not grow with images × resamples."""


def resample_weights(images: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Chunks of r×N: how often each image is drawn in each resample."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS // images)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = generator.integers(0, images, (rows, images))
        drawn += np.arange(rows)[:, None] * images
        yield np.bincount(drawn.reshape(-1), minlength=rows * images).reshape(rows, images).astype(np.float64)


def resampled_metrics(
    rows: ConfusionRows, absent: str, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, npt.NDArray[np.float64]]:
    """Metric → its value in every resample (percent), averaged over the seeds."""
    sums = [rows.class_sums(i).astype(np.float64).T.tocsr() for i in range(len(rows.seeds))]
    chunks: dict[str, list[npt.NDArray[np.float64]]] = {}
    for weights in resample_weights(len(rows.ids), resamples, seed):
        transposed = np.ascontiguousarray(weights.T)
        per_seed = [from_sums((one @ transposed).T, absent, rows.counted) for one in sums]
        for name in per_seed[0]:
            chunks.setdefault(name, []).append(np.mean([values[name] for values in per_seed], axis=0))
    return {name: np.concatenate(values) for name, values in chunks.items()}


def intervals(rows: ConfusionRows, absent: str, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """Metric → 95 % percentile interval, percent."""
    values = resampled_metrics(rows, absent, resamples)
    return {
        name: (float(low), float(high))
        for name, (low, high) in ((n, np.percentile(v, [2.5, 97.5])) for n, v in values.items())
    }
