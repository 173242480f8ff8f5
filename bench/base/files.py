"""Files: hashes, atomic writes, and the place of the cache."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.base.errors import BadEnvironment

if TYPE_CHECKING:
    import numpy.typing as npt


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def md5_file(path: Path) -> str:
    """MD5 of a file's bytes, for files whose publisher gave no other hash."""
    with path.open("rb") as stream:
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


def load_npz(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """All arrays of an .npz; None where it is absent or damaged. Nothing in it is executed."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE:
        return None


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
    """A path for people: relative if it is below the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
