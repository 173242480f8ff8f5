"""Signals: what ends a command from outside ends it in order, once; the second signal ends it at once.

A command that is stopped keeps its finished work, removes what it was writing and returns 128 + the signal's number.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, `kill`, a terminal that is closed, and Windows' Ctrl-Break."""
_AT_ONCE = b"stopped at once; what was being written is swept by the next run\n"


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end. No error: nothing must catch it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code(error: BaseException) -> int:
    """Of a command that was interrupted, as a shell says it. click hides what did it behind an exception of its own."""
    stopped = error if isinstance(error, Stopped) else error.__cause__ or error.__context__
    return 128 + (stopped.number if isinstance(stopped, Stopped) else signal.SIGINT)


class _Stopper:
    """The handler: the first signal raises `Stopped`, the second ends the process without winding up."""

    def __init__(self) -> None:
        self.stopped = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.stopped:
            try:
                os.write(2, _AT_ONCE)
            finally:
                os._exit(128 + number)
        self.stopped = True
        raise Stopped(number)


@contextmanager
def handled() -> Iterator[None]:
    """Turn the signals that end a process into `Stopped`. One that is ignored (`nohup`) stays ignored.

    After a signal the handlers stay: what comes while the process winds up must not print a traceback.
    """
    stopper, before = _Stopper(), dict[int, Any]()
    with suppress(ValueError):  # not in the main thread: whoever started it handles signals
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stopper)
    try:
        yield
    finally:
        if not stopper.stopped:
            for number, handler in before.items():
                signal.signal(number, handler)
