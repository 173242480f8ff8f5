"""Answers: what became of each row of a paper's table, and of all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.audit import audit
from bench.records.published import expectation
from bench.records.record import Record, Stored
from bench.report.check import COMPARED
from bench.report.tables import joined
from bench.reproduce.plan import Job, Row
from bench.reproduce.work import Done

FAILED = "failed"
DAMAGED = "damaged"
ORDER = (FAILED, DAMAGED, "below", "above", "reproduced", "not comparable", "not run")
"""How outcomes are counted: what needs eyes first."""


@dataclass(frozen=True)
class Answer:
    """A published figure beside ours."""

    row: Row
    status: str
    """One of `ORDER`."""
    reason: str
    """Why it is not compared, or by how much it is off; empty where it is reproduced."""
    value: float | None = None
    std: float | None = None
    """Over the seeds; None where nothing is drawn at random."""
    tolerance: float | None = None
    record: str | None = None
    error: Exception | None = None

    @property
    def fails(self) -> bool:
        """Whether a figure that can be reproduced was not."""
        return self.row.job is not None and self.row.figure.comparable and self.status != "reproduced"

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        figure = self.row.figure
        keys = ("dataset", "split", "protocol", "metric", "model", "backbone", "source")
        about = {"row": self.row.number, **{key: getattr(figure, key) for key in keys}}
        about |= {"card": self.row.job.model if self.row.job else None, "published": figure.value}
        ours = {"measured": self.value, "std": self.std, "tolerance": self.tolerance, "record": self.record}
        return about | ours | {"status": self.status, "reason": self.reason, "fails": self.fails}


def answers(
    rows: Sequence[Row], done: Mapping[Job, Done], say: Callable[[Exception], str], shown: Callable[[Stored], str]
) -> list[Answer]:
    """An answer to each row. `say` puts an error into one line, `shown` a record's path."""
    stored = {job: one.stored for job, one in done.items() if one.stored is not None}
    audited = dict(zip(stored, audit(list(stored.values())), strict=True))
    found = []
    for row in rows:
        one = done.get(row.job) if row.job else None
        if row.job is None or one is None:
            found.append(Answer(row, "not run", row.reason))
        elif one.error is not None:
            found.append(Answer(row, FAILED, say(one.error), error=one.error))
        elif problem := audited[row.job].problem:
            found.append(Answer(row, DAMAGED, problem, record=shown(audited[row.job].stored)))
        else:
            found.append(_answer(row, audited[row.job].stored, shown))
    return found


def _answer(row: Row, stored: Stored, shown: Callable[[Stored], str]) -> Answer:
    figure, path = row.figure, shown(stored)
    measured = stored.record["metrics"].get(figure.metric)
    if measured is None:
        return Answer(row, FAILED, f"the record has no {figure.metric}", record=path)
    value, std = measured["value"], measured.get("std")
    held = joined([figure], [stored]).iloc[0]
    if held["record"] is None:
        told = f"the record is of {stored.record['protocol']['id']}, not of {figure.protocol}"
        return Answer(row, "not comparable", told, value, std, record=path)
    status = str(held["status"])
    reason = str(held["reason"])
    tolerance = float(held["tolerance"]) if status in COMPARED else None
    if status in ("below", "above"):
        reason = _apart(stored.record, row, tolerance)
    return Answer(row, status, reason, value, std, tolerance, path)


def _apart(record: Record, row: Row, tolerance: float | None) -> str:
    found = expectation(record, row.figure)
    theirs = f"the authors' solver gives {found.value:.2f} over {found.authors} seeds: " if found.authors else ""
    return f"{theirs}difference {found.value - row.figure.value:+.2f}, tolerance {tolerance:.2f}"


def verdict(found: Sequence[Answer]) -> tuple[bool, str]:
    """(whether every comparable figure that has a job is reproduced, one line). Nothing compared is no success."""
    counts = Counter(answer.status for answer in found)
    line = ", ".join(f"{counts[status]} {status}" for status in ORDER if counts[status])
    if not any(answer.status in COMPARED for answer in found):
        return False, f"nothing was compared ({line})"
    return not any(answer.fails for answer in found), line
