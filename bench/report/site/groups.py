"""Groups: the rows of a page under headings, and the reasons that several of them share, said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.report.site.ranking import Ranked


@dataclass(frozen=True)
class Group:
    """Rows that are ranked against each other, or stand for context."""

    entries: tuple[str, ...]
    """What all of them set of the preset."""
    context: bool
    rows: tuple[Ranked, ...]

    @property
    def main(self) -> bool:
        """Whether they are counted under the preset itself."""
        return not self.context and not self.entries


def groups(rows: Sequence[Ranked]) -> list[Group]:
    """Ranked rows in groups, in their order."""

    def key(row: Ranked) -> tuple[tuple[str, ...], bool]:
        return (() if row.entry.context else row.entry.entries, bool(row.entry.context))

    return [Group(entries, context, tuple(found)) for (entries, context), found in groupby(rows, key)]


def reasons(rows: Sequence[Ranked]) -> dict[str, int]:
    """What published figures that are not comparable differ by → its number on the page, from 1, as the rows have it.

    Many rows share a reason, so a page says each once.
    """
    found = dict.fromkeys(row.entry.context for row in rows if row.entry.context and row.entry.published)
    return {reason: number for number, reason in enumerate(found, start=1)}
