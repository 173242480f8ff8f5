"""Details: what a record says beyond its figures, in the shape in which a page shows it.

`bench.record` checks the parts of a record that figures depend on. The rest may be anything, for records are files of
anybody: a part of an unexpected shape is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.published_classes import classes_of
from bench.record import Record
from bench.site.collect import MATRIX, Run
from bench.site.names import metric_name

CONFUSIONS = 40
"""So many of the largest are listed."""


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds: value and position on a line, percent."""

    metric: str
    value: float
    std: float | None
    low: float | None
    high: float | None
    seeds: tuple[tuple[str, float, float], ...]
    """Seed, value, position."""
    mean_at: float
    band: tuple[float, float] | None
    """Position and width of the interval."""


@dataclass(frozen=True)
class ClassFigure:
    """IoU of one class, or J&F of one sequence."""

    name: str
    value: float | None
    published: float | None


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix in percent of each true class; either whole or as its largest confusions."""

    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    """Predicted class (the last: unmatched), and of each true class the percentage as text and its shade, 0 to 9."""
    top: tuple[tuple[str, str, float], ...]
    """True class, what it was taken for, percent of the true class."""


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """The value if it is a finite number."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else None


def text(value: Any) -> str:
    """A JSON value as a reader wants it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        return ", ".join(str(item) for item in value)
    return json.dumps(value, ensure_ascii=False)


def spreads(run: Run) -> list[Spread]:
    """Each metric over the seeds, on a line that spans its interval and seeds."""
    seeds = run.record.get("seeds") or []
    return [_spread(metric, run.record["metrics"][metric], seeds) for metric in run.metrics]


def _spread(metric: str, measured: dict[str, Any], seeds: Sequence[Any]) -> Spread:
    values = [float(value) for value in measured["per_seed"]]
    low, high = measured.get("ci95") or (None, None)
    ends = [value for value in (*values, low, high) if value is not None]
    first, last = min(ends), max(ends)
    room = 0.08 * (last - first) or 1.0
    first, last = first - room, last + room

    def at(value: float) -> float:
        return round(100 * (value - first) / (last - first), 2)

    named = [str(seed) for seed in seeds] if len(seeds) == len(values) else [""] * len(values)
    band = None if low is None or high is None else (at(low), round(at(high) - at(low), 2))
    return Spread(
        metric_name(metric),
        float(measured["value"]),
        measured.get("std"),
        low,
        high,
        tuple((seed, value, at(value)) for seed, value in zip(named, values, strict=True)),
        at(float(measured["value"])),
        band,
    )


def class_figures(record: Record) -> list[ClassFigure]:
    """Per-class IoU beside the published figures of the same classes, where there are any."""
    published = classes_of(record)
    own = {str(name): number(value) for name, value in mapping(record.get("per_class")).items()}
    return [
        ClassFigure(name, value, published[name].value if name in published else None) for name, value in own.items()
    ]


def class_sources(record: Record) -> list[str]:
    """Where the published per-class figures come from, and what is to be known of them."""
    found = classes_of(record).values()
    return list(dict.fromkeys(f"{figure.source} ({figure.note})" if figure.note else figure.source for figure in found))


def sequence_figures(record: Record) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Of video: the measures, and of each sequence its values in them."""
    sequences = mapping(record.get("per_sequence"))
    table = {str(name): value if isinstance(value, dict) else {"value": value} for name, value in sequences.items()}
    measures = list(dict.fromkeys(str(key) for row in table.values() for key in row if number(row[key]) is not None))
    return measures, [(name, [number(row.get(key)) for key in measures]) for name, row in table.items()]


def confusion(record: Record) -> Confusion | None:
    """The confusion matrix in percent of each true class; None where the record has none of the expected shape."""
    entry = mapping(record.get("confusion"))
    names, table = entry.get("classes"), entry.get("mean")
    if not isinstance(names, list) or not isinstance(table, list) or not names:
        return None
    counts = [[number(cell) for cell in row] if isinstance(row, list) else [] for row in table]
    if len(counts) not in (len(names), len(names) + 1) or any(len(row) != len(names) or None in row for row in counts):
        return None
    cells = [[max(0.0, cell or 0.0) for cell in row] for row in counts]
    totals = [sum(column) for column in zip(*cells, strict=True)]
    shares = [[100 * cell / total if total else 0.0 for cell, total in zip(row, totals, strict=True)] for row in cells]
    classes = tuple(str(name) for name in names)
    predicted = (*classes, "unmatched")[: len(shares)]
    top = _largest(classes, predicted, shares)
    if len(classes) > MATRIX:
        return Confusion(classes, (), top)
    rows = tuple((name, tuple(_cell(share) for share in row)) for name, row in zip(predicted, shares, strict=True))
    return Confusion(classes, rows, top)


def _cell(share: float) -> tuple[str, int]:
    """A percentage as text (empty below a half) and its shade."""
    return (f"{share:.0f}" if share >= 0.5 else "", min(9, math.ceil(share / 10)) if share >= 0.5 else 0)


def _largest(
    classes: Sequence[str], predicted: Sequence[str], shares: Sequence[Sequence[float]]
) -> tuple[tuple[str, str, float], ...]:
    """The largest confusions, in percent of the true class."""
    found = [
        (shares[i][j], classes[j], predicted[i])
        for i in range(len(predicted))
        for j in range(len(classes))
        if i != j and shares[i][j] >= 0.5
    ]
    found.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    return tuple((true, taken, share) for share, true, taken in found[:CONFUSIONS])


def recipe(record: Record) -> list[tuple[str, str]]:
    """The preset's entries."""
    return [(str(key), text(value)) for key, value in record["protocol"]["preset"].items()]


def facts(record: Record) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titled lists of what else there is to know: weights, data, cost, environment."""
    environment = dict(mapping(record.get("environment")))
    packages = mapping(environment.pop("packages", None))
    git = mapping(environment.pop("git", None))
    if git.get("commit"):
        environment["git commit"] = f"{git['commit']}{' (with changes)' if git.get('dirty') else ''}"
    model = {key: record["model"].get(key) for key in ("id", "weights_source", "weights_sha256")}
    dataset = {key: record["dataset"].get(key) for key in ("images", "sequences", "layout", "manifest")}
    protocol = {"fingerprint": record["protocol"]["fingerprint"], "solver gap": record.get("solver_gap")}
    lists = [
        ("Weights", model),
        ("Data", dataset),
        ("Protocol", protocol | mapping(record.get("solver"))),
        ("Cost", mapping(record.get("cost"))),
        ("Environment", environment),
        ("Packages", packages),
    ]
    return [
        (title, [(str(key).replace("_", " "), _fact(value)) for key, value in entries.items() if value is not None])
        for title, entries in lists
        if any(value is not None for value in entries.values())
    ]


def _fact(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else text(value)


def warnings_of(record: Record) -> list[str]:
    """What the run warned of."""
    found = record.get("warnings")
    return [text(warning) for warning in found] if isinstance(found, list) else []
