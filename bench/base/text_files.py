"""Text files: texts and settings as people's programs write them, with or without a byte order mark."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

from bench.base.files import read_regular

LARGEST = 2**28
"""Bytes of a text: a list of some million ids."""
LARGEST_TOML = 4 * 2**20
"""Bytes of a card or of settings: far above a card with thousands of classes."""


def read_text(path: Path, most: int = LARGEST) -> str:
    """A text file's content: UTF-8, or what its byte order mark says; a line ends in LF, whatever ended it.

    Windows' Notepad writes both kinds, with a mark. Raises OSError, also for what is no ordinary file and for more than
    `most` bytes, and UnicodeDecodeError for what is no text.
    """
    data = read_regular(path, most)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content, read as `read_text` does.

    Raises OSError where it cannot be read, ValueError saying why it is no TOML file: a wrong line, no text, nested too
    deeply, or with a NUL character, which no path and no name can have.
    """
    try:
        content = tomllib.loads(read_text(path, LARGEST_TOML))
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
