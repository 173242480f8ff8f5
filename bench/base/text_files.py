"""Text files: texts as people's programs write them, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from bench.base.files import read_regular

LARGEST = 2**28
"""Bytes of a text: a list of some million ids."""


def read_text(path: Path, most: int = LARGEST) -> str:
    """A text file's content: UTF-8, or what its byte order mark says; a line ends in LF, whatever ended it.

    Windows' Notepad writes both kinds, with a mark. Raises OSError, also for what is no ordinary file and for more than
    `most` bytes, and UnicodeDecodeError for what is no text.
    """
    return decode(read_regular(path, most))


def decode(data: bytes) -> str:
    """The text in a file's bytes, as `read_text` gives it. Raises UnicodeDecodeError for what is no text."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
