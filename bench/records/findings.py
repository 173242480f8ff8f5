"""Findings: what an audit has to say of a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["problem", "doubt", "note"]


@dataclass(frozen=True)
class Finding:
    """One sentence about a record. It begins with a small letter and has no full stop: a path stands before it."""

    kind: Kind
    """`problem`: its figures are not to be trusted, no command shows them. `doubt`: they are shown, but neither ranked
    nor held against a published figure. `note`: it is said, and something of the record's own is shown otherwise."""
    text: str


Findings = Iterator[Finding]


def problem(text: str) -> Finding:
    """A finding that no true record gives."""
    return Finding("problem", text)


def doubt(text: str) -> Finding:
    """A finding that a true record gives as well: of another version, with other cards, of unusual data."""
    return Finding("doubt", text)


def note(text: str) -> Finding:
    """A finding that costs the record nothing."""
    return Finding("note", text)
