"""The answer of a benchmark's page: its best figure without labels, and how that was counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.site.facets import labels_seen
from bench.report.site.ranking import Entry, Ranked, direction


@dataclass(frozen=True)
class Answer:
    """The best figures of a page."""

    fully: bool
    """Whether they are fully unsupervised; else the protocol itself reads labels, and only the weights saw none."""
    best: Ranked | None
    """Of those counted under the protocol's own preset."""
    otherwise: Ranked | None
    """The best published one that was counted otherwise, where that is better."""


def answer(rows: Sequence[Ranked], metric: str) -> Answer | None:
    """The answer that the rows of a page give; None where no row is of weights that saw no labels.

    A run of our own that stands for context, as one of a part of the images, is no answer.
    """
    for wanted in ("none", "probe"):
        told = [row for row in rows if labels_seen(row.entry) == wanted]
        best = _best([row for row in told if not row.entry.aside], metric)
        otherwise = _best([row for row in told if row.entry.aside and row.entry.published], metric)
        if best and otherwise and not _is_better(otherwise.entry, best.entry, metric):
            otherwise = None
        if best or otherwise:
            return Answer(wanted == "none", best, otherwise)
    return None


def _best(rows: Sequence[Ranked], metric: str) -> Ranked | None:
    """The best row by the value that stands in its column; the first of equal ones."""
    return max(rows, key=lambda row: direction(metric) * row.entry.value, default=None)


def _is_better(one: Entry, other: Entry, metric: str) -> bool:
    return direction(metric) * one.value > direction(metric) * other.value
