"""Describe: what was measured, on what, and how it compares, put together as a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.base.environment import environment, now, peak_memory_mb
from bench.cards.datasets import DatasetCard
from bench.data.samples import Samples
from bench.protocols.base import Scored
from bench.records import published
from bench.records.record import Record
from bench.records.schema import SCHEMA
from bench.scoring.bootstrap import intervals
from bench.scoring.clusters import Clusters
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.metrics import confusion_sums, iou_of_sums, mean_present, seed_metrics
from bench.scoring.unlabelled import Grouped
from bench.scoring.video_figures import Tracked

LARGEST_TABLE = 100
"""A confusion matrix of more classes than this is left to the rows file."""


@dataclass(frozen=True)
class Measured:
    """What a protocol found, and what it has to say about how."""

    scored: Scored | Tracked | Grouped
    manifest: str
    """SHA-256 over the images and labels that were seen."""
    observed: dict[str, Any]
    """About the pass over the images."""
    solver: dict[str, Any]
    """About what decided the figure after it: library, version, device."""
    images_per_second: float | None = None
    clusters: Callable[[], Clusters] | None = None
    """The clusters of the first seed, for a protocol that has any; worked out when they are to be shown."""


def describe(
    model: dict[str, Any],
    samples: Samples,
    protocol: dict[str, Any],
    seeds: tuple[int, ...],
    measured: Measured,
    cut: Sequence[Samples] = (),
) -> Record:
    """The record of a measurement, all but its cost.

    `protocol` is the record's entry, preset included; `cut` are the splits of which it saw a part.
    """
    scored, card = measured.scored, samples.card
    if isinstance(scored, (Tracked, Grouped)):
        figures = scored.figures()
    else:
        figures = _confusion_figures(scored, card, protocol["preset"]["absent"])
    return {
        "schema": SCHEMA,
        "model": model,
        "dataset": {
            "id": card.id,
            "title": card.title,
            "split": samples.split,
            **_size(samples),
            "manifest": measured.manifest,
            "limited": bool(cut),
            "cut": {each.split: _size(each) for each in cut if each.split != samples.split},
            "layout": samples.layout,
            **({} if samples.labelled else {"labelled": False}),
        },
        "protocol": protocol,
        "seeds": list(seeds),
        **figures,
        "observed": measured.observed,
        "solver": measured.solver,
        **scored.detail,
    }


def _size(samples: Samples) -> dict[str, Any]:
    """How many images were seen and how many there officially are; of video, how many sequences as well."""
    official = samples.card.splits[samples.split]
    size: dict[str, Any] = {"images": samples.images, "official_images": official.images}
    if samples.card.kind == "video":
        size |= {"sequences": len(samples), "official_sequences": official.sequences}
    return size


def _confusion_figures(scored: Scored, card: DatasetCard, absent: str) -> dict[str, Any]:
    return {
        "metrics": metrics_of(scored, absent),
        "per_class": per_class(scored.rows, card.classes),
        "confusion": _confusion(scored.rows, card),
        "cluster_to_class": [mapping.tolist() for mapping in scored.mappings],
    }


def metrics_of(scored: Scored, absent: str) -> dict[str, dict[str, Any]]:
    """Every metric with its mean over the seeds, their standard deviation (n − 1), values and interval."""
    per_seed = seed_metrics(scored.rows, absent)
    series = {name: [values[name] for values in per_seed] for name in per_seed[0]} | scored.extra
    bounds = intervals(scored.rows, absent)
    result: dict[str, dict[str, Any]] = {}
    for name, values in series.items():
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        result[name] = {"value": float(np.mean(values)), "std": spread, "per_seed": values}
        if name in bounds:
            result[name]["ci95"] = list(bounds[name])
    return result


def per_class(rows: ConfusionRows, classes: Sequence[str]) -> dict[str, float | None]:
    """Mean over the seeds of each class's IoU, percent; None for a class that occurs nowhere."""
    values = [iou_of_sums(confusion_sums(rows.confusion(i))) for i in range(len(rows.seeds))]
    mean = mean_present(np.array(values), axis=0)
    return {name: None if np.isnan(mean[i]) else float(mean[i]) for i, name in enumerate(classes)}


def _confusion(rows: ConfusionRows, card: DatasetCard) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "classes": list(card.classes),
        "rows": "predicted, the last one unmatched; mean over seeds",
    }
    if len(card.classes) > LARGEST_TABLE:
        # 920 classes would fill 8 MB of JSON with what the rows file holds in a fifth of one
        return entry | {
            "mean": None,
            "kept_in": "the rows file, from which bench.record.confusion_table sums it",
        }
    table = rows.mean_confusion()
    return entry | {"mean": [[round(value, 3) for value in row] for row in table.tolist()]}


def complete(made: Record, cost: dict[str, Any], solver_gap: float | None) -> None:
    """Add what is known at the end: how the figures compare, what they cost, where and when they were made."""
    made["solver_gap"] = solver_gap
    made["published"] = {
        metric: published.compare(made, figure)
        for metric, figure in published.answers_to(made).items()
        if metric in made["metrics"]
    }
    made["cost"] = {"peak_memory_mb": peak_memory_mb()} | cost
    made["environment"] = environment()
    made["created"] = now()
