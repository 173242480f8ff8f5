"""Table names: data sets, protocols and metrics of a table that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from bench.cards import catalogue
from bench.protocols import registry
from bench.records.published_names import Names
from bench.records.table_faults import Fault, Faults, Line
from bench.scoring.metric_names import METRICS

_LIKE = 0.6


def unknown_names(lines: Sequence[Line], more: Names) -> Faults:
    """Names that neither this program nor `more` has: most are misspelt."""
    datasets = {*catalogue.datasets(), *more["dataset"]}
    for line in lines:
        figure = line.figure
        if figure.dataset not in datasets:
            yield _unknown(line, "dataset", figure.dataset, datasets)
        if registry.parsed(figure.protocol) is None and figure.protocol not in more["protocol"]:
            used = {other.figure.protocol for other in lines if registry.parsed(other.figure.protocol)}
            yield _unknown(line, "protocol", figure.protocol, {*registry.plain_names(), *used, *more["protocol"]})
        if figure.metric not in METRICS:
            yield _unknown(line, "metric", figure.metric, set(METRICS))


def _unknown(line: Line, column: str, name: str, known: set[str]) -> Fault:
    near = difflib.get_close_matches(name, sorted(known), n=2, cutoff=_LIKE)
    guess = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"
    kind = "data set" if column == "dataset" else column
    more = "" if column == "metric" else "; a line of published_names.csv makes one known"
    return Fault(line, column, f"there is no {kind} '{name}': {guess}{more}")
