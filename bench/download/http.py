"""HTTP: one request. Every failure becomes one line that says what happened.

Only http and https are allowed, and https never becomes http, also not by a redirect. The number of redirects is
limited. Proxies come from the environment (`http_proxy`, `https_proxy`, `no_proxy`).
"""

from __future__ import annotations

import email.utils
import socket
import ssl
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from bench._version import __version__

NETWORK = (OSError, HTTPException)
"""What opening an address or reading from it can raise."""


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


class _Redirects(HTTPRedirectHandler):
    max_redirections = 8

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise Failure(f"it redirects from https to {newurl[:80]}; refused", wrong=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """Made for each request, for the proxies are read from the environment. It knows no file: or ftp: addresses."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(), UnknownHandler(), HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), _Redirects(),
        HTTPErrorProcessor(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def open_url(url: str, headers: dict[str, str], timeout: float, now: float, method: str = "GET") -> HTTPResponse:
    """Request `url`. `timeout` in seconds holds for every wait on the socket, `now` is the time since the epoch.

    Raises Failure for anything but an answer of 200 or 206.
    """
    fixed = {"User-Agent": f"maskcontrast-bench/{__version__}", "Accept-Encoding": "identity"}
    try:
        request = Request(url, headers=fixed | headers, method=method)
        response: Any = _opener().open(request, timeout=timeout)
    except HTTPError as error:
        with error:
            raise _refused(error, now) from error
    except NETWORK as error:
        fail(error, timeout)
    if response.status not in (200, 206):
        response.close()
        raise Failure(f"it answered {response.status}", wrong=True, status=response.status)
    return response


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
    if 300 <= code < 400:
        return Failure(
            f"it redirects in a circle, too often, or to something that is not a web address ({code})", status=code
        )
    if code in (429, 503):
        return Failure(f"it is too busy ({code})", again=True, wait=_retry_after(error.headers, now), status=code)
    return Failure(f"it answered {code} {error.reason}", again=code >= 500, status=code)


def _retry_after(headers: Message, now: float) -> float | None:
    """Seconds until the server wants to be asked again: it gives a number or a date."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
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
    if isinstance(cause, (ConnectionError, HTTPException)):
        raise Failure("the connection broke", again=True) from error
    words = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    raise Failure(f"no connection ({words})") from error


def host(url: str) -> str:
    """The host of an address, for a message."""
    return urlsplit(url).netloc.rpartition("@")[2]
