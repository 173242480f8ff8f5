"""Network: how patient a download is, whom it tells, and why an address did not give the file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.base.errors import Warn

Show = Callable[[str, int, int | None], None]
"""Takes what is being done, the bytes that are done, and how many there are, if that is known."""


@dataclass(frozen=True)
class Network:
    """How patient to be, and whom to tell. Times in seconds."""

    attempts: int = 4
    """Requests to one mirror that bring nothing new before the next is tried."""
    timeout: float = 20.0
    """For every wait on the socket."""
    patience: float = 40.0
    """That requests which bring nothing new may take together; also the longest time until an answer begins."""
    window: float = 20.0
    """Over which the speed is measured."""
    least: int = 1000
    """Bytes a second. A server that sends fewer over a window is given up."""
    longest_wait: float = 120.0
    """A server that wants to be asked later than this is given up."""
    most: int = 4 * 10**9
    """Bytes of a file of which neither the card nor the server says how long it is."""
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    """What durations are measured by."""
    warn: Warn = lambda message: None
    progress: Show | None = None


class Failure(Exception):
    """Why an address did not give the file, in one line."""

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        wait: float | None = None,
        anew: bool = False,
        wrong: bool = False,
        status: int = 0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        """Whether the same request may succeed later."""
        self.wait = wait
        """Seconds after which the server wants to be asked again."""
        self.anew = anew
        """Whether what had come was thrown away, and may come right from the start."""
        self.wrong = wrong
        """Whether something came that is not the file."""
        self.status = status
