"""Tables: records and published figures as pandas tables, for report and check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from bench.base.escaping import printable
from bench.protocols import registry
from bench.records.published import Published, answers, compare
from bench.records.record import Record, Stored
from bench.records.recount import SOLVER_GAP, interval_name


def interval_of(stored: Stored, metric: str) -> tuple[float | None, float | None]:
    """The ends of a metric's 95 % interval in a record; None twice where it has none, or merely claims one.

    Of a single image there is none, though earlier versions wrote one of width 0.
    """
    low, high = stored.record["metrics"][metric].get("ci95") or (None, None)
    shown = stored.record["dataset"]["images"] != 1 and interval_name(metric) not in stored.claimed
    return (low, high) if shown else (None, None)


def claims_of(stored: Stored, metric: str) -> str:
    """What of a metric no row gives: `value`, `interval`, or nothing."""
    if metric in stored.claimed:
        return "value"
    return "interval" if interval_name(metric) in stored.claimed else ""


def unvouched(metric: str) -> str:
    """Why a figure that is merely claimed is compared with nothing."""
    return f"claimed: the record's rows do not give {metric}"


_OF_RECORD: dict[str, Callable[[Record], Any]] = {
    "dataset": lambda record: record["dataset"]["id"],
    "split": lambda record: record["dataset"]["split"],
    "protocol": lambda record: record["protocol"]["id"],
    "model": lambda record: record["model"]["id"],
    "title": lambda record: record["model"].get("title", record["model"]["id"]),
    "supervision": lambda record: record["model"]["supervision"],
    "seeds": lambda record: len(record.get("seeds", [])),
    "images": lambda record: record["dataset"]["images"],
    "limited": lambda record: record["dataset"]["limited"],
    "modified": lambda record: record["protocol"].get("modified", False),
    "solver": lambda record: record["protocol"]["preset"].get("solver"),
    "fingerprint": lambda record: record["protocol"]["fingerprint"],
    "created": lambda record: record.get("created"),
}
"""Column → what a record has for it."""
RECORD_COLUMNS = [
    *("dataset", "split", "protocol", "metric", "model", "title", "supervision", "value", "std", "low", "high"),
    *("seeds", "images", "limited", "modified", "solver", "fingerprint", "created", "path", "claimed", "doubts"),
]
"""The order of the columns, which `bench report --format csv` prints."""


def records_frame(stored: Sequence[Stored], results: Path) -> pd.DataFrame:
    """One line per record and metric. `low` and `high` bound the 95 % interval; `path` is below `results`.

    `claimed` is what no row gives, as `claims_of` has it; `doubts` is why the record is not ranked.
    """
    lines = []
    for entry in stored:
        common = {name: read(entry.record) for name, read in _OF_RECORD.items()}
        common["path"] = printable(entry.path.relative_to(results).as_posix())
        for metric, measured in entry.record["metrics"].items():
            low, high = interval_of(entry, metric)
            own = {"metric": metric, "value": measured["value"], "std": measured.get("std"), "low": low, "high": high}
            own |= {"claimed": claims_of(entry, metric), "doubts": "; ".join(entry.doubts)}
            lines.append(common | own)
    return pd.DataFrame(lines, columns=RECORD_COLUMNS)


def best_answer(figure: Published, stored: Sequence[Stored]) -> Stored | None:
    """The record that answers to a figure: one whose rows give it and that nothing speaks against, then a whole,
    unmodified run, then the newest."""
    candidates = [
        entry for entry in stored if answers(entry.record, figure) and figure.metric in entry.record["metrics"]
    ]
    return max(
        candidates,
        key=lambda entry: (figure.metric not in entry.claimed, not entry.doubts, *_standing(entry.record)),
        default=None,
    )


def _standing(record: Record) -> tuple[bool, bool, bool, str]:
    protocol = record["protocol"]
    return (
        not record["dataset"]["limited"],
        bool(protocol.get("published_recipe")),
        not protocol.get("modified", True),
        str(record.get("created", "")),
    )


def joined(figures: Sequence[Published], stored: Sequence[Stored]) -> pd.DataFrame:
    """Every published figure with what our records say of it.

    The columns of results/published.csv and: `measured`, `low`, `high`, `difference`, `tolerance` (points, missing
    where not run), `status` and `reason`, and `record` (the `Stored` or None).
    """
    lines = [asdict(figure) | _outcome(figure, best_answer(figure, stored)) for figure in figures]
    return pd.DataFrame(lines)


def _outcome(figure: Published, answer: Stored | None) -> dict[str, object]:
    empty = {"measured": None, "low": None, "high": None, "difference": None, "tolerance": None, "record": answer}
    if answer is None:
        if not figure.comparable:
            return empty | {"status": "not comparable", "reason": figure.note}
        reason = _how_to_run(figure) if figure.card else figure.note or "no checkpoint is known"
        return empty | {"status": "not run", "reason": reason}
    measured = answer.record["metrics"][figure.metric]
    low, high = interval_of(answer, figure.metric)
    entry = _compared(answer, figure)
    return {
        "measured": measured["value"],
        "low": low,
        "high": high,
        "difference": entry["difference"],
        "tolerance": entry["tolerance"],
        "status": entry["status"],
        "reason": entry.get("reason", ""),
        "record": answer,
    }


def _compared(answer: Stored, figure: Published) -> dict[str, Any]:
    """As `compare`, but nothing that a record merely claims makes a figure pass, or fail."""
    entry = compare(answer.record, figure)
    refused = entry | {"tolerance": None, "status": "not comparable"}
    if entry["status"] == "not comparable":
        return entry
    if answer.doubts:
        return refused | {"reason": answer.doubts[0]}
    if not answer.claimed & {figure.metric, SOLVER_GAP}:
        return entry
    if figure.metric in answer.claimed:
        return refused | {"reason": unvouched(figure.metric)}
    counted = compare(answer.record | {SOLVER_GAP: 0.0}, figure)
    if counted["status"] == entry["status"]:
        return counted
    gap = f"{answer.record[SOLVER_GAP]:.2f} points between solvers"
    return refused | {"reason": f"only {gap}, which no row gives, would bring it within the tolerance: run it again"}


def _how_to_run(figure: Published) -> str:
    known = registry.parsed(figure.protocol) is not None
    return command(figure) if known else f"this version has no protocol {figure.protocol}"


def command(figure: Published) -> str:
    """The command that would produce a figure's record; of several models the last, which is the most finished."""
    protocol = registry.command_words(figure.protocol) or ["--protocol", figure.protocol]
    return f"bench run --model {figure.card[-1]} --dataset {figure.dataset} {' '.join(protocol)}"
