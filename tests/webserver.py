"""A web server on 127.0.0.1 that behaves well or badly, as a test wants it."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class File:
    """What an address serves, and how badly."""

    data: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    kind: str = "application/octet-stream"
    encoding: str | None = None
    """A Content-Encoding."""
    ranges: bool = True
    """Whether Range is honoured."""
    length: int | None = None
    """A Content-Length that lies."""
    sized: bool = True
    """Whether a Content-Length is sent; without one the end of the connection is the file's."""
    chunked: bool = False
    breaks: list[int] = field(default_factory=list)
    """Per GET, the bytes of the body after which the connection ends; none left: it goes well."""
    reset: bool = False
    """End it with a reset, which may cost what was under way."""
    hang: bool = False
    """Send half of it and then nothing."""
    piece: int | None = None
    """Bytes that an answer with a range has at most."""
    shift: int = 0
    """Bytes by which a range begins too late."""


Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Looks the path up in the server's table."""

    server: WebServer

    def do_GET(self):
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        reply = self.server.table.get(self.path, self.server.table.get(self.path.partition("?")[0]))
        if reply is None:
            self.send_error(404)
        elif isinstance(reply, File):
            self._send_file(reply)
        else:
            reply(self)

    do_HEAD = do_GET

    def _send_file(self, file: File):
        start = self._range(file)
        if start is None:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(file.data)}")
            self.end_headers()
            return
        body = file.data[start + (file.shift if start else 0) :][: file.piece if start else None]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", file.kind)
        if start:
            first = start + file.shift
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(file.data)}")
        if file.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif file.sized:
            length = len(body) if file.length is None else file.length - start
            self.send_header("Content-Length", str(length))
        for name, value in (
            ("ETag", file.etag),
            ("Last-Modified", file.modified),
            ("Content-Encoding", file.encoding),
        ):
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._send_body(file, body)

    def _range(self, file: File) -> int | None:
        """Where to begin; None where the range is beyond the file."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not wanted or not file.ranges or (condition and condition not in (file.etag, file.modified)):
            return 0
        return int(wanted[1]) if int(wanted[1]) < len(file.data) else None

    def _send_body(self, file: File, body: bytes):
        if file.breaks:
            if file.chunked:
                self.wfile.write(f"{len(body):x}\r\n".encode())
            self.wfile.write(body[: file.breaks.pop(0)])
            self.wfile.flush()
            if file.reset:
                # linger 0: the socket's last close sends a reset, not an end
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.server.close_request(self.request)
            else:
                self.connection.shutdown(socket.SHUT_WR)
        elif file.hang:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.released.wait(30)
        elif file.chunked:
            for piece in (body[: len(body) // 2], body[len(body) // 2 :], b""):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        else:
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Tests read `requests`."""


class WebServer(ThreadingHTTPServer):
    """`table` maps a path to a File or to a function that answers the handler; `requests` is what came."""

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1"):
        super().__init__((address, 0), Handler)
        self.table: dict[str, File | Reply] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def url(self, path: str) -> str:
        return self.base + path

    def ranges(self) -> list[str | None]:
        """The Range of every GET so far."""
        return [headers.get("Range") for method, _, headers in self.requests if method == "GET"]

    def stop(self):
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, address):
        """A client that went away is what some tests are about."""


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    """A fixed answer. Underscores in header names become hyphens."""

    def reply(handler: Handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    return reply


def raw(start: bytes, again: bytes = b"", sent: list[int] | None = None) -> Reply:
    """Bytes in place of an answer, and others after them as long as the client listens; `sent` is how many pieces."""

    def reply(handler: Handler):
        handler.close_connection = True
        handler.wfile.write(start)
        while again:
            handler.wfile.write(again)
            if sent is not None:
                sent[0] += 1

    return reply


def in_turn(*replies: File | Reply) -> Reply:
    """Each answer once, the last one for ever; HEAD requests see the last."""
    left = list(replies)

    def reply(handler: Handler):
        chosen = left[-1] if handler.command == "HEAD" or len(left) == 1 else left.pop(0)
        if isinstance(chosen, File):
            handler._send_file(chosen)
        else:
            chosen(handler)

    return reply
