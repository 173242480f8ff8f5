"""Fold: a table that is wider than a terminal, in lines that are broken between words only."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

GAP = 2
"""Blanks between columns."""
_ROOM = 18
"""Columns, at least, of a cell that is broken between words, if it has so many."""
_INDENT = 4
"""Blanks before the further lines of a row."""
Row = Sequence[str]


def folded(rows: Sequence[Row], width: int) -> Iterator[str]:
    """The lines of a table at most `width` wide. A single word that is wider stays whole, and sticks out.

    Columns that have room for it are broken between words. Where that is not enough, each row takes several lines, with
    as many of its columns in each as fit: the first row, which has the heads, too.
    """
    widest = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    least = [min(widest[i], max(_ROOM, _longest_word(row[i] for row in rows))) for i in range(len(widest))]
    groups = _groups(least, width)
    widths = [_shared(widest[start:end], least[start:end], width - _INDENT * (n > 0)) for n, (start, end) in groups]
    for row in rows:
        for (number, (start, end)), own in zip(groups, widths, strict=True):
            indent = " " * _INDENT * (number > 0)
            yield from (f"{indent}{line}" if line else "" for line in _lines(row[start:end], own))


def _longest_word(cells: Iterator[str]) -> int:
    return max((len(word) for cell in cells for word in cell.split()), default=0)


def _groups(least: Sequence[int], width: int) -> list[tuple[int, tuple[int, int]]]:
    """The columns of each line of a row: from, to."""
    starts, left = [0], width + GAP
    for place, need in enumerate(least):
        if left < need + GAP and place > starts[-1]:
            starts.append(place)
            left = width - _INDENT + GAP
        left -= need + GAP
    return list(enumerate(zip(starts, [*starts[1:], len(least)], strict=True)))


def _shared(widest: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """The columns' widths: the widest give way first, none beyond its least."""
    cap = min(max(widest, default=0), max(width, 0))
    while True:
        own = [min(wide, max(need, cap)) for wide, need in zip(widest, least, strict=True)]
        if sum(own) + GAP * (len(own) - 1) <= width or cap == 0:
            return own
        cap -= 1


def _lines(row: Row, widths: Sequence[int]) -> Iterator[str]:
    """A row's lines; a cell that fits stays as it is, for its spaces may align it."""
    cells = [
        [cell]
        if len(cell) <= width
        else textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]
        for cell, width in zip(row, widths, strict=True)
    ]
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = (part.ljust(width + GAP) for part, width in zip(parts[:-1], widths, strict=False))
        yield f"{''.join(padded)}{parts[-1]}".rstrip()
