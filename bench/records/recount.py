"""Recount: counts a record's figures from its rows again.

A record is a text that anybody can edit; its rows are the counts that it was computed from. Reports, checks and
comparisons use this first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.base.errors import BadInput
from bench.records.record import Record, Stored, check_rows, rows_path
from bench.scoring import rows

AGREE = 1e-6
"""Points by which a record's figure may differ from what its rows give: the order of a sum."""


def sound(stored: Sequence[Stored]) -> tuple[list[Stored], list[str]]:
    """The records whose rows give their figures, and a line for each of the others."""
    problems = {entry.path: problem_of(entry) for entry in stored}
    lines = [f"{path}: {problem}" for path, problem in problems.items() if problem]
    return [entry for entry in stored if not problems[entry.path]], lines


def problem_of(stored: Stored) -> str | None:
    """Why a record's figures are not to be trusted: no rows, damaged ones, or ones of other figures. None if sound."""
    if problem := check_rows(stored):
        return problem
    try:
        counted = per_seed(stored)
    except BadInput as error:
        return error.problem
    return disagreement(stored.record, counted)


def per_seed(stored: Stored) -> dict[str, list[float]]:
    """Metric → its value under each seed, for the metrics that rows give; none for a run without labels.

    Raises BadInput where the rows file is damaged.
    """
    return rows.read(rows_path(stored)).figures(stored.record["protocol"]["preset"])


def disagreement(record: Record, counted: Mapping[str, Sequence[float]]) -> str | None:
    """The first figure, or value of a seed, that a record has otherwise than its rows."""
    for name, values in counted.items():
        entry = record["metrics"].get(name)
        if entry is None:
            continue
        claimed = [entry["value"], *entry["per_seed"]]
        given = [float(np.mean(values)), *values]
        if len(claimed) != len(given):
            return f"it has {name} of {len(claimed) - 1} seeds, its rows of {len(given) - 1}"
        for one, other in zip(claimed, given, strict=True):
            if abs(one - other) > AGREE:
                return f"it says {name} {one:.4f}, its rows give {other:.4f}"
    return None
