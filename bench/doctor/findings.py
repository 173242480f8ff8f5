"""Findings: problems and notes, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that a user should know."""

    what: str
    remedy: str
