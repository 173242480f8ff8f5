"""TOML files: cards and settings, read with a bound on their size and depth."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from bench.base.files import open_regular
from bench.base.text_files import decode

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DOT = r"[ \t]*+\.[ \t]*+"
_KEYS = re.compile(rf"(?P<long>{_PART}(?:{_DOT}{_PART}){{20}})|{_PART}(?:{_DOT}{_PART})*+")
"""Dotted keys, and what looks like them. A `long` one has over twenty parts, `a.a.a…`: the time that tomllib takes
grows with their square."""
LARGEST = 2**20
"""Bytes: far above a card with thousands of classes."""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content: UTF-8, or what its byte order mark says.

    Raises OSError where it cannot be read, ValueError saying why it is no TOML file: a wrong line, too large, nested
    too deeply, or with a NUL character, which no path and no name can have.
    """
    with open_regular(path) as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST // 2**20} MiB")
    text = decode(data)
    if any(found["long"] for found in _KEYS.finditer(text)):
        raise ValueError("it is nested too deeply")
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if key := _with_nul(content):
        raise ValueError(f"{key} has a NUL character")
    return content


def _with_nul(content: dict[str, Any]) -> str | None:
    """The key at or below which a text has a NUL character, by its place at the top; None where none has."""
    waiting: list[tuple[str, Any]] = list(content.items())
    while waiting:
        top, value = waiting.pop()
        if (isinstance(value, str) and "\0" in value) or "\0" in top:
            return top
        if isinstance(value, dict):
            waiting += [(top, part) for part in (*value, *value.values())]
        elif isinstance(value, list):
            waiting += [(top, part) for part in value]
    return None
