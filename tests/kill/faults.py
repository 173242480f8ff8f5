"""Faults: what ends a command at its nth step, and what a power loss leaves of files."""

from __future__ import annotations

import atexit
import http.client
import os
import random
import signal
import sys
import threading
from pathlib import Path

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "shutil.rmtree")
"""Events of `sys.addaudithook` that touch a file: between two of them a process may end anywhere."""


class Steps:
    """Counts the steps of this process that touch `folder`, and what arrives from the network, and kills at one."""

    def __init__(self, folder: Path, at: int, signals: list[int], gap: int) -> None:
        """At step `at` (from 1) the first of `signals` is sent, each other one `gap` steps after the one before."""
        self.folder = f"{folder}{os.sep}"
        self.plan = {at + gap * number: one for number, one in enumerate(signals)}
        self.count = 0
        self.lock = threading.Lock()

    def install(self, report: Path) -> None:
        """Begin to count; the number of steps is written to `report` where the process ends by itself."""
        sys.addaudithook(self._hear)
        for name in ("read", "read1", "readinto"):
            setattr(http.client.HTTPResponse, name, self._counted(getattr(http.client.HTTPResponse, name)))
        atexit.register(lambda: report.write_text(str(self.count), encoding="utf-8"))

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in STEPS or not isinstance(arguments[0], (str, os.PathLike)):
            return
        path = os.fspath(arguments[0])
        if path.startswith(self.folder) or not Path(path).is_absolute():  # the command runs in that folder
            self.step()

    def _counted(self, function):
        def call(*arguments, **more):
            self.step()
            return function(*arguments, **more)

        return call

    def step(self) -> None:
        """One more; a signal falls due at some."""
        with self.lock:
            self.count += 1
            due = self.plan.pop(self.count, None)
        if due is not None:
            os.kill(os.getpid(), due)


SIGNALS = {
    "SIGKILL": [signal.SIGKILL],
    "SIGTERM": [signal.SIGTERM],
    "SIGINT": [signal.SIGINT],
    "SIGINT twice": [signal.SIGINT, signal.SIGINT],
    "SIGHUP": [signal.SIGHUP],
}


# --- power loss ---


def halve(paths: list[Path]) -> None:
    """The second half never reached the disk."""
    for path in paths:
        os.truncate(path, path.stat().st_size // 2)


def zero_tail(paths: list[Path]) -> None:
    """The length reached the disk, the second half of the content did not."""
    for path in paths:
        size = path.stat().st_size
        os.truncate(path, size // 2)
        os.truncate(path, size)


def swap(paths: list[Path]) -> None:
    """Each has the content of the next: names and contents went to the disk in another order."""
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)


POWER_LOSSES = {"halved": halve, "zero-tailed": zero_tail, "swapped": swap}


def newest(folder: Path, known: set[Path], most: int) -> list[Path]:
    """The `most` files below `folder` that were written last, those that were `known` before left out."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path not in known]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path))[-most:]


def lose_power(folder: Path, known: set[Path], how: str, draw: random.Random) -> list[Path]:
    """Damage a few of the files that were written last; returns which."""
    written = newest(folder, known, 12)
    chosen = draw.sample(written, min(len(written), draw.randint(2, 4)))
    POWER_LOSSES[how](chosen)
    return chosen
