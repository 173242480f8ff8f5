"""The answer of a benchmark's page: its best figure without labels, and how that was counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.site.facets import labels_seen
from bench.report.site.ranking import Ranked, best_of


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
        told = {id(row.entry): row for row in rows if labels_seen(row.entry) == wanted}
        best, otherwise = (
            told[id(entry)] if entry else None for entry in best_of([row.entry for row in told.values()], metric)
        )
        if best or otherwise:
            return Answer(wanted == "none", best, otherwise)
    return None
