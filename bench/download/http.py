"""HTTP: one request. Every failure becomes one line that says what happened.

Only http and https are allowed, and https never becomes http, also not by a redirect. The number of redirects is
limited. Proxies come from the environment (`http_proxy`, `https_proxy`, `no_proxy`).
"""

from __future__ import annotations

import email.utils
import re
import socket
import ssl
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead, InvalidURL
from types import TracebackType
from typing import IO, Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)  # fmt: skip

from bench._version import __version__
from bench.base.escaping import one_line
from bench.download.connections import Allowance, Http, Https
from bench.download.network import Failure, Network

NETWORK = (OSError, HTTPException)
"""What opening an address or reading from it can raise."""
WEB = ("http", "https")
"""Kinds of addresses that are opened."""
BROKEN = (ConnectionError, IncompleteRead)
"""Of these, what a new request may mend."""


class Reply:
    """An answer of 200 or 206, read at the pace that the network demands."""

    def __init__(self, response: HTTPResponse, allowance: Allowance, network: Network) -> None:
        self._response, self._allowance, self._network = response, allowance, network
        self.status, self.headers, self.url = response.status, response.headers, response.url
        self.chunked = bool(response.chunked)
        """Whether the body says itself where it ends."""
        self._since, self._came = network.clock(), 0

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()

    @property
    def length(self) -> int | None:
        """Bytes of the body as its header has them. Raises Failure where it has several lengths."""
        if self.chunked:
            return None
        said = {length.strip() for length in self.headers.get_all("Content-Length", [])}
        if len(said) > 1:
            raise Failure("its answer has two lengths", wrong=True)
        return number(said.pop()) if said else None

    def read(self, count: int) -> bytes:
        """What has arrived, at most `count` bytes; empty at the end. Raises Failure for a line broken or too slow."""
        if not count:
            return b""
        self._allowance.renew(self._network.window)
        try:
            data = self._response.read1(count)
        except NETWORK as error:
            fail(error, self._network.timeout)
        if data:
            self._require_pace(len(data))
        return data

    def _require_pace(self, count: int) -> None:
        self._came += count
        elapsed = self._network.clock() - self._since
        if elapsed < self._network.window:
            return
        if self._came < self._network.least * elapsed:
            raise Failure(f"it sends less than {self._network.least:,} bytes a second", again=True)
        self._since, self._came = self._network.clock(), 0


def number(text: str) -> int | None:
    """The number of bytes in a header; None for what is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


class _Redirects(HTTPRedirectHandler):
    max_redirections = 8

    def http_error_302(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage) -> Any:
        target = headers.get("Location", "").strip()
        shown = f"'{one_line(target)[:80]}' ({code})"
        try:
            address = urlsplit(urljoin(req.full_url, target))
            usable = bool(target and (address.hostname or address.scheme not in WEB)) and address.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise Failure(f"it redirects to {shown}, which is no address", wrong=True, status=code)
        if address.scheme not in WEB:
            raise Failure(f"it redirects to {shown}, which is no web address", wrong=True, status=code)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise Failure(f"it redirects from https to {one_line(newurl)[:80]}; refused", wrong=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(allowance: Allowance) -> OpenerDirector:
    """Made for each request, for the proxies are read from the environment. It knows no file: or ftp: addresses."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(), UnknownHandler(), Http(allowance), Https(allowance), HTTPDefaultErrorHandler(), _Redirects(),
        HTTPErrorProcessor(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def open_url(url: str, headers: dict[str, str], network: Network, method: str = "GET") -> Reply:
    """Request `url`. Raises Failure for anything but an answer of 200 or 206."""
    fixed = {"User-Agent": f"maskcontrast-bench/{__version__}", "Accept-Encoding": "identity"}
    allowance = Allowance(network.clock)
    allowance.renew(network.patience)
    try:
        request = Request(url, headers=fixed | headers, method=method)
        response: Any = _opener(allowance).open(request, timeout=network.timeout)
    except HTTPError as error:
        with error:
            raise _refused(error, network.now()) from error
    except NETWORK as error:
        fail(error, network.timeout)
    except ValueError as error:  # the address, one that it redirects to, or that of a proxy
        raise Failure(f"an address on the way to it cannot be used ({one_line(error)[:80]})", wrong=True) from error
    if response.status not in (200, 206):
        response.close()
        raise Failure(f"it answered {response.status}", wrong=True, status=response.status)
    return Reply(response, allowance, network)


def _refused(error: HTTPError, now: float) -> Failure:
    code = error.code
    known = {
        401: "it requires a login (401)",
        403: "it refuses access (403)",
        404: "the file is not there (404)",
        410: "the file was removed (410)",
    }
    if code in known:
        return Failure(known[code], status=code)
    if code in (301, 302, 303, 307, 308):
        return Failure(f"it redirects in a circle, or too often ({code})", wrong=True, status=code)
    if code in (429, 503):
        return Failure(f"it is too busy ({code})", again=True, wait=_retry_after(error.headers, now), status=code)
    return Failure(f"it answered {code} {one_line(error.reason)[:80]}", again=code >= 500, status=code)


def _retry_after(headers: Message, now: float) -> float | None:
    """Seconds until the server wants to be asked again: it gives a number or a date."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def fail(error: Exception, timeout: float) -> NoReturn:
    """Raise the Failure that says what a network error means."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, TimeoutError):
        raise Failure(f"nothing arrived for {timeout:g} seconds", again=True) from error
    if isinstance(cause, socket.gaierror):
        raise Failure("its name cannot be resolved (is there a network?)") from error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise Failure(f"its certificate cannot be trusted ({cause.verify_message})") from error
    if isinstance(cause, ConnectionRefusedError):
        raise Failure("it refuses the connection") from error
    if isinstance(cause, BROKEN):
        raise Failure("the connection broke", again=True) from error
    if isinstance(cause, InvalidURL):
        raise Failure(f"an address on the way to it cannot be used ({one_line(cause)[:80]})", wrong=True) from error
    if isinstance(cause, HTTPException):
        raise Failure("what it answered is not HTTP", wrong=True) from error
    words = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    raise Failure(f"no connection ({one_line(words)[:200]})") from error


def host(url: str) -> str:
    """The host of an address, for a message."""
    return urlsplit(url).netloc.rpartition("@")[2]
