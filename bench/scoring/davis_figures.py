"""DAVIS: from J and F of every object and frame to the figures of a record (docs/protocols.md#davis)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.scoring.bootstrap import RESAMPLES, resample_weights

if TYPE_CHECKING:
    from bench.scoring.frame_rows import FrameRows

Floats = npt.NDArray[np.float64]

LONGEST = 256
"""Decay is undefined above this many values: the toolboxes keep the bounds of the quarters in 8 bits."""

METRICS = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "JF_mean")


def entries(rows: FrameRows, *, drawn: bool = True) -> dict[str, Any]:
    """A record's `metrics`, with intervals if they are `drawn`, and `per_sequence`, in percent.

    Means are over objects, which over sequences of one object each (2016) is the mean over sequences. A figure that is
    undefined for any object is left out of its entry: it would be the mean of a part.
    """
    table, belongs = tables_of(rows)
    return {"metrics": _metrics(table, belongs, drawn), "per_sequence": _per_sequence(rows, table, belongs)}


def _per_sequence(rows: FrameRows, table: Floats, belongs: npt.NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    frames = Counter(frame.rpartition("/")[0] for frame in rows.ids)
    order = np.argsort(belongs, kind="stable")
    parts = np.split(table[order], np.cumsum(np.bincount(belongs, minlength=len(frames)))[:-1])
    return {
        name: {"frames": frames[name], "objects": len(own)} | (known(own.mean(axis=0)) if len(own) else {})
        for name, own in zip(rows.sequences, parts, strict=True)
    }


def tables_of(rows: FrameRows) -> tuple[Floats, npt.NDArray[np.int64]]:
    """O×7 figures of every object, percent, and the sequence that each belongs to, counted from 0."""
    objects = rows.objects()
    table = object_table([(similarity, accuracy) for _, _, similarity, accuracy in objects])
    number = {name: i for i, name in enumerate(rows.sequences)}
    return table, np.array([number[name] for name, _, _, _ in objects])


def object_table(objects: Sequence[tuple[Floats, Floats]]) -> Floats:
    """O×7, percent: `METRICS` of every object, from J and F of its frames. NaN where decay is undefined."""
    rows = []
    for similarity, accuracy in objects:
        j, f = statistics(similarity), statistics(accuracy)
        rows.append([*_parts(j), *_parts(f), (j.mean + f.mean) / 2])
    return 100 * np.array(rows).reshape(-1, len(METRICS))


def _parts(one: Statistics) -> tuple[float, float, float]:
    return one.mean, one.recall, one.decay


def known(values: Floats) -> dict[str, float]:
    """Metric → value, of those of `METRICS` that are defined."""
    return {name: float(value) for name, value in zip(METRICS, values, strict=True) if not np.isnan(value)}


def _metrics(table: Floats, belongs: npt.NDArray[np.int64], drawn: bool) -> dict[str, dict[str, Any]]:
    metrics: dict[str, dict[str, Any]] = {
        name: {"value": value, "std": None, "per_seed": [value]} for name, value in known(table.mean(axis=0)).items()
    }
    bounds = intervals(table, belongs) if drawn and len(np.unique(belongs)) > 1 else {}
    for name, entry in metrics.items():
        if name in bounds:
            entry["ci95"] = list(bounds[name])
    return metrics


def intervals(
    table: Floats, belongs: npt.NDArray[np.int64], resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """Metric → 95 % percentile interval of the mean over objects, percent; whole sequences are drawn.

    Objects of one sequence share its difficulty, so they are not drawn one by one. `belongs` is each object's
    sequence, counted from 0 without gaps.
    """
    low, high = np.percentile(resampled_means(table, belongs, resamples), [2.5, 97.5], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(METRICS, low, high, strict=True)}


def resampled_means(table: Floats, belongs: npt.NDArray[np.int64], resamples: int = RESAMPLES) -> Floats:
    """R×7: the mean over objects in every resample of whole sequences. The draws are the same for the same number."""
    count = np.bincount(belongs)
    sums = np.stack([np.bincount(belongs, column) for column in table.T], axis=1)
    chunks = [(weights @ sums) / (weights @ count)[:, None] for weights in resample_weights(len(count), resamples, 0)]
    return np.concatenate(chunks)


@dataclass(frozen=True)
class Statistics:
    """What a list of per-frame values comes to. Decay is NaN where it is undefined."""

    mean: float
    recall: float
    decay: float


def statistics(values: Floats) -> Statistics:
    """Mean, recall and decay of n per-frame values.

    Recall is the share strictly above 0.5. Decay is the first quarter's mean minus the last one's; neighbouring
    quarters share the frame between them, and it is undefined above 256 values. Means skip NaN; recall counts it
    as not above 0.5. Raises ValueError for no values.
    """
    if not len(values):
        raise ValueError("no values")
    decay = math.nan
    if len(values) <= LONGEST:
        bounds = np.rint(1 + np.arange(5) * (len(values) - 1) / 4 + 1e-10).astype(int) - 1
        decay = _mean(values[bounds[0] : bounds[1] + 1]) - _mean(values[bounds[3] : bounds[4] + 1])
    return Statistics(_mean(values), float(np.count_nonzero(values > 0.5) / len(values)), decay)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
