"""Temporaries: files and folders that are written under another name first, and what killed runs leave of them.

A name says whose it is: `.<name>.bench-<machine>-<process>.<random>.tmp`. So a later run can tell the work of a process
that lives from the leftover of one that was killed, and sweeps only the latter.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LONGEST = 100
"""Bytes of the final name that a temporary one repeats; 255 is the limit of most file systems."""
_OURS = re.compile(
    r"\.(?P<name>.*)\.bench-(?P<machine>[0-9a-f]{8})-(?P<process>\d{1,10})\.[0-9a-z_]{8}\.(tmp|old)", re.S
)
DAY = 24 * 60 * 60
"""Seconds after which what nobody has touched is a leftover, whoever it belonged to."""
_swept: set[Path] = set()


def temporary_file(path: Path) -> tuple[int, Path]:
    """A new, empty file beside `path`, open for writing, and its name. What killed runs left beside it is swept."""
    handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=".tmp", dir=path.parent)
    return handle, Path(name)


def temporary_folder(path: Path) -> Path:
    """A new, empty folder beside `path`. What killed runs left beside it is swept."""
    return Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".tmp", dir=path.parent))


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """An empty folder in the system's place for temporary files; it is removed in the end."""
    folder = temporary_folder(Path(tempfile.gettempdir()) / name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(path: Path) -> str:
    sweep_once(path.parent)
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        name = os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore")
    return f".{name}.bench-{_machine()}-{os.getpid()}."


def sweep_once(folder: Path) -> None:
    """`sweep` a folder, the first time that this process comes to it."""
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def sweep(folder: Path) -> list[Path]:
    """Remove the leftovers of killed runs directly in `folder`; returns what was removed or put back.

    A folder that a killed run had moved out of the way of its new one is put back where that one never came.
    """
    removed = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _OURS.fullmatch(entry.name)
            if match and _is_ours(entry) and not _in_use(match, entry):
                removed.append(Path(entry.path))
    # an old folder is put back before the new one goes
    for path in sorted(removed, key=lambda path: path.suffix):
        _remove(path)
    return removed


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether it belongs to who runs this process: anybody can give a name to a file in a shared folder."""
    return not hasattr(os, "geteuid") or entry.stat(follow_symlinks=False).st_uid == os.geteuid()


def _in_use(match: re.Match[str], entry: os.DirEntry[str]) -> bool:
    """Whether the process that a name tells of may live: it runs, or is of another machine and wrote within a day."""
    process = int(match["process"])
    if match["machine"] == _machine() and not _runs(process):
        return False
    with suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < DAY
    return True


def _runs(process: int) -> bool:
    """Whether a process of this machine runs. Unsure counts as yes."""
    if os.name == "nt":  # there os.kill would end it
        import psutil

        return psutil.pid_exists(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _remove(path: Path) -> None:
    match = _OURS.fullmatch(path.name)
    assert match is not None
    home = path.with_name(match["name"])
    with suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        elif path.suffix == ".old" and len(os.fsencode(home.name)) < _LONGEST and not home.exists():
            path.rename(home)
        else:
            shutil.rmtree(path, ignore_errors=True)


@functools.cache
def _machine() -> str:
    """Where process numbers mean what they mean here: this machine and, in a container, its own count of them."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii")
    except (OSError, ValueError):
        machine = ""
    return hashlib.sha256(f"{platform.node()}|{machine.strip()}|{space}".encode()).hexdigest()[:8]
