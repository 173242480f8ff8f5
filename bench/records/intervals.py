"""Intervals: which interval a record's figure is shown with, and what it is for (docs/certainty.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.protocols import registry
from bench.scoring.subsamples import obstacle

SAMPLES = "new samples"
"""New images, clustered again, and new seeds."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a figure, in percent."""

    low: float
    high: float
    covers: str
    """What chance it takes in: `SAMPLES`, or `over_images`."""
    error: float
    """Standard error, in points."""


def over_images(preset: Mapping[str, Any]) -> str:
    """What an interval of other images alone is given, in words, by the preset: `images, given these clusters`."""
    fitted = {"clusters": "these clusters", "bank": "this bank", "train": "this classifier"}
    # clusters that are null are as many as there are classes
    there = (entry for entry in fitted if entry in preset and (preset[entry] is not None or entry == "clusters"))
    given = next((fitted[entry] for entry in there), "these predictions")
    return f"images, given {given}"


def images_interval(measured: Mapping[str, Any], preset: Mapping[str, Any]) -> Interval | None:
    """Of a record's metric, over images alone; None where it has none."""
    if not measured.get("ci95"):
        return None
    low, high = measured["ci95"]
    return Interval(low, high, over_images(preset), (high - low) / (2 * 1.959964))


def figure_interval(measured: Mapping[str, Any], preset: Mapping[str, Any]) -> Interval | None:
    """Of a record's metric, the one to show: for new samples where that is known, else over images alone."""
    found = measured.get("interval")
    if not found:
        return images_interval(measured, preset)
    return Interval(found["low"], found["high"], SAMPLES, math.hypot(found["images"], found["seeds"]))


def obstacle_of(record: Mapping[str, Any]) -> str:
    """Why a record of clustered images has no interval for new samples, in words; empty where it could have one."""
    known, preset = registry.parsed(record["protocol"]["id"]), record["protocol"]["preset"]
    elsewhere = preset.get("fit") is not None or not record["dataset"].get("labelled", True)
    clusters = preset.get("clusters")
    if not known or known[0] != "clustering" or elsewhere or not isinstance(clusters, int):
        return ""
    if record["dataset"].get("judges") is not None:
        return "images without labels were clustered too"
    return obstacle(record["dataset"]["images"], clusters)


def optimism_of(record: Mapping[str, Any]) -> str:
    """How many points the main metric owes to matching on the evaluated labels, in words; empty if unknown."""
    metric, value = next(iter((record.get("optimism") or {}).items()), ("", 0.0))
    if not metric:
        return ""
    return f"matching on the evaluated labels is worth up to about {value:.1f} points of {metric}"
