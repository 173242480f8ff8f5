"""DAVIS: from J and F of every object and frame to the figures of a record (spec §9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.scoring.bootstrap import RESAMPLES, resample_weights
from bench.scoring.frame_rows import FrameRows
from bench.scoring.j_and_f import Statistics, statistics

Floats = npt.NDArray[np.float64]

METRICS = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "JF_mean")


@dataclass(frozen=True)
class Tracked:
    """What the protocol on video hands over."""

    rows: FrameRows
    detail: dict[str, Any] = field(default_factory=dict)
    """Further entries of the record, as plain JSON values."""

    def figures(self) -> dict[str, Any]:
        """The record's entries `metrics` and `per_sequence`, in percent.

        Means are over objects, which over sequences of one object each (2016) is the mean over sequences. A figure
        that is undefined for any object is left out of its entry: it would be the mean of a part.
        """
        table, belongs = tables_of(self.rows)
        return {"metrics": _metrics(table, belongs), "per_sequence": self._per_sequence(table, belongs)}

    def _per_sequence(self, table: Floats, belongs: npt.NDArray[np.int64]) -> dict[str, dict[str, Any]]:
        entries = {}
        for number, name in enumerate(self.rows.sequences):
            own = table[belongs == number]
            frames = sum(frame.rpartition("/")[0] == name for frame in self.rows.ids)
            entries[name] = {"frames": frames, "objects": len(own)} | _known(own.mean(axis=0))
        return entries


def tables_of(rows: FrameRows) -> tuple[Floats, npt.NDArray[np.int64]]:
    """O×7 figures of every object, percent, and the sequence that each belongs to, counted from 0."""
    objects = rows.objects()
    table = object_table([(similarity, accuracy) for _, _, similarity, accuracy in objects])
    return table, np.array([rows.sequences.index(name) for name, _, _, _ in objects])


def object_table(objects: Sequence[tuple[Floats, Floats]]) -> Floats:
    """O×7, percent: `METRICS` of every object, from J and F of its frames. NaN where decay is undefined."""
    rows = []
    for similarity, accuracy in objects:
        j, f = statistics(similarity), statistics(accuracy)
        rows.append([*_parts(j), *_parts(f), (j.mean + f.mean) / 2])
    return 100 * np.array(rows).reshape(-1, len(METRICS))


def _parts(one: Statistics) -> tuple[float, float, float]:
    return one.mean, one.recall, one.decay


def _known(values: Floats) -> dict[str, float]:
    return {name: float(value) for name, value in zip(METRICS, values, strict=True) if not np.isnan(value)}


def _metrics(table: Floats, belongs: npt.NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    metrics: dict[str, dict[str, Any]] = {
        name: {"value": value, "std": None, "per_seed": [value]} for name, value in _known(table.mean(axis=0)).items()
    }
    bounds = intervals(table, belongs) if len(np.unique(belongs)) > 1 else {}
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
