"""Files: hashes, atomic writes, and the place of the cache."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import stat
import struct
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.base.errors import BadEnvironment
from bench.base.escaping import printable
from bench.base.paths import expand
from bench.base.temporaries import temporary_file, temporary_folder

if TYPE_CHECKING:
    import numpy.typing as npt


_umask_lock = threading.Lock()


def open_regular(path: Path) -> BufferedReader:
    """Open an ordinary file for reading, through links as well.

    Raises OSError for what is none, at once: a pipe would wait for its writer for ever, a device never end.
    """
    # O_NONBLOCK opens a pipe that nobody writes to; on an ordinary file it means nothing
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not an ordinary file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of an ordinary file. Raises OSError for what is none, and for one of more than `most` bytes."""
    with open_regular(path) as stream:
        data = stream.read(most + 1)
    _require_size(path, len(data), most)
    return data


def said(error: Exception) -> str:
    """An error without the number and the path that the system puts around it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _require_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))


def sha256_file(path: Path, most: int | None = None) -> str:
    """SHA-256 of an ordinary file's bytes, in hexadecimal, read in chunks.

    Raises OSError for what is no ordinary file, and for one of more than `most` bytes.
    """
    with open_regular(path) as stream:
        if most is not None:
            _require_size(path, os.fstat(stream.fileno()).st_size, most)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def md5_file(path: Path) -> str:
    """MD5 of an ordinary file's bytes, for files whose publisher gave no other hash."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def is_device(path: Path) -> bool:
    """Whether a path is a device, as /dev/null is, or the system's own link to an open file, as /dev/stdout is.

    A file that took its place would be in the way of every program. A link elsewhere is none, wherever it leads.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            home = path.parent.resolve()
            return home == Path("/dev") or home.is_relative_to("/proc")
    except (OSError, ValueError, RuntimeError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success it replaces `path`, on any failure it vanishes.

    A reader sees the old file or the new one, never half of one, and two writers at once cannot mix.
    A device, by `is_device`, is written into.
    """
    if is_device(path):
        with path.open("wb") as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = temporary_file(path)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which file
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; on success it takes the place of `path`, on any failure it vanishes.

    A reader sees the old folder, the new one or, for a moment, none, but never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = temporary_folder(path)
    old = new.with_suffix(".old")
    try:
        yield new
        new.chmod(0o777 & ~umask())
        _take_place(new, path, old)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        raise


def _take_place(new: Path, path: Path, old: Path) -> None:
    """Move `new` to `path`, and what is there to `old`; again if another writer was faster."""
    while True:
        with suppress(FileNotFoundError):
            path.rename(old)
        try:
            new.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(old, ignore_errors=True)


def umask() -> int:
    """The process's umask: mkstemp makes private files, but results are meant to be shared."""
    with _umask_lock:  # it can only be read by setting it, and threads write files
        mask = os.umask(0)
        os.umask(mask)
    return mask


def write_with(path: Path, writer: Callable[[IO[bytes]], Any]) -> None:
    """Write `path` atomically by calling `writer` with an open binary stream."""
    with atomic_write(path) as stream:
        writer(stream)


def save_npz(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write arrays as a compressed .npz, atomically. Equal arrays give equal bytes: no times are stored."""
    import numpy as np

    with atomic_write(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


# What zipfile and numpy raise on damaged bytes, or an odd zip flag (RuntimeError).
_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError,
    struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
_MOST, _MOST_TIMES = 1 << 30, 64
"""Bytes that the arrays of a file may take, or so many times its own size: DEFLATE makes 1000 times as much."""


def load_npz(
    path: Path, only: Collection[str] | None = None, most: int | None = None
) -> dict[str, npt.NDArray[Any]] | None:
    """The arrays of an .npz, or `only` these, by their checksums; None where it is absent, damaged or expands too far.

    Too far is more than `most` bytes; where that is not said, more than a sound file of its size ever does. Nothing in
    it is executed, and no array is made before its shape is known to fit the bytes that are there.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            members = {entry.filename.removesuffix(".npy"): entry for entry in entries}
            size = sum(entry.file_size for entry in entries)
            if most is None:
                most = max(_MOST, _MOST_TIMES * os.fstat(file.fileno()).st_size)
            known = all(entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries)
            if len(members) != _said_members(file) or size > most or not known:
                return None
            wanted = members if only is None else members.keys() & set(only)
            return {name: _read_array(archive, members[name]) for name in wanted}
    except _DAMAGE:
        return None


def _said_members(stream: IO[bytes]) -> int:
    """How many members the end of a zip archive says that it has: zipfile leaves out those that it does not see."""
    stream.seek(-22, os.SEEK_END)
    signature, members = struct.unpack("<4s6xH10x", stream.read())
    if signature != b"PK\5\6":
        raise ValueError("something follows the end of the archive")
    return int(members)


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """One array, in memory that what follows its header really fills. Raises ValueError, or one of `_DAMAGE`."""
    import numpy as np

    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, by_columns, dtype = read_header[version](stream)
        size = member.file_size - stream.tell()
        if (
            dtype.hasobject
            or min(shape, default=0) < 0
            or math.prod(shape) * dtype.itemsize != size
            or (not size and 0 not in shape)
        ):
            raise ValueError(f"{member.filename} has another length than it says")
        data = bytearray(size)
        view = memoryview(data)
        while size and (part := stream.read(min(size, 1 << 20))):
            view[len(data) - size :][: len(part)] = part
            size -= len(part)
        # reading to the end is what compares the checksum
        if size or stream.read(1):
            raise ValueError(f"{member.filename} is cut off")
    array = np.frombuffer(data, dtype) if data else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if by_columns else "C")


@contextmanager
def locked(path: Path, patience: float, problem: str, remedy: str) -> Iterator[None]:
    """Hold a lock file; the system frees it when the process ends. Raises BadEnvironment after `patience` seconds."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise BadEnvironment(problem, f"{remedy} ({path})") from error
    try:
        yield
    finally:
        lock.release()


def require_writable(folder: Path, what: str, flag: str) -> None:
    """Raises BadEnvironment at once if no file can be written to `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, probe = temporary_file(folder / "probe")
        os.close(handle)
        probe.unlink()
    except OSError as error:
        raise BadEnvironment(
            f"cannot write the {what} to {folder}: {error.strerror or error}",
            f"Give another folder with {flag}, or correct its permissions.",
        ) from error


def cache_folder(explicit: Path | None = None) -> Path:
    """The cache: `--cache`, else $BENCH_CACHE, else the platform's cache folder for `bench`."""
    if explicit is not None:
        return expand(explicit)
    if os.environ.get("BENCH_CACHE"):
        return expand(os.environ["BENCH_CACHE"])
    import platformdirs

    return Path(platformdirs.user_cache_dir("bench", appauthor=False))


def is_ordinary_file(path: Path) -> bool:
    """Whether there is a file with content that ends: no pipe, no device; a link to itself is none, and no error."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_endless_file(path: Path) -> bool:
    """Whether a path is a pipe or a device: what is read of it may never come, or never end."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except (OSError, ValueError):
        return False


def printable_name(path: Path) -> str:
    """A file's name as text that any record can hold: bytes that are no UTF-8 become U+FFFD."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def display(path: Path) -> str:
    """A path for people: relative if it is below the current folder, and printable."""
    try:
        return printable(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError, RuntimeError):  # elsewhere, the current folder is gone, or a link leads to itself
        return printable(path)
