"""Text files: texts and settings as people's programs write them, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
    """A text file's content: UTF-8, or what its byte order mark says; a line ends in LF, whatever ended it.

    Windows' Notepad writes both kinds, with a mark. Raises OSError, and UnicodeDecodeError for what is no text.
    """
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content, read as `read_text` does.

    Raises OSError, and ValueError, which says why, for a file that is no TOML (its kinds are TOMLDecodeError and
    UnicodeDecodeError).
    """
    import tomllib

    try:
        return tomllib.loads(read_text(path))
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("its values are nested too deep") from error
