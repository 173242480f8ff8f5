"""Connections: HTTP and HTTPS over a socket of which one step takes no more bytes, and no longer, than it may.

`http.client` bounds the length of a line and waits for each packet no longer than the timeout. It does not bound how
many lines there are, nor how long a server takes that sends a byte now and then.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, Request

from bench.download.network import Failure

STEP = 1 << 20
"""Bytes that one step may take off the line: all headers of an answer, or one read of its body with its framing."""


class Allowance:
    """What the step under way may still take."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.renew(0.0)

    def renew(self, seconds: float) -> None:
        """A new step begins, and may take so long."""
        self._seconds, self._until, self._bytes = seconds, self._clock() + seconds, STEP

    def require(self) -> None:
        """Raises Failure where the step has taken too long."""
        if self._clock() > self._until:
            raise Failure(f"it has sent next to nothing for {self._seconds:g} seconds", again=True)

    def take(self, count: int) -> None:
        """So many bytes came. Raises Failure where they are too many."""
        self._bytes -= count
        if self._bytes < 0:
            raise Failure("its answer has headers without an end", wrong=True)


class _Line(io.RawIOBase):
    """What a socket gives, within the allowance."""

    def __init__(self, raw: io.RawIOBase, allowance: Allowance) -> None:
        self._raw, self._allowance = raw, allowance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._allowance.require()
        count: int | None = self._raw.readinto(buffer)
        self._allowance.take(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, allowance: Allowance, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.fp = io.BufferedReader(_Line(self.fp.detach(), allowance))


class _Connection(HTTPConnection):
    def __init__(self, allowance: Allowance, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.response_class = partial(_Response, allowance)  # type: ignore[assignment]


class _SecureConnection(HTTPSConnection):
    def __init__(self, allowance: Allowance, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.response_class = partial(_Response, allowance)  # type: ignore[assignment]


class Http(HTTPHandler):
    """Opens http addresses within an allowance."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__()
        self._connection = partial(_Connection, allowance)

    def http_open(self, req: Request) -> HTTPResponse:
        """The answer to a request."""
        return self.do_open(self._connection, req)


class Https(HTTPSHandler):
    """Opens https addresses within an allowance."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__()
        self._connection = partial(_SecureConnection, allowance)

    def https_open(self, req: Request) -> HTTPResponse:
        """The answer to a request."""
        return self.do_open(self._connection, req)
