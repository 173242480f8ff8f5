"""Benchmark pages: what the pages of a data set say of it, and of a ranking as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.cards import catalogue
from bench.report.definitions import definition_of, definition_on
from bench.report.site.benchmarks import Benchmark
from bench.report.site.facets import phrases
from bench.report.site.names import web_url
from bench.report.site.ranking import Ranked

OTHERS = 4
"""A table shows its rows' values in at most so many further metrics, if a quarter of the rows has any; each metric has
a page of its own."""


def columns(rows: Sequence[Ranked]) -> dict[str, bool]:
    """Which columns a ranking has beside those that every one has: those in which there is something to say."""
    return {
        "measured": any(row.entry.run for row in rows),
        "counted": any(phrases(row.entry) for row in rows),
        "others": sum(bool(row.entry.others) for row in rows) * 4 >= len(rows),
    }


def usual_probe(rows: Sequence[Ranked]) -> str:
    """Which labels the protocol itself reads, as most rows have it: it is said once."""
    return Counter(row.entry.probe for row in rows).most_common(1)[0][0]


def shared_definition(benchmark: Benchmark, protocol: str, rows: Sequence[Ranked]) -> str:
    """How figures that are measured here are counted: by the data set's own preset, else as the first run's was."""
    runs = (row.entry.run for row in rows if row.entry.run)
    own = definition_on(benchmark.dataset, benchmark.split, protocol)
    return own or next((definition_of(run.record).line for run in runs), "")


def facts_of(benchmark: Benchmark) -> dict[str, Any]:
    """What every page of a data set shows."""
    card = catalogue.datasets().get(benchmark.dataset)
    return {
        "dataset": benchmark.title,
        "split": benchmark.split,
        "about": card.description if card else "",
        "homepage": web_url(card.homepage) if card else None,
        "unlabelled": benchmark.unlabelled,
    }


def task_of(benchmark: Benchmark) -> str:
    """The task that the home page lists a data set under."""
    card = catalogue.datasets().get(benchmark.dataset)
    video = card.kind == "video" if card else "davis" in benchmark.metrics
    return "Video object segmentation" if video else "Image segmentation"
