"""The members of archives from unknown sources: what they are called, what they are, and how much there may be."""

from __future__ import annotations

import gzip
import lzma
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

CHUNK = 1 << 20
DEPTH = 64
"""Folders within each other, at most."""
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile, ValueError,
    NotImplementedError, RuntimeError, OverflowError, LookupError, struct.error,
)  # fmt: skip
"""What the readers raise on damaged bytes."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
"""Compressions of a .zip that are read: they need little memory, whatever the archive says."""


class Hostile(Exception):
    """Why an archive is refused."""


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to. The largest data set of the field, ImageNet, has 1.3 million files, 150 GB."""

    members: int = 4_000_000
    bytes: int = 400 * 10**9
    ratio: float = 50.0
    """Bytes out per byte of the archive; photographs and label PNGs stay under 2."""
    small: int = 64 * 2**20
    """The ratio does not matter below this many bytes."""

    def of(self, archive: Path) -> int:
        """The most bytes that this archive may unpack to."""
        return int(min(self.bytes, max(self.small, self.ratio * archive.stat().st_size)))


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    kind: str
    """`file`, `folder`, or what else it is, in words."""
    open: Callable[[], IO[bytes]]
    position: int
    """Bytes of the archive that lie before it."""


def safe_path(name: str) -> PurePosixPath:
    """The member's path below the target. Raises Hostile for one that any system would take elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise Hostile(f"'{name}' is an absolute path, or one of another system")
    if ".." in path.parts:
        raise Hostile(f"'{name}' leads out of the folder")
    if not name.isprintable() and any(unicodedata.category(letter) == "Cc" for letter in name):
        raise Hostile(f"{name!r} has control characters in its name")
    return path


def require_place(path: PurePosixPath, kind: str) -> None:
    """Raises Hostile for a file without a name, or a path through more folders than any data set has."""
    if kind == "file" and not path.parts:
        raise Hostile("it has a file without a name")
    if len(path.parts) > DEPTH:
        raise Hostile(f"'{str(path)[:60]}…' has more than {DEPTH} folders within each other")


def zip_members(opened: zipfile.ZipFile, size: int) -> Iterator[Member]:
    """The members of an opened .zip of `size` bytes. Raises Hostile where they overlap."""
    position = 0
    for entry in opened.infolist():
        # members that share their bytes are how a small file becomes petabytes
        position += entry.compress_size
        if position > size:
            raise Hostile("its members overlap")
        mode = entry.external_attr >> 16
        kind = "folder" if entry.filename.endswith("/") else "file"
        if stat.S_ISLNK(mode):
            kind = "a link"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "a special file"
        elif entry.flag_bits & 1:
            kind = "encrypted"
        # filename has its NULs cut off and its backslashes turned; what the archive says is what is judged
        yield Member(entry.orig_filename, kind, partial(opened.open, entry), position)


def declared(opened: zipfile.ZipFile) -> int:
    """Bytes that an opened .zip says it unpacks to; what comes is held to it by the reader.

    Raises Hostile for a compression whose memory the archive decides on.
    """
    for entry in opened.infolist():
        if entry.compress_type not in _METHODS:
            raise Hostile(f"'{entry.orig_filename}' is compressed by method {entry.compress_type}, which is not read")
    return sum(entry.file_size for entry in opened.infolist())
