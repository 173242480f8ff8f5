"""Table names: data sets, protocols and metrics of a table that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence, Set

from bench.cards import catalogue
from bench.protocols import registry
from bench.records.published_names import Names
from bench.records.table_faults import Fault, Faults, Line
from bench.scoring.metric_names import METRICS

_LIKE = 0.6
"""Of 1: how alike a name that is suggested must be."""


def unknown_names(lines: Sequence[Line], more: Names) -> Faults:
    """Names that neither this program nor `more` has: most are misspelt."""
    told = {line.figure.protocol for line in lines}
    protocols = more["protocol"] | {name for name in told if registry.parsed(name)}
    # of metrics those of the table, if any: the names of all are many, and much alike
    metrics = METRICS.keys() & {line.figure.metric for line in lines}
    datasets = more["dataset"] | catalogue.datasets().keys()
    yield from _unknown(lines, "dataset", "data set", datasets, datasets)
    yield from _unknown(lines, "protocol", "protocol", protocols, protocols | set(registry.plain_names()))
    yield from _unknown(lines, "metric", "metric", metrics, metrics or METRICS.keys())


def _unknown(lines: Sequence[Line], column: str, kind: str, known: Set[str], near: Set[str]) -> Faults:
    """Lines whose name in a column is not `known`, with the nearest of `near`."""
    guesses: dict[str, str] = {}
    more = "" if column == "metric" else "; a line of published_names.csv makes one known"
    for line in lines:
        name = getattr(line.figure, column)
        if name not in known:
            guess = guesses.get(name) or guesses.setdefault(name, _guess(name, near))
            yield Fault(line, column, f"there is no {kind} '{name}' ({guess}){more}")


def _guess(name: str, known: Set[str]) -> str:
    lower = {one.lower(): one for one in sorted(known)}
    near = [lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=_LIKE)]
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"
