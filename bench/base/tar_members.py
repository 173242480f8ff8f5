"""The members of a .tar, a .tar.gz or a .tgz, read strictly.

`tarfile` takes a damaged header for the end of the archive, and also a stretch of zeros, and the place at which a file
was cut off between two members. Here every header must be whole, the end must be where the format has it (two blocks of
zeros), and behind it there must be nothing but padding. The checksum of a .gz is read to.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, cast

from bench.base.archive_members import CHUNK, Hostile, Member

BLOCK = tarfile.BLOCKSIZE
HEADER = 1 << 18
"""Bytes of an extended header, at most; paths need some hundreds."""
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]{1,1000})=")
"""The beginning of an entry in an extended header: its length, its keyword (POSIX.1-2001, pax)."""
_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
_PADDING = tuple(BLOCK * factor for factor in (20, *(2**power for power in range(12))))
"""Customary sizes of records, to a multiple of which archives are padded: 20 blocks, or a power of two up to 1 MiB."""


@contextmanager
def tar_members(archive: Path, compressed: bool, most: int) -> Iterator[Iterator[Member]]:
    """The members of an archive, of which at most `most` bytes are read. Raises Hostile, or one of `DAMAGE`."""
    with archive.open("rb") as raw:
        stream = _Stream(cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if compressed else raw, most)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:", tarinfo=_Header) as tar:
            yield _read(tar, stream, raw, None if compressed else archive.stat().st_size)


def _read(tar: tarfile.TarFile, stream: _Stream, raw: IO[bytes], size: int | None) -> Iterator[Member]:
    reached = -1
    while (entry := tar.next()) is not None:
        # tarfile keeps every header it has read: a million of them would fill the memory
        tar.members = []  # type: ignore[attr-defined]
        if tar.offset <= reached:
            raise Hostile("its headers lead in a circle")
        reached = tar.offset
        kind = "file" if entry.isreg() else "folder" if entry.isdir() else _KINDS.get(entry.type, "a special file")
        stream.in_header = False
        yield Member(entry.name, kind, cast(Callable[[], IO[bytes]], partial(tar.extractfile, entry)), raw.tell())
        stream.in_header = True
    _require_end(stream, size)


def _require_end(stream: _Stream, size: int | None) -> None:
    """Raises TarError unless what was read last, and all that follows, is the end of an archive of `size` bytes.

    `size` is None for one that is compressed: a checksum tells of its zeros that they are meant.
    """
    if stream.last.strip(b"\0"):
        raise tarfile.ReadError("a header is damaged, or something else stands in its place")
    stream.in_header = False
    zeros = len(stream.last)
    while chunk := stream.read(CHUNK):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError("there are more data behind its end, or a part of it was overwritten with zeros")
        zeros += len(chunk)
    if zeros < 2 * BLOCK:
        raise tarfile.ReadError("it is cut off: the mark of its end is missing")
    if size is not None and not any(size % record == 0 and zeros <= record + BLOCK for record in _PADDING):
        raise tarfile.ReadError(f"it ends in {zeros:,} bytes of zeros, in the place of what was lost")


class _Header(tarfile.TarInfo):
    """A header that is refused before tarfile acts on it, where that would take memory or time without an end."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0:
            raise tarfile.ReadError("a header has a negative size")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise Hostile(f"'{self.name}' is a sparse file")
        if self.type in _EXTENDED:
            cast(_Stream, tar.fileobj).extended = self.size
        return super()._proc_member(tar)  # type: ignore[misc]


def _require_extended(data: bytes) -> None:
    """Raises Hostile or TarError for an extended header that is not made of entries, each as long as it says."""
    position = 0
    while position < len(data):
        match = _RECORD.match(data, position)
        end = position + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise tarfile.ReadError("an extended header is damaged")
        if match[2].startswith(b"GNU.sparse"):
            raise Hostile("it has a sparse file")
        position = end
    # tarfile looks at each digit again for every digit before it
    if re.search(rb"[0-9]{200}", data):
        raise Hostile("an extended header has a number of more than 200 digits")


class _Stream:
    """A stream for tarfile that will not yield endlessly, nor a huge header at once."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most
        self.in_header = True
        self.extended: int | None = None
        """The size of the extended header that comes next."""
        self.last = b""
        """What was read last in search of a header."""

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes."""
        if not 0 <= count <= (HEADER if self.in_header else 16 * CHUNK):
            raise Hostile(f"it has a header of more than {HEADER:,} bytes")
        data = self._stream.read(count)
        self._require(self._stream.tell())
        if self.extended is not None:
            _require_extended(data[: self.extended])
            self.extended = None
        elif self.in_header and count == BLOCK:
            self.last = data
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position; forward means reading."""
        self._require(offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._stream.tell()

    def _require(self, position: int) -> None:
        if position > self._most:
            raise Hostile(f"it unpacks to more than {self._most:,} bytes")
