"""Published rows: the lines of a CSV of published figures, each judged by itself, and all their faults told at once."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.base.errors import BadInput
from bench.base.escaping import printable
from bench.base.files import read_regular, said

Entry = TypeVar("Entry")

LARGEST_TABLE = 1 << 24
"""Bytes of a table of published figures, at most."""
MOST_TOLD = 50
"""Faults of lines that are told of at once, at most."""


class BadLines(BadInput):
    """Several faults of lines; `str()` has a line for each. `problem` and `remedy` are those of the first."""

    def __init__(self, errors: Sequence[BadInput]) -> None:
        super().__init__(errors[0].problem, errors[0].remedy)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        told = [f"{printable(one.problem)}. {printable(one.remedy)}" for one in self.errors[:MOST_TOLD]]
        if len(self.errors) > len(told):
            told.append(f"and {len(self.errors) - len(told)} more faults of lines")
        return "\n".join(told)


def raise_any(errors: Sequence[BadInput]) -> None:
    """Raise what there is, as one error."""
    found = [one for error in errors for one in (error.errors if isinstance(error, BadLines) else (error,))]
    if found:
        raise found[0] if len(found) == 1 else BadLines(found)


def read_rows(path: Path, names: Sequence[str], entry: Callable[[dict[str, str], str], Entry]) -> tuple[Entry, ...]:
    """The rows of a CSV of exactly these columns, each through `entry`, which is told file and line as well.

    Raises BadInput for a file that cannot be read, for rows of another length and for those that `entry` raises it for.
    """
    found: list[Entry] = []
    wrong: list[BadInput] = []
    try:
        text = read_regular(path, LARGEST_TABLE).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if reader.fieldnames != list(names):
            shown = str(reader.fieldnames)[:200]
            raise BadInput(f"{path}: the columns are {shown}", f"The columns must be {names}.")
        for row in reader:
            where = f"{path}:{reader.line_num}"
            try:
                found.append(entry(_whole(row, where), where))
            except BadInput as error:
                wrong.append(error)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read: {said(error)}", "Restore it from the repository.") from error
    raise_any(wrong)
    return tuple(found)


def _whole(row: dict[str, str], where: str) -> dict[str, str]:
    if None in row or None in row.values():
        raise BadInput(f"{where}: wrong number of columns", "Quote a cell that holds a comma.")
    return row


def require_filled(row: dict[str, str], columns: Sequence[str], where: str) -> None:
    """Raises BadInput for empty columns."""
    raise_any([BadInput(f"{where}: {one} is empty", "Fill it in.") for one in columns if not row[one].strip()])


def percentage(row: dict[str, str], where: str) -> float:
    """The column `value`. Raises BadInput unless it is a number from 0 to 100."""
    try:
        value = float(row["value"])
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise BadInput(f"{where}: value is '{row['value']}', not a number from 0 to 100", "Give a percentage.")
    return value
