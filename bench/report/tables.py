"""Frames: records and published figures as pandas tables; what report and check read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cards.presets import PRESETS
from bench.records.published import Published, answers, compare
from bench.records.record import Record, Stored

RECORD_COLUMNS = [
    "dataset",
    "split",
    "protocol",
    "metric",
    "model",
    "title",
    "supervision",
    "value",
    "std",
    "low",
    "high",
    "seeds",
    "images",
    "limited",
    "modified",
    "solver",
    "fingerprint",
    "created",
    "path",
]


def interval_of(measured: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The ends of a metric's 95 % interval in a record; None twice where there is none, as of a single image."""
    low, high = measured.get("ci95") or (None, None)
    return low, high


def records_frame(stored: Sequence[Stored], results: Path) -> pd.DataFrame:
    """One line per record and metric. `low` and `high` bound the 95 % interval; `path` is below `results`."""
    lines = []
    for entry in stored:
        record = entry.record
        protocol = record["protocol"]
        for metric, measured in record["metrics"].items():
            low, high = interval_of(measured)
            lines.append(
                (
                    record["dataset"]["id"],
                    record["dataset"]["split"],
                    protocol["id"],
                    metric,
                    record["model"]["id"],
                    record["model"].get("title", record["model"]["id"]),
                    record["model"]["supervision"],
                    measured["value"],
                    measured.get("std"),
                    low,
                    high,
                    len(record.get("seeds", [])),
                    record["dataset"]["images"],
                    record["dataset"]["limited"],
                    protocol.get("modified", False),
                    protocol["preset"].get("solver"),
                    protocol["fingerprint"],
                    record.get("created"),
                    entry.path.relative_to(results).as_posix(),
                )
            )
    return pd.DataFrame(lines, columns=RECORD_COLUMNS)


def best_answer(figure: Published, stored: Sequence[Stored]) -> Stored | None:
    """The record that answers to a figure: a whole, unmodified run before others, then the newest."""
    candidates = [
        entry for entry in stored if answers(entry.record, figure) and figure.metric in entry.record["metrics"]
    ]
    return max(candidates, key=lambda entry: _standing(entry.record), default=None)


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
    low, high = interval_of(measured)
    entry = compare(answer.record, figure)
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


def _how_to_run(figure: Published) -> str:
    base = "clustering" if figure.protocol.startswith("overclustering-") else figure.protocol.removesuffix("+crf")
    return command(figure) if base in PRESETS else f"this version has no protocol {figure.protocol}"


def command(figure: Published) -> str:
    """The command that would produce a figure's record; of several models the last, which is the most finished."""
    protocol = figure.protocol
    extra = ""
    if protocol.endswith("+crf"):
        protocol, extra = protocol.removesuffix("+crf"), " --crf"
    if protocol.startswith("overclustering-"):
        protocol, extra = "clustering", f" --clusters {protocol.rsplit('-', 1)[1]}"
    return f"bench run --model {figure.card[-1]} --dataset {figure.dataset} --protocol {protocol}{extra}"
