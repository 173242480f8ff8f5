"""Archives from unknown sources, read and unpacked safely: .tar, .tar.gz, .tgz, .zip, told apart by content.

Only files and folders below the target are unpacked. The whole archive is refused, and nothing is kept, if it has a
path out of the target, a link, a device, a sparse or encrypted member, a name that occurs twice, or too much data.
This is stricter than `tarfile`'s data filter, which lets links in and bounds no sizes, and it is one rule for
both formats.
"""

from __future__ import annotations

import errno
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.base.archive_members import (
    CHUNK,
    DAMAGE,
    Hostile,
    Limits,
    Member,
    declared,
    require_place,
    safe_path,
    zip_members,
)
from bench.base.errors import BadEnvironment, BadInput
from bench.base.tar_members import BLOCK, tar_members

DEFAULT = Limits()
Show = Callable[[int, int], None]


@dataclass
class _Room:
    """How much an archive may still unpack to."""

    most: int
    """Bytes, by the limits."""
    free: int | None
    """Bytes on the disk; None where nothing is written."""
    taken: int = 0

    def take(self, count: int) -> None:
        """So many bytes more. Raises Hostile beyond the limit, BadEnvironment beyond the disk."""
        self.taken += count
        if self.taken > self.most:
            raise Hostile(f"it unpacks to more than {self.most:,} bytes")
        if self.free is not None and self.taken > self.free:
            raise BadEnvironment(
                f"what it unpacks to needs more than the {self.free:,} bytes that are left on the disk",
                "Free space, or choose another folder with --cache.",
            )


def unpack(archive: Path, target: Path, limits: Limits = DEFAULT, progress: Show | None = None) -> None:
    """Unpack `archive` into the new folder `target`; on any failure nothing is left of it.

    `progress` takes the bytes of the archive that are done, and how many there are. Raises BadInput for an
    archive that is damaged or refused, naming the member, BadEnvironment where the disk has no room for it.
    """
    _require_file(archive)
    size = archive.stat().st_size
    target.mkdir(parents=True)
    try:
        room = _Room(limits.of(archive), shutil.disk_usage(target).free)
        with _explained(archive, "Nothing of it was unpacked. "), _members(archive, limits, room) as members:
            for member in _counted(members, limits):
                _write(member, target / safe_path(member.name), room)
                if progress:
                    progress(member.position, size)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def read_through(archive: Path, limits: Limits = DEFAULT) -> None:
    """Read every member of an archive to its end, each against its checksum where the format has one.

    Nothing is written. Raises BadInput as `unpack` does.
    """
    _require_file(archive)
    room = _Room(limits.of(archive), None)
    with _explained(archive), _members(archive, limits, room) as members:
        for member in _counted(members, limits):
            if member.kind == "file":
                for _ in _content(member, room):
                    pass


def _require_file(archive: Path) -> None:
    """Raises BadInput for a pipe or a device, which could be read for ever, and for what is not there."""
    if not archive.is_file():
        raise BadInput(f"{archive} is no regular file", "Give the path of an archive.")


@contextmanager
def _explained(archive: Path, outcome: str = "") -> Iterator[None]:
    """Raises BadInput or BadEnvironment, naming the archive, for what its readers raise."""
    remedy = f"{outcome}Remove {archive}, and the same command fetches it again."
    try:
        yield
    except BadEnvironment as error:
        raise BadEnvironment(f"cannot unpack {archive}: {error.problem}", error.remedy) from error
    except Hostile as error:
        raise BadInput(f"{archive} is refused: {error}", remedy) from error
    except DAMAGE as error:
        raise BadInput(f"{archive} is damaged or not an archive: {error}", remedy) from error
    except OSError as error:
        raise BadEnvironment(
            f"cannot unpack {archive}: {error.strerror or error}", "Check disk space and permissions."
        ) from error


@contextmanager
def _members(archive: Path, limits: Limits, room: _Room) -> Iterator[Iterator[Member]]:
    """The members of an archive. Raises Hostile or BadEnvironment where it says itself that it is too large."""
    with archive.open("rb") as stream:
        start = stream.read(2)
    size = archive.stat().st_size
    if start == b"PK":
        with zipfile.ZipFile(archive) as opened:
            _Room(room.most, room.free).take(declared(opened))
            yield zip_members(opened, size)
        return
    compressed = start == b"\x1f\x8b"
    if not compressed:
        _Room(size, room.free).take(size)
    with tar_members(archive, compressed, room.most + limits.members * BLOCK) as members:
        yield members


def _counted(members: Iterator[Member], limits: Limits) -> Iterator[Member]:
    """The members, each with a name and of a kind that may be. Raises Hostile for others, too many, or none."""
    count = 0
    for count, member in enumerate(members, start=1):
        if count > limits.members:
            raise Hostile(f"it has more than {limits.members:,} members")
        require_place(safe_path(member.name), member.kind)
        if member.kind not in ("file", "folder"):
            raise Hostile(f"'{member.name}' is {member.kind}")
        yield member
    if not count:
        raise Hostile("it is empty")


def _content(member: Member, room: _Room) -> Iterator[bytes]:
    """A file, by what comes and not by what the archive declares. Raises Hostile where there is no room for it."""
    with member.open() as source:
        for chunk in iter(partial(source.read, CHUNK), b""):
            room.take(len(chunk))
            yield chunk


def _write(member: Member, path: Path, room: _Room) -> None:
    """Make the folder, or write the file."""
    try:
        if member.kind == "folder":
            _make_folder(path, member.name)
            return
        _make_folder(path.parent, member.name)
        with path.open("xb") as out:
            for chunk in _content(member, room):
                out.write(chunk)
    except (FileExistsError, IsADirectoryError) as error:
        raise Hostile(f"'{member.name}' comes twice") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise Hostile(f"'{member.name[:60]}…' is a longer name than this system takes") from error


def _make_folder(path: Path, name: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Hostile(f"'{name}' is a folder where it has a file already") from error
