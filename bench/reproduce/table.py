"""Table: a paper's tables as it prints them, its values beside ours and the outcomes, as text and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.base.escaping import markdown_cell, one_line
from bench.cards import catalogue
from bench.records.published import Published, entry_words, points
from bench.reproduce.answers import Answer, verdict
from bench.reproduce.papers import Paper
from bench.scoring.metric_names import metric_name

_NAME = 26
"""Columns of a model's name, at most."""
_HEAD = 14
"""Columns of a head, unless a word or a cell is wider."""
_GAP = 2


@dataclass
class Table:
    """One table: which source prints it, and of which data."""

    title: str
    columns: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    cells: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """Model and column → answer."""


def tables_of(paper: Paper, found: Sequence[Answer]) -> list[Table]:
    """The tables, in the order of published.csv: one for each source and split, a row a model, a column a protocol."""
    tables: dict[str, Table] = {}
    for answer in found:
        figure = answer.row.figure
        title = f"{_data(figure)} ({figure.source})"
        table = tables.setdefault(title, Table(title))
        column = _column(paper, figure)
        name = _free(table, _name(paper, figure), column)
        table.columns += [column] * (column not in table.columns)
        table.names += [name] * (name not in table.names)
        table.cells[name, column] = answer
    printed = list(paper.layout.columns.values())
    for table in tables.values():
        # sorting keeps the order of columns that the layout does not name
        table.columns.sort(key=lambda column: next((i for i, p in enumerate(printed) if column == p), len(printed)))
    return list(tables.values())


def _data(figure: Published) -> str:
    card = catalogue.datasets().get(figure.dataset)
    return f"{card.title if card else figure.dataset} {figure.split}"


def _name(paper: Paper, figure: Published) -> str:
    model = paper.layout.models.get(figure.model, figure.model)
    told = figure.backbone in ("", "-", "not stated") or figure.backbone in model
    return model if told else f"{model}, {figure.backbone}"


def _column(paper: Paper, figure: Published) -> str:
    """The protocol's name; a metric other than mIoU, and what the count sets, stand behind it."""
    metric = "" if figure.metric == "mIoU" else metric_name(figure.metric)
    entries = " ".join(entry_words(figure.entries))
    protocol = paper.layout.columns.get(figure.protocol, figure.protocol)
    return ", ".join(filter(None, (protocol, metric, entries, *figure.detail)))


def _free(table: Table, name: str, column: str) -> str:
    """A name whose cell is free: a model may stand in a table twice."""
    number, free = 1, name
    while (free, column) in table.cells:
        number += 1
        free = f"{name} ({number})"
    return free


class _Notes:
    """Reasons by number, each once."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}

    def mark(self, answer: Answer) -> str:
        """An outcome with the number of its reason."""
        reason = one_line(answer.reason)
        return f"{answer.status} [{self.lines.setdefault(reason, len(self.lines) + 1)}]" if reason else answer.status


def _cell(answer: Answer | None, notes: _Notes) -> tuple[str, str, str]:
    """The paper's value, ours, and the outcome."""
    if answer is None:
        return "", "", ""
    spread = "" if answer.std is None else f" ± {answer.std:.2f}"
    ours = "–" if answer.value is None else f"{answer.value:.2f}{spread}"
    return points(answer.row.figure.value), ours, notes.mark(answer)


LEGEND = "Each cell: the paper's value, ours (± the deviation over seeds), and the outcome."


def as_text(paper: Paper, found: Sequence[Answer], width: int) -> str:
    """The tables for a terminal of this width; columns that have no room stand in a further block."""
    notes, lines = _Notes(), textwrap.wrap(LEGEND, width)
    for table in tables_of(paper, found):
        lines += ["", *textwrap.wrap(one_line(table.title), width)]
        cells = {place: _cell(answer, notes) for place, answer in table.cells.items()}
        for block in _blocks(table, cells, width):
            lines += ["", *block]
    lines.append("")
    for text, number in notes.lines.items():
        head = f"[{number}] "
        indent = " " * len(head)
        lines += textwrap.wrap(text, width, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines)


def _blocks(table: Table, cells: dict[tuple[str, str], tuple[str, str, str]], width: int) -> list[list[str]]:
    """The lines of the table, cut into blocks of as many columns as fit."""
    names = {name: textwrap.wrap(one_line(name), _NAME) for name in table.names}
    first = max((len(line) for lines in names.values() for line in lines), default=0)
    sizes = {
        column: _size(column, [cell for (_, mine), cell in cells.items() if mine == column]) for column in table.columns
    }
    blocks: list[list[str]] = [[]]
    used = first
    for column in table.columns:
        if blocks[-1] and used + _GAP + sizes[column] > width:
            blocks.append([])
            used = first
        blocks[-1].append(column)
        used += _GAP + sizes[column]
    return [_block(block, names, first, sizes, cells) for block in blocks]


def _size(column: str, cells: Sequence[tuple[str, str, str]]) -> int:
    inside = max((len(part) for cell in cells for part in cell), default=0)
    return max(inside, *(len(line) for line in textwrap.wrap(one_line(column), max(_HEAD, inside))))


def _block(
    columns: Sequence[str],
    names: dict[str, list[str]],
    first: int,
    sizes: dict[str, int],
    cells: dict[tuple[str, str], tuple[str, str, str]],
) -> list[str]:
    heads = {column: textwrap.wrap(one_line(column), sizes[column]) for column in columns}
    height = max(map(len, heads.values()))
    lines = []
    for i in range(height):  # heads end on one line
        parts = [["", *heads[column]][max(0, i - height + len(heads[column]) + 1)] for column in columns]
        lines.append(_line("", first, zip(parts, map(sizes.__getitem__, columns), strict=True)))
    for name, shown in names.items():
        mine = [cells.get((name, column), ("", "", "")) for column in columns]
        if not any(map(any, mine)):
            continue
        lines.append("")
        for i in range(max(3, len(shown))):
            parts = [cell[i] if i < 3 else "" for cell in mine]
            left = shown[i] if i < len(shown) else ""
            lines.append(_line(left, first, zip(parts, map(sizes.__getitem__, columns), strict=True)))
    return lines


def _line(left: str, first: int, parts: zip[tuple[str, int]]) -> str:
    return (left.ljust(first) + "".join(" " * _GAP + part.rjust(size) for part, size in parts)).rstrip()


def as_markdown(paper: Paper, found: Sequence[Answer]) -> str:
    """The tables as a Markdown document."""
    notes = _Notes()
    source = f" ([arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))" if paper.arxiv else ""
    lines = [f"# {markdown_cell(paper.title)}{source}", "", LEGEND]
    for table in tables_of(paper, found):
        lines += ["", f"## {markdown_cell(table.title)}", ""]
        lines += [_markdown_row(["model", *table.columns]), "| --- |" + " ---: |" * len(table.columns)]
        for name in table.names:
            mine = [table.cells.get((name, column)) for column in table.columns]
            inside = ["<br>".join(map(markdown_cell, _cell(one, notes))) if one else "" for one in mine]
            lines.append(f"| {markdown_cell(name)} | {' | '.join(inside)} |")
    lines += ["", *(f"- \\[{number}\\] {markdown_cell(text)}" for text, number in notes.lines.items())]
    passed, line = verdict(found)
    return "\n".join([*lines, "", f"{'Reproduced' if passed else 'Not all reproduced'}: {line}.", ""])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_cell, cells))} |"
