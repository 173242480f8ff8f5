"""Own files: what the program keeps for itself and can make again. They are sealed when written, checked when read.

A seal tells which file it is in and, in JSON, what the content hashes to; arrays have a checksum each. So a file that a
power loss cut, filled with zeros or exchanged for its neighbour is not taken for a sound one. It is dropped, with a
line that says so, and made again. Files without a seal are of earlier versions: they are checked as far as they go.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.files import display, load_npz, read_regular, save_npz, write_with

if TYPE_CHECKING:
    import numpy.typing as npt

SEAL = "seal"
_LONGEST_TEXT = 64 << 20
"""Bytes of JSON that are read."""
_logger = logging.getLogger("bench")


def save_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write arrays (none called `seal`) to an .npz, atomically and sealed."""
    import numpy as np

    seal = _name(path) + _contents(arrays) + _values(arrays)
    save_npz(path, arrays | {SEAL: np.frombuffer(seal, np.uint8)})


def load_arrays(path: Path, only: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]] | None:
    """What `save_arrays` wrote, or `only` these of it; None where it is absent or was damaged, and then dropped."""
    if not os.path.lexists(path):
        return None
    arrays = load_npz(path, None if only is None else {*only, SEAL})
    seal = arrays.pop(SEAL, None) if arrays is not None else None
    if arrays is None or (seal is not None and not _holds(seal.tobytes(), path, arrays if only is None else None)):
        drop(path)
        return None
    return arrays


def _holds(seal: bytes, path: Path, arrays: dict[str, npt.NDArray[Any]] | None) -> bool:
    """Whether a seal is that of this file with these arrays; None where not all were read.

    Seals of earlier versions do not tell the arrays' values.
    """
    name = _name(path)
    if arrays is None:
        return seal.startswith(name)
    there = name + _contents(arrays)
    return seal == there or seal == there + _values(arrays)


def _contents(arrays: Collection[str]) -> bytes:
    return ",".join(sorted(arrays)).encode()


def _values(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A checksum of what the arrays hold, their types and shapes."""
    import numpy as np

    total = 0
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        total = zlib.crc32(f"{key} {array.dtype.str} {array.shape}".encode(), total)
        if array.size:
            total = zlib.crc32(array.reshape(-1).view(np.uint8).data, total)
    return f"|{total:08x}".encode()


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain JSON values (none called `seal`), atomically and sealed."""
    text = json.dumps(content | {SEAL: _digest(path, content)})
    write_with(path, lambda stream: stream.write(text.encode()))


def load_json(path: Path) -> dict[str, Any] | None:
    """What `save_json` wrote; None where it is absent or was damaged, and then dropped."""
    try:
        content = json.loads(read_regular(path, _LONGEST_TEXT).decode())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        seal = content.pop(SEAL, None)
        if seal is None or seal == _digest(path, content):
            return content
    drop(path)
    return None


def drop(path: Path) -> None:
    """Remove a file of ours that is damaged, and say so; the caller makes it again."""
    _logger.warning("%s is damaged: it is dropped and made again", display(path))
    with suppress(OSError):
        path.unlink()


def _name(path: Path) -> bytes:
    """What a file is, wherever the cache lies: its own name and its folder's."""
    return os.fsencode(f"{path.parent.name}/{path.name}") + b"\0"


def _digest(path: Path, content: dict[str, Any]) -> str:
    return hashlib.sha256(_name(path) + json.dumps(content, sort_keys=True).encode()).hexdigest()
