"""Archives from unknown sources, unpacked safely: .tar, .tar.gz, .tgz, .zip.

Only files and folders below the target are unpacked. The whole archive is refused, and nothing is kept, if it has a
path out of the target, a link, a device, a sparse or encrypted member, a name that occurs twice, or too much data.
This is stricter than `tarfile`'s data filter, which lets links in and bounds no sizes, and it is one rule for
both formats.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from bench.base.errors import BadEnvironment, BadInput

CHUNK = 1 << 20
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile, ValueError,
    NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip
"""What the readers raise on damaged bytes."""


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


Show = Callable[[int, int], None]


class Hostile(Exception):
    """Why an archive is refused."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    kind: str
    """`file`, `folder`, or what else it is, in words."""
    open: Callable[[], IO[bytes]]
    position: int
    """Bytes of the archive that lie before it."""


def unpack(
    archive: Path,
    target: Path,
    limits: Limits = Limits(),
    progress: Show | None = None,
) -> None:
    """Unpack `archive` into the new folder `target`; on any failure nothing is left of it.

    `progress` takes the bytes of the archive that are done, and how many there are. Raises BadInput for an
    archive that is damaged or refused, naming the member, BadEnvironment where the disk has no room for it.
    """
    size = archive.stat().st_size
    target.mkdir(parents=True)
    try:
        with _members(archive, limits) as members:
            count = _write_members(members, target, limits, limits.of(archive), partial(_tell, progress, size))
        if not count:
            raise Hostile("it is empty")
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        remedy = f"Nothing of it was unpacked. Remove {archive}, and the same command fetches it again."
        if isinstance(error, Hostile):
            raise BadInput(f"{archive} is refused: {error}", remedy) from error
        if isinstance(error, DAMAGE):
            raise BadInput(f"{archive} is damaged or not an archive: {error}", remedy) from error
        if isinstance(error, OSError):
            raise BadEnvironment(
                f"cannot unpack {archive}: {error.strerror or error}", "Check disk space and permissions."
            ) from error
        raise


def _tell(progress: Show | None, size: int, done: int) -> None:
    if progress:
        progress(done, size)


def _write_members(
    members: Iterator[Member], target: Path, limits: Limits, most: int, progress: Callable[[int], None]
) -> int:
    """Write the files and folders; returns how many members there were."""
    count, room = 0, most
    for member in members:
        count += 1
        if count > limits.members:
            raise Hostile(f"it has more than {limits.members:,} members")
        try:
            room -= _write(member, target / safe_path(member.name), room, most)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise Hostile(f"'{member.name[:60]}…' is a longer name than this system takes") from error
        progress(member.position)
    return count


def _write(member: Member, path: Path, room: int, most: int) -> int:
    """Make the folder, or write the file; returns its size."""
    if member.kind == "folder":
        _make_folder(path, member.name)
        return 0
    if member.kind != "file":
        raise Hostile(f"'{member.name}' is {member.kind}")
    _make_folder(path.parent, member.name)
    return _write_file(member, path, room, most)


def safe_path(name: str) -> PurePosixPath:
    """The member's path below the target. Raises Hostile for one that any system would take elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise Hostile(f"'{name}' is an absolute path, or one of another system")
    if ".." in path.parts:
        raise Hostile(f"'{name}' leads out of the folder")
    if any(ord(letter) < 32 for letter in name):
        raise Hostile(f"{name!r} has control characters in its name")
    return path


def _make_folder(path: Path, name: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Hostile(f"'{name}' is a folder where it has a file already") from error


def _write_file(member: Member, path: Path, room: int, most: int) -> int:
    """Write a file of at most `room` bytes, by what comes and not by what the archive declares; returns its size."""
    written = 0
    try:
        with member.open() as source, path.open("xb") as out:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                if written > room:
                    raise Hostile(f"it unpacks to more than {most:,} bytes")
                out.write(chunk)
    except (FileExistsError, IsADirectoryError) as error:
        raise Hostile(f"'{member.name}' comes twice") from error
    return written


@contextmanager
def _members(archive: Path, limits: Limits) -> Iterator[Iterator[Member]]:
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield zip_members(opened, archive.stat().st_size)
        return
    with archive.open("rb") as raw:
        compressed = archive.name.endswith("gz")
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if compressed else raw
        bounded = _Bounded(stream, limits.of(archive) + limits.members * tarfile.BLOCKSIZE)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:") as tar:
            yield _tar_members(tar, raw)


def _tar_members(tar: tarfile.TarFile, raw: IO[bytes]) -> Iterator[Member]:
    while (entry := tar.next()) is not None:
        # tarfile keeps every header it has read: a million of them would fill the memory
        tar.members = []  # type: ignore[attr-defined]
        kind = "file" if entry.isreg() else "folder" if entry.isdir() else _TAR_KINDS.get(entry.type, "a special file")
        if entry.issparse():
            kind = "a sparse file"

        yield Member(entry.name, kind, cast(Callable[[], IO[bytes]], partial(tar.extractfile, entry)), raw.tell())


_TAR_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def zip_members(opened: zipfile.ZipFile, size: int) -> Iterator[Member]:
    """The members of an opened .zip of `size` bytes. Raises Hostile where they overlap."""
    position = 0
    for entry in opened.infolist():
        # members that share their bytes are how a small file becomes petabytes
        position += entry.compress_size
        if position > size:
            raise Hostile("its members overlap")
        mode = entry.external_attr >> 16
        kind = "folder" if entry.is_dir() else "file"
        if stat.S_ISLNK(mode):
            kind = "a link"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "a special file"
        elif entry.flag_bits & 1:
            kind = "encrypted"
        # filename has its NULs cut off and its backslashes turned; what the archive says is what is judged
        yield Member(entry.orig_filename, kind, partial(opened.open, entry), position)


class _Bounded:
    """A stream for tarfile that will not yield endlessly, nor a huge header at once."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes."""
        if not 0 <= count <= 16 * CHUNK:
            raise Hostile("it has a header of more than 16 MB")
        data = self._stream.read(count)
        self._check(self._stream.tell())
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position; forward means reading."""
        self._check(offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._most:
            raise Hostile(f"it unpacks to more than {self._most:,} bytes")
