"""Files: hashes, atomic writes, and the place of the cache."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import stat
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.base.errors import BadEnvironment

if TYPE_CHECKING:
    import numpy.typing as npt


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


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success it replaces `path`, on any failure it vanishes.

    A reader sees the old file or the new one, never half of one, and two writers at once cannot mix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which file
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; on success it takes the place of `path`, on any failure it vanishes.

    A reader sees the old folder, the new one or, for a moment, none, but never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent))
    old = new.with_suffix(".old")
    try:
        yield new
        new.chmod(0o777 & ~_umask())
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


def _umask() -> int:
    """The process's umask: mkstemp makes private files, but results are meant to be shared."""
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


# What zipfile and numpy raise on damaged bytes, a plain .npy (TypeError) or an odd zip flag (RuntimeError).
_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError,
    struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def load_npz(path: Path, most: int | None = None) -> dict[str, npt.NDArray[Any]] | None:
    """All arrays of an .npz; None where it is absent or damaged, or unpacks to more than `most` bytes.

    Nothing in it is executed, and no array is made before its shape is known to fit the bytes that are there.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
                return None
            if most is not None and sum(entry.file_size for entry in entries) > most:
                return None
            return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries}
    except _DAMAGE:
        return None


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """One array of an .npz. Raises what `_DAMAGE` lists for a header that does not fit the bytes after it."""
    import numpy as np

    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size != entry.file_size - member.tell() or (0 not in shape and not size):
            raise ValueError(f"{entry.filename} is not of the size that its header says")
    with archive.open(entry) as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


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
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe."):
            pass
    except OSError as error:
        raise BadEnvironment(
            f"cannot write the {what} to {folder}: {error.strerror or error}",
            f"Give another folder with {flag}, or correct its permissions.",
        ) from error


def cache_folder(explicit: Path | None = None) -> Path:
    """The cache: `--cache`, else $BENCH_CACHE, else the platform's cache folder for `bench`."""
    if explicit is not None:
        return explicit.expanduser()
    if os.environ.get("BENCH_CACHE"):
        return Path(os.environ["BENCH_CACHE"]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("bench", appauthor=False))


def display(path: Path) -> str:
    """A path for people: relative if it is below the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
