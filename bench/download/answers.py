"""Answers: whether what a server sends is the file, from which byte on, and how long the file is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.download.drive import looks_like_page
from bench.download.http import Reply, number
from bench.download.items import Item
from bench.download.network import Failure
from bench.download.part_files import Part, validator_of

TEXTS = {
    ".json": ("json", "text"), ".jsonl": ("json", "text"), ".xml": ("xml", "text"), ".svg": ("xml", "text"),
} | dict.fromkeys((".txt", ".csv", ".tsv", ".md", ".lst", ".yaml", ".yml", ".toml"), ("text",))  # fmt: skip
"""Endings of files that are text, and as what kinds of it servers send them. All others are binary."""


@dataclass(frozen=True)
class Length:
    """How long the whole file is."""

    total: int | None
    """Bytes; None where nothing says it before the end."""
    vouched: bool
    """Whether a break before the end would show: else the connection's end alone is the file's."""


def offset_of(reply: Reply, have: int, source: str, part: Part) -> int:
    """Where in the file the answer begins: 0 where the server ignored the range or the file has changed.

    Raises Failure for another range than the one asked for, and for one of another version of the file.
    """
    if reply.status != 206:
        return 0
    journal, validator = part.journal(), validator_of(reply.headers)
    first, total = _range(reply)
    fits = first == have > 0 and (total == journal.total or None in (total, journal.total))
    if journal.source == source and journal.validator and validator:
        fits = fits and validator == journal.validator
    if not fits:
        part.discard()
        raise Failure("it sent another part of the file than the requested one", anew=True)
    return have


def _range(reply: Reply) -> tuple[int | None, int | None]:
    """The first byte of an answer of 206, and the bytes of the whole file."""
    said = reply.headers.get("Content-Range", "").strip()
    match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", said)
    return (int(match[1]), number(match[2])) if match else (None, None)


def length_of(reply: Reply, offset: int, item: Item, part: Part) -> Length:
    """The length of the whole file, by the answer or the card. Raises Failure where they contradict."""
    # a server may send less than the rest: the length of such an answer is not the file's
    total = _range(reply)[1] or part.journal().total if offset else reply.length
    if total == 0:
        raise Failure("it sent an empty file", wrong=True)
    if total is not None and item.bytes is not None and total != item.bytes:
        raise Failure(f"it offers {total:,} bytes, the card says {item.bytes:,}", wrong=True)
    total = item.bytes if total is None else total
    return Length(total, total is not None or reply.chunked)


def is_page(reply: Reply, start: bytes, file: str) -> bool:
    """Whether a web page came in a file's place, by what the server says or by its first bytes."""
    if file.endswith((".html", ".htm")):
        return False
    return looks_like_page(start) or reply.headers.get_content_type() == "text/html"


def require_plain(reply: Reply, file: str) -> None:
    """Raises Failure for a body that is encoded, which was not asked for: its bytes are not the file's."""
    encoding = reply.headers.get("Content-Encoding", "").strip().lower()
    # of a .tgz some servers say that it is encoded, and mean the file itself
    own = file.endswith("gz") and encoding in ("gzip", "x-gzip")
    carried = reply.headers.get("Transfer-Encoding", "").strip().lower()
    for said, plain in ((encoding, own or encoding in ("", "identity")), (carried, reply.chunked or not carried)):
        if not plain:
            raise Failure(f"it sent the file encoded ({said[:40]}), which was not requested", wrong=True)


def require_kind(reply: Reply, start: bytes, file: str) -> None:
    """Raises Failure where text came in a binary file's place, such as the error of a programming interface."""
    kind = reply.headers.get_content_type()
    subtype = re.split(r"[/+]", kind)[-1]
    role = subtype if subtype in ("json", "xml") else "text" if kind.startswith("text/") else ""
    # for files of no known kind some servers say text/plain; no text has a NUL
    if role and role not in TEXTS.get(Path(file).suffix.lower(), ()) and b"\0" not in start:
        raise Failure(f"text ({kind[:40]}) came instead of the file", wrong=True)
