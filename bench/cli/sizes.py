"""Sizes of files as text."""

from __future__ import annotations


def size(count: int) -> str:
    """A number of bytes as text, in powers of ten."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
