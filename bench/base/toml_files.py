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
    too deeply, with a NUL character, which no path and no name can have, or with a number beyond 64 bits.
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
    except ValueError as error:
        if "int_max_str_digits" in str(error):  # Python's advice is for programmers
            raise ValueError("it has a number beyond 64 bits") from error
        raise
    _require_plain(content)
    return content


def _require_plain(content: dict[str, Any]) -> None:
    """Raises ValueError that names the key at the top at or below which a text has a NUL character, or a number is not
    of 64 bits, as TOML has it: Python takes longer ones, and cannot print the longest.
    """
    waiting: list[tuple[str, Any]] = list(content.items())
    while waiting:
        top, value = waiting.pop()
        if (isinstance(value, str) and "\0" in value) or "\0" in top:
            raise ValueError(f"{top} has a NUL character")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"{top} has a number beyond 64 bits")
        if isinstance(value, dict):
            waiting += [(top, part) for part in (*value, *value.values())]
        elif isinstance(value, list):
            waiting += [(top, part) for part in value]
