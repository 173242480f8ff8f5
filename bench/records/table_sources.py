"""Table sources: dates, sources, papers and names of a table that contradict each other, or say too little."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date

from bench.records.published import Published
from bench.records.table_faults import Fault, Faults, Line, grouped

YEARS = 1
"""A date that is further from the month of its paper's arXiv number is of something else."""
_ARXIV = re.compile(r"(\d{2})(0[1-9]|1[0-2])\.\d{4,5}")
_PLACE = re.compile(
    r"\b(tables?|fig(ures?|\.)|sections?|sec\.|appendix|pages?|p\.|abstract|equation|issues?|readme|archive|logs?)\b"
    r"|\.(md|out|txt|csv|json|html|log|py|yaml|yml)\b",
    re.IGNORECASE,
)
"""What says where in a source a figure stands."""
_QUOTING = re.compile(r"\b(secondary|quot\w+|reported by)\b", re.IGNORECASE)
"""What says that a source has the figure from somebody else."""
_NAMES: dict[str, Callable[[Published], str]] = {
    "dataset": lambda figure: figure.dataset,
    "protocol": lambda figure: figure.protocol,
    "metric": lambda figure: figure.metric,
    "model": lambda figure: figure.model,
    "backbone": lambda figure: figure.backbone,
    "init": lambda figure: figure.init,
    "prior": lambda figure: figure.prior,
    "supervision": lambda figure: figure.supervision,
}
"""Columns whose words filters list: each thing has one spelling."""


def sources(lines: Sequence[Line], today: date) -> Faults:
    """Dates that cannot be, sources without a place, papers with two numbers or titles, names with two spellings."""
    for line in lines:
        yield from _dates(line, today)
        yield from _source(line)
    yield from _papers(lines)
    yield from _spellings(lines)


def _dates(line: Line, today: date) -> Faults:
    figure = line.figure
    if figure.date and figure.date > today.isoformat()[: len(figure.date)]:
        yield Fault(line, "date", f"{figure.date} is in the future")
    if not figure.arxiv:
        return
    number = _ARXIV.fullmatch(figure.arxiv)
    if number is None:
        yield Fault(line, "arxiv", f"'{figure.arxiv}' is no number of arXiv, YYMM.NNNNN")
        return
    month = f"20{number[1]}-{number[2]}"
    if not figure.date:
        yield Fault(line, "date", f"it is empty, and arXiv {figure.arxiv} is of {month}")
    elif figure.date[:7] < month:
        yield Fault(line, "date", f"{figure.date} is before arXiv {figure.arxiv}, which is of {month}")
    elif _months(figure.date) - _months(month) > 12 * YEARS:
        yield Fault(line, "date", f"{figure.date} is more than a year after arXiv {figure.arxiv}, which is of {month}")


def _months(text: str) -> int:
    return 12 * int(text[:4]) + int(text[5:7])


def _source(line: Line) -> Faults:
    figure = line.figure
    if not _PLACE.search(figure.source):
        yield Fault(line, "source", f"'{figure.source}' does not say where the figure stands: name table, page or file")
    if _QUOTING.search(figure.source) and not figure.second_hand:
        yield Fault(line, "second_hand", "it is no, and the source says that it quotes")


def _papers(lines: Sequence[Line]) -> Faults:
    with_number = [line for line in lines if line.figure.arxiv]
    yield from _one_for_each(with_number, "paper", lambda figure: figure.arxiv, lambda figure: figure.paper)
    yield from _one_for_each(with_number, "date", lambda figure: figure.arxiv, lambda figure: figure.date)
    yield from _one_for_each(lines, "arxiv", lambda figure: figure.paper, lambda figure: figure.arxiv)


def _one_for_each(
    lines: Sequence[Line], column: str, of: Callable[[Published], str], one: Callable[[Published], str]
) -> Faults:
    """Where lines that agree in one thing differ in another; `column` is that of the latter."""
    for name, group in grouped(lines, of).items():
        for line in group:
            own, first = one(line.figure), one(group[0].figure)
            if own != first:
                text = f"{name} has '{own}' here and '{first}' in line {group[0].number}"
                yield Fault(line, column, text)
                break


def _spellings(lines: Sequence[Line]) -> Faults:
    """Names that differ in case, blanks and signs alone."""
    for column, name in _NAMES.items():
        known: dict[str, Line] = {}
        told: set[str] = set()
        for line in lines:
            own = name(line.figure)
            first = known.setdefault(_letters(own), line)
            if name(first.figure) != own and own not in told:
                told.add(own)
                yield Fault(line, column, f"'{own}' is spelt '{name(first.figure)}' in line {first.number}")


def _letters(name: str) -> str:
    """A name without case, blanks and signs; a plus is a letter, and so is a name of signs alone."""
    return re.sub(r"[^\w+]|_", "", name).casefold() or name
