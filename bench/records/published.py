"""Published figures: which of them a record should reproduce, and whether it does."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.base.errors import BadInput
from bench.base.folders import folder
from bench.cards.presets import read_value
from bench.records.model_said import protocol_preset
from bench.records.own_preset import differs_from, published_preset
from bench.records.published_rows import percentage, raise_any, read_rows, require_filled
from bench.records.record import Record, other_precision, shortfall
from bench.scoring.tolerance import Tolerance, of_one_spread

if TYPE_CHECKING:
    from bench.records.published_classes import PublishedClass

Status = Literal["reproduced", "below", "above", "not run", "not comparable"]

ROUNDING = 0.05
"""Published figures have one decimal: the true value lies within half a unit of it."""
PAPER_SEEDS = 5
"""The published clustering figures are themselves means over this many seeds; a spread needs as many of ours."""
PAPER_TRAININGS = 1
"""The published linear figures are of one training."""


@dataclass(frozen=True)
class Published:
    """One line of results/published.csv."""

    dataset: str
    split: str
    protocol: str
    metric: str
    value: float
    card: tuple[str, ...]
    """Ids of the model cards that answer to this figure; none where no checkpoint is known."""
    comparable: bool
    note: str
    model: str
    backbone: str
    init: str
    prior: str
    supervision: str
    paper: str
    arxiv: str
    date: str
    seed_table: bool
    """Whether it stands in the table that this project set out to reproduce."""
    source: str
    entries: Mapping[str, Any] = field(default_factory=dict)
    """What the figure's count sets of the protocol's preset, beyond the protocol's name."""
    detail: tuple[str, ...] = ()
    """How the source counted, in short phrases."""
    second_hand: bool = False
    """Whether it was read in somebody's quotation."""


def load(path: Path) -> tuple[Published, ...]:
    """Read and validate a CSV of published figures. Raises BadInput naming file, line and column."""
    return read_rows(path, [one.name for one in fields(Published)], figure_of)


def figure_of(row: dict[str, Any], where: str) -> Published:
    """A figure from its row. Raises BadInput naming line and columns; `where` is file and line."""
    raise_any(list(_faults(row, where)))
    return Published(
        **row
        | {
            "value": percentage(row, where),
            "card": tuple(row["card"].split()),
            "comparable": row["comparable"] == "yes",
            "seed_table": row["seed_table"] == "yes",
            "entries": _entries(row["entries"], where),
            "detail": tuple(filter(None, (phrase.strip() for phrase in row["detail"].split(";")))),
            "second_hand": row["second_hand"] == "yes",
        }
    )


def _faults(row: dict[str, str], where: str) -> Iterator[BadInput]:
    """What is wrong with a row by itself."""
    for column in ("comparable", "seed_table", "second_hand"):
        if row[column] not in ("yes", "no"):
            yield BadInput(f"{where}: {column} is '{row[column]}', not yes or no", "Write one of the two.")
    if row["comparable"] == "no" and not row["note"]:
        yield BadInput(f"{where}: note is empty, but the figure is not comparable", "Give the reason in the note.")
    if row["date"] and not _is_date(row["date"]):
        yield BadInput(f"{where}: date is '{row['date']}', not YYYY-MM or YYYY-MM-DD", "Correct it, or leave it empty.")
    filled = ("dataset", "split", "protocol", "metric", "model", "supervision", "source")
    reading = (lambda: require_filled(row, filled, where), lambda: percentage(row, where))
    for read in (*reading, lambda: _entries(row["entries"], where)):
        try:
            read()
        except BadInput as error:
            yield error


def _entries(text: str, where: str) -> dict[str, Any]:
    """The column `entries`: words `key=value` as `bench run --set` takes them."""
    found: dict[str, Any] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise BadInput(f"{where}: entries has '{word}', not key=value", "Write it as `bench run --set` takes it.")
        found[key] = read_value(value)
    return found


def entry_words(entries: Mapping[str, Any]) -> tuple[str, ...]:
    """Entries as `bench run --set` takes them, each without a blank, in the order of their names: `memory=1024000`."""
    return tuple(
        f"{key}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"
        for key, value in sorted(entries.items())
    )


def points(value: float) -> str:
    """A published value with the decimals that it was published with, one at least."""
    return np.format_float_positional(value, trim="0")


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d{2}(-\d{2})?", text):
        return False
    try:
        date.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError:
        return False
    return True


@cache
def figures() -> tuple[Published, ...]:
    """The catalogue's published figures."""
    return load(folder("results") / "published.csv")


def answers(record: Record, figure: Published | PublishedClass) -> bool:
    """Whether a record is of the figure's data set, split and protocol, of a model that answers to it, and has the
    figure's entries."""
    dataset = record["dataset"]
    own = (dataset["id"], dataset["split"], record["protocol"]["id"])
    if own != (figure.dataset, figure.split, figure.protocol) or record["model"]["id"] not in figure.card:
        return False
    return _has_entries(record, figure, figure.entries if isinstance(figure, Published) else {})


def _has_entries(record: Record, figure: Published | PublishedClass, entries: Mapping[str, Any]) -> bool:
    """Whether a record has the values of a figure's preset for all entries that tell its fellows apart.

    A run that differs in others still answers to it, as a modified one.
    """
    deciding = _deciding(figure.dataset, figure.split, figure.protocol) | entries.keys()
    own = published_preset(figure.dataset, figure.protocol, entries) if deciding else None
    if own is None:
        return not entries
    wanted, has = own.resolved(), protocol_preset(record)
    return all(has.get(key) == wanted.get(key) for key in deciding)


@cache
def _deciding(dataset: str, split: str, protocol: str) -> frozenset[str]:
    """The keys of all entries that published figures of these have beyond the preset, if a card answers to them."""
    asked = (dataset, split, protocol)
    fellows = (figure for figure in figures() if (figure.dataset, figure.split, figure.protocol) == asked)
    return frozenset(key for figure in fellows if figure.card for key in figure.entries)


def answers_to(record: Record) -> dict[str, Published]:
    """Metric → the published figure that a record answers to; of several a comparable one."""
    found: dict[str, Published] = {}
    for figure in figures():
        known = found.get(figure.metric)
        if answers(record, figure) and (figure.comparable or not (known and known.comparable)):
            found[figure.metric] = figure
    return found


@dataclass(frozen=True)
class Expected:
    """What a run lets one expect of a published figure, and how far off that may be."""

    value: float
    """Percent."""
    tolerance: Tolerance
    authors: int = 0
    """Seeds of the authors' own solver that it was measured over; 0 where it is the run's own figure."""


def expected(record: Record, metric: str, paper_seeds: int) -> Expected:
    """What the authors' own run should have come to, had it been made of what this run observed.

    Where the authors' solver was measured on the same observations, its mean over those seeds, with a tolerance of its
    own spread: how far our solver is from theirs then matters no more. Else the run's figure, with the spread of its
    seeds; without a spread, where nothing is drawn at random, only rounding is admitted. The paper's figure is a mean
    over `paper_seeds`.
    """
    measured, authors = record["metrics"][metric], record.get("authors")
    per_seed = measured["per_seed"]
    if authors and metric in authors["metrics"]:
        theirs, seeds = authors["metrics"][metric], authors["seeds"]
        drawn = of_one_spread(theirs["std"], seeds, paper_seeds, seeds - 1, ROUNDING)
        return Expected(theirs["value"], drawn, seeds)
    if len(per_seed) < 2:
        return Expected(measured["value"], Tolerance(0.0, math.inf, ROUNDING))
    spread = float(np.std(per_seed, ddof=1))
    return Expected(measured["value"], of_one_spread(spread, len(per_seed), paper_seeds, len(per_seed) - 1, ROUNDING))


def authors_entry(per_seed: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """What a record says of the authors' solver: metric → mean and standard deviation (n − 1) over its seeds."""
    metrics = {
        name: {"value": float(np.mean(values)), "std": float(np.std(values, ddof=1))}
        for name, values in per_seed.items()
    }
    return {"solver": "minibatch", "seeds": len(next(iter(per_seed.values()))), "metrics": metrics}


def incomparable(record: Record, figure: Published) -> str | None:
    """Why a record cannot be held against a figure; None if it can."""
    if not figure.comparable:
        return figure.note
    if lacking := shortfall(record):
        return lacking
    if modified := _modified(record, figure):
        return modified
    if other := other_precision(record):
        return other
    if not record["protocol"].get("deterministic") and len(record.get("seeds", [])) < PAPER_SEEDS:
        count = len(record.get("seeds", []))
        return f"run with {count} seed{'' if count == 1 else 's'}; a spread needs --num-seeds {PAPER_SEEDS}"
    return _lacking_solver(record) or None


def _lacking_solver(record: Record) -> str:
    """What a record does not say of the authors' solver, which a comparison needs; empty where it lacks nothing."""
    if record.get("solver_gap") is None:
        return "the distance to the authors' solver was not measured"
    if record["protocol"]["preset"].get("solver", "minibatch") != "minibatch" and not record.get("authors"):
        return "it does not say what the authors' solver gives over many seeds: run it again with this version"
    return ""


def _modified(record: Record, figure: Published) -> str:
    """How a record's preset is another one than the figure's; empty where it is the same."""
    if "judges" in record["dataset"]:
        return "only some of the images have labels"
    if not figure.entries:
        return "" if record["protocol"].get("published_recipe", False) else "the preset was modified"
    differs = differs_from(record, figure.protocol, figure.entries)
    return f"the preset is not the figure's: {differs}" if differs else ""


def is_held(record: Record) -> bool:
    """Whether a record is of the whole data, and a comparable figure was counted by its preset, of whatever seeds."""
    held = (figure.comparable and not _modified(record, figure) for figure in answers_to(record).values())
    return not record["dataset"]["limited"] and any(held)


def is_outdated(record: Record) -> bool:
    """Whether a record of an earlier version lacks what it needs to be held against its figure."""
    return is_held(record) and bool(_lacking_solver(record))


def compare(record: Record, figure: Published) -> dict[str, Any]:
    """The entry `published.<metric>` of a record: value, difference, tolerance, status and reason.

    `difference` is of what was measured; `expected` is what is held against the published value.
    """
    measured = record["metrics"][figure.metric]
    entry: dict[str, Any] = {
        "value": figure.value,
        "difference": measured["value"] - figure.value,
        "tolerance": None,
        "source": figure.source,
    }
    reason = incomparable(record, figure)
    if reason:
        return entry | {"status": "not comparable", "reason": reason}
    found = expectation(record, figure)
    allowed = found.tolerance.points
    theirs = {"expected": found.value, "authors_seeds": found.authors} if found.authors else {}
    return entry | {"tolerance": allowed, **theirs, "status": verdict(found.value - figure.value, allowed)}


def expectation(record: Record, figure: Published) -> Expected:
    """`expected` of the metric of a published figure."""
    trained = figure.protocol.startswith("linear")
    return expected(record, figure.metric, PAPER_TRAININGS if trained else PAPER_SEEDS)


def verdict(difference: float, allowed: float) -> Status:
    """What becomes of a figure that is off by `difference` points where `allowed` are."""
    if abs(difference) <= allowed:
        return "reproduced"
    return "below" if difference < 0 else "above"
