"""Details: the parts of a record other than its figures, prepared for a page.

`bench.records.record` checks the parts of a record that figures depend on. Anybody can write the rest, so a part of an
unexpected shape is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from bench.base.errors import BadInput
from bench.records.intervals import SAMPLES, Interval, images_interval
from bench.records.model_said import network_of
from bench.records.published_classes import classes_of
from bench.records.record import Record, Stored, confusion_table
from bench.report.site.content import MATRIX, Run
from bench.report.tables import claims_of, images_shown, probe_of, shown_interval
from bench.scoring.metric_names import metric_name

Counts = npt.NDArray[np.float64]

LONGEST_FACT = 600
"""Characters of a fact that are shown; the curve of a training has more."""
CONFUSIONS = 40
"""So many of the largest are listed."""


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds: values, and positions on a line in percent of its width."""

    metric: str
    value: float
    std: float | None
    interval: Interval | None
    """For the figure, or over images alone."""
    images: Interval | None
    """Over images alone, where the other is for the figure."""
    seeds: tuple[tuple[str, float, float], ...]
    """Seed, value, position."""
    band: tuple[float, float] | None
    """Position and width of the interval."""
    claimed: str
    """What no row gives: `value`, `interval`, or nothing."""


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
    rows: tuple[tuple[str, Markup], ...]
    """Predicted class (the last: unmatched), and a cell per true class, its percentage shaded."""
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
        return ", ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Scale:
    """The scale of all strips of a page: points from the mean, which is in the middle of each."""

    reach: float
    """Points from the middle to the last tick."""

    def __call__(self, points: float) -> float:
        """Where on a strip, percent of its width."""
        return round(50 + 46 * points / self.reach, 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Position and label of each tick."""
        steps = (-1.0, -0.5, 0.0, 0.5, 1.0)
        return [
            (self(self.reach * step), f"{self.reach * step:+g}".replace("-", "−") if step else "0") for step in steps
        ]


def scale_of(runs: Sequence[Run]) -> Scale:
    """A scale on which every seed and interval of these runs has room, up to a round number of points."""
    most = max((abs(end) for run in runs for metric in run.metrics for end in _ends(metric, run.stored)), default=0.0)
    if most == 0:
        return Scale(1.0)
    power = 10.0 ** math.floor(math.log10(most))
    return Scale(next(step * power for step in (1, 2, 4, 10) if step * power >= most * (1 - 1e-9)))


def _ends(metric: str, stored: Stored) -> list[float]:
    """How far seeds and interval lie from the mean, in points."""
    measured, shown = stored.record["metrics"][metric], _interval(metric, stored)
    ends = [*measured["per_seed"], *((shown.low, shown.high) if shown else ())]
    return [float(value) - float(measured["value"]) for value in ends]


def _interval(metric: str, stored: Stored) -> Interval | None:
    """The interval that stands beside a figure; over images alone where its rows do not give the figure."""
    if claims_of(stored, metric):
        return images_interval(stored.record["metrics"][metric], stored.record["protocol"]["preset"])
    return shown_interval(stored, metric)


def spreads(run: Run, scale: Scale) -> list[Spread]:
    """Each metric over the seeds, on a line of this scale."""
    seeds = run.record.get("seeds") or []
    return [_spread(metric, run.stored, seeds, scale) for metric in run.metrics]


def _spread(metric: str, stored: Stored, seeds: Sequence[Any], scale: Scale) -> Spread:
    measured, shown = stored.record["metrics"][metric], _interval(metric, stored)
    mean, values = float(measured["value"]), [float(value) for value in measured["per_seed"]]
    named = [str(seed) for seed in seeds] if len(seeds) == len(values) else [""] * len(values)
    low, high = (scale(shown.low - mean), scale(shown.high - mean)) if shown else (0.0, 0.0)
    return Spread(
        metric_name(metric),
        mean,
        measured.get("std"),
        shown,
        images_shown(stored, metric) if shown and shown.covers == SAMPLES else None,
        tuple((seed, value, scale(value - mean)) for seed, value in zip(named, values, strict=True)),
        (low, round(high - low, 2)) if shown else None,
        claims_of(stored, metric),
    )


def class_figures(record: Record, *, own: bool = False) -> list[ClassFigure]:
    """Per-class IoU beside the published figures of the same classes, where there are any; alone with `own`."""
    published = {} if own else classes_of(record)
    measured = {str(name): number(value) for name, value in mapping(record.get("per_class")).items()}
    return [
        ClassFigure(name, value, published[name].value if name in published else None)
        for name, value in measured.items()
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


def confusion(stored: Stored) -> Confusion | None:
    """The confusion matrix in percent of each true class; None where the record has none of the expected shape."""
    names = mapping(stored.record.get("confusion")).get("classes")
    try:
        counts = _matrix(confusion_table(stored))
    except (BadInput, ValueError, TypeError):
        return None
    if not isinstance(names, list) or not names or counts is None or counts.shape[1] != len(names):
        return None
    if len(counts) not in (len(names), len(names) + 1):
        return None
    shares = 100 * counts / np.maximum(counts.sum(axis=0), 1e-12)
    classes = tuple(str(name) for name in names)
    predicted = (*classes, "unmatched")[: len(shares)]
    top = _largest(classes, predicted, shares)
    if len(classes) > MATRIX:
        return Confusion(classes, (), top)
    whole = np.rint(shares).astype(int).tolist()
    rows = tuple(
        (name, Markup("".join([_CELLS[percent] for percent in row])))
        for name, row in zip(predicted, whole, strict=True)
    )
    return Confusion(classes, rows, top)


def _matrix(value: Any) -> Counts | None:
    """A JSON value as a matrix of finite counts; None if it is none."""
    try:
        counts = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return np.maximum(counts, 0.0) if counts.ndim == 2 and np.isfinite(counts).all() else None


_CELLS = tuple(
    f'<td class="h{math.ceil(percent / 11.2)}">{percent}</td>' if percent else "<td></td>" for percent in range(101)
)
"""The cells of a confusion matrix. There are many matrices with many cells, but only these different ones."""


def _largest(classes: Sequence[str], predicted: Sequence[str], shares: Counts) -> tuple[tuple[str, str, float], ...]:
    """The largest confusions, in percent of the true class."""
    others = shares.copy()
    np.fill_diagonal(others, 0.0)
    order = np.argsort(-others, axis=None, kind="stable")[:CONFUSIONS]
    cells = [divmod(int(place), len(classes)) for place in order if others.flat[place] >= 0.5]
    return tuple((classes[true], predicted[taken], float(others[taken, true])) for taken, true in cells)


def recipe(record: Record) -> list[tuple[str, str]]:
    """The preset's entries."""
    return [(str(key), text(value)) for key, value in record["protocol"]["preset"].items()]


def facts(record: Record) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titled lists of what else there is to know: weights, data, cost, environment."""
    environment = dict(mapping(record.get("environment")))
    packages = mapping(environment.pop("packages", None))
    git = mapping(environment.pop("git", None))
    resizing = mapping(environment.pop("image_resizing", None))
    if git.get("commit"):
        environment["git commit"] = f"{git['commit']}{' (with changes)' if git.get('dirty') else ''}"
    model = {key: record["model"].get(key) for key in ("id", "weights_source", "weights_sha256")}
    dataset = {key: record["dataset"].get(key) for key in ("images", "sequences", "layout", "manifest")}
    protocol = {
        "fingerprint": record["protocol"]["fingerprint"],
        "labels read by its probe": probe_of(record),
        "solver gap": record.get("solver_gap"),
    }
    lists = [
        ("Weights", model),
        ("Network", network_of(record)),
        ("Data", dataset),
        ("Protocol", protocol | mapping(record.get("solver"))),
        ("Cost", mapping(record.get("cost"))),
        ("Environment", environment),
        ("Packages", packages),
        ("Image resizing", resizing),
        *((key.replace("_", " ").capitalize(), _entries(record[key])) for key in record if key not in _ELSEWHERE),
    ]
    return [
        (title, [(str(key).replace("_", " "), _fact(value)) for key, value in entries.items() if value is not None])
        for title, entries in lists
        if any(value is not None for value in entries.values())
    ]


def _entries(value: Any) -> dict[str, Any]:
    """The entries of a JSON object, or of one object per seed; none for anything else."""
    if isinstance(value, list) and len(value) == 1:
        return mapping(value[0])
    if isinstance(value, list):
        return {f"{number} {key}": entry for number, one in enumerate(value, 1) for key, entry in mapping(one).items()}
    return mapping(value)


_ELSEWHERE = (
    "model", "dataset", "protocol", "metrics", "per_class", "per_sequence", "confusion", "cluster_to_class",
    "published", "solver", "cost", "environment", "rows", "examples",
)  # fmt: skip
"""Parts of a record that are shown by name, or not at all."""


def _fact(value: Any) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else text(value)
    return shown if len(shown) <= LONGEST_FACT else f"{shown[:LONGEST_FACT]}…"


def warnings_of(record: Record) -> list[str]:
    """What the run warned of."""
    found = record.get("warnings")
    return [text(warning) for warning in found] if isinstance(found, list) else []
