"""Table faults: what a check of a table of published figures has to say of its lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bench.records.published import Published, entry_words
from bench.records.published_rows import percentage, read_rows, require_filled


@dataclass(frozen=True)
class Line:
    """A published figure and the line where it ends in its file, from 1."""

    figure: Published
    number: int


@dataclass(frozen=True)
class Fault:
    """A sentence about a column of a line. It begins with a small letter and has no full stop."""

    line: Line
    column: str
    what: str

    def place(self) -> tuple[int, str]:
        """Sort key."""
        return (self.line.number, self.column)

    def text(self, path: Path) -> str:
        """The sentence after file, line and column."""
        return f"{path}:{self.line.number}: {self.column}: {self.what}"


Faults = Iterator[Fault]


def grouped(lines: Sequence[Line], key: Callable[[Published], Hashable]) -> dict[Hashable, list[Line]]:
    """Lines by what `key` has for their figures, in their order."""
    found: dict[Hashable, list[Line]] = defaultdict(list)
    for line in lines:
        found[key(line.figure)].append(line)
    return found


def counted(figure: Published) -> tuple[str, ...]:
    """How a figure was counted: on what, by what protocol, with what entries and details."""
    return (figure.dataset, figure.split, figure.protocol, *entry_words(figure.entries), *figure.detail)


def named(figure: Published) -> tuple[str, ...]:
    """The model, as a source calls it."""
    return (figure.model, figure.backbone, figure.init, figure.prior)


@dataclass(frozen=True)
class Allowed:
    """One line of a table of what is odd and true."""

    column: str
    """Where the fault is found."""
    dataset: str
    split: str
    protocol: str
    metric: str
    model: str
    value: float
    reason: str


def but_for_allowed(path: Path, faults: Sequence[Fault]) -> list[str]:
    """The texts of faults of a table that the file of allowed ones beside it does not name; then of its own lines
    that no fault needs.

    Raises BadInput for a line of that file that gives no reason, or cannot be read.
    """
    beside = path.with_name(f"{path.stem}_allowed.csv")
    allowed = read_rows(beside, [one.name for one in fields(Allowed)], _allowed) if beside.is_file() else ()
    needed = {_allowed_by(fault) for fault in faults}
    told = [fault.text(path) for fault in faults if _allowed_by(fault) not in {_key(one) for one in allowed}]
    unused = [one for one in allowed if _key(one) not in needed]
    return told + [f"{beside}: {one.model} {one.value:g}: no such fault is found: delete the line" for one in unused]


def _allowed(row: dict[str, str], where: str) -> Allowed:
    require_filled(row, [one.name for one in fields(Allowed)], where)
    return Allowed(**row | {"value": percentage(row, where)})  # type: ignore[arg-type]


def _key(one: Allowed) -> tuple[object, ...]:
    return (one.column, one.dataset, one.split, one.protocol, one.metric, one.model, one.value)


def _allowed_by(fault: Fault) -> tuple[object, ...]:
    """What a line that allows a fault has."""
    of = fault.line.figure
    return (fault.column, of.dataset, of.split, of.protocol, of.metric, of.model, of.value)
