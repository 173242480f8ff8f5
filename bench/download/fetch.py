"""Fetch: downloads one file, whole and verified, from the first of its mirrors that has it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from bench.base.errors import BadEnvironment, BadInput, Warn
from bench.base.files import md5_file, sha256_file
from bench.download.drive import Answer, looks_like_page, read_page
from bench.download.http import NETWORK, Failure, fail, host, open_url
from bench.download.items import Item
from bench.download.part_files import Part, validator_of

CHUNK = 1 << 18
PROGRESS = 1 << 20
"""Bytes after which a broken connection counts as a first one again."""

TEXTS = {
    ".json": ("json", "text"), ".jsonl": ("json", "text"), ".xml": ("xml", "text"), ".svg": ("xml", "text"),
} | dict.fromkeys((".txt", ".csv", ".tsv", ".md", ".lst", ".yaml", ".yml", ".toml"), ("text",))  # fmt: skip
"""Endings of files that are text, and as what kinds of it servers send them. All others are binary."""

RESTARTS = 2
"""How often one mirror may begin anew after what it sent did not fit together."""

Show = Callable[[str, int, int | None], None]
"""Takes what is being done, the bytes that are done, and how many there are, if that is known."""


@dataclass(frozen=True)
class Network:
    """How patient to be, and whom to tell. Times in seconds."""

    attempts: int = 4
    """Requests to one mirror that bring nothing new before the next is tried."""
    timeout: float = 30.0
    """For every wait on the socket."""
    longest_wait: float = 120.0
    """A server that wants to be asked later than this is given up."""
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    warn: Warn = lambda message: None
    progress: Show | None = None


@dataclass(frozen=True)
class Expected:
    """The hash a file must have, and who says so."""

    digest: str
    source: str
    remedy: str = ""
    """What to do if the file has another one."""
    md5: bool = False
    """Whether the hash is an MD5, not a SHA-256."""

    def mismatch(self, path: Path, sha256: str) -> str | None:
        """In words, that a file (whose SHA-256 is known already) has another hash; None where it has this one."""
        found = md5_file(path) if self.md5 else sha256
        if found == self.digest:
            return None
        name = "MD5" if self.md5 else "SHA-256"
        return f"its {name} is {found[:12]}…, the one {self.source} is {self.digest[:12]}…"


@dataclass(frozen=True)
class Fetched:
    """A file that came."""

    url: str
    sha256: str


def fetch(item: Item, expected: Expected | None, network: Network) -> Fetched:
    """Bring `item.path`, going on where an earlier attempt broke off.

    Raises BadEnvironment where the network or the servers failed, BadInput where all that came was not the
    file; both name each mirror's reason and the manual way. What has come is kept, unless it is wrong.
    """
    part = Part.of(item.path)
    failures: list[tuple[str, Failure]] = []
    for url in item.urls:
        try:
            digest = _from_mirror(url, item, part, expected, network)
        except Failure as failure:
            failures.append((url, failure))
            if url != item.urls[-1]:
                network.warn(f"{item.file} from {host(url)}: {failure.reason}; trying the next mirror")
        else:
            part.become(item.path)
            return Fetched(url, digest)
    raise _explained(item, part, failures, expected.remedy if expected else "")


def _explained(item: Item, part: Part, failures: list[tuple[str, Failure]], remedy: str) -> BadInput | BadEnvironment:
    reasons = "; ".join(f"{host(url)}: {failure.reason}" for url, failure in failures)
    wrong = any(failure.wrong for _, failure in failures)
    kept = (
        f"The {part.size:,} bytes that arrived are kept, and the same command continues from there. "
        if part.size
        else ""
    )
    kind = BadInput if all(failure.wrong for _, failure in failures) else BadEnvironment
    return kind(
        f"{item.file} of {item.card} could not be fetched: {reasons}",
        f"{remedy + ' ' if remedy and wrong else ''}{kept}"
        f"By hand: open {item.page} in a browser, save the file as {item.path}, and run the same command again.",
    )


def _from_mirror(url: str, item: Item, part: Part, expected: Expected | None, network: Network) -> str:
    """The hash of the part, now whole. Raises Failure once the mirror is not worth another try."""
    address, fruitless, restarts = url, 0, 0
    while True:
        before = part.size
        try:
            answer = _transfer(url, address, item, part, expected is not None, network)
            if answer is None:
                return _verified(part, before, expected)
            if answer.confirmed is None or address != url:
                raise Failure(answer.reason, wrong=True)
            address = answer.confirmed
        except Failure as failure:
            if failure.anew and restarts < RESTARTS:
                restarts += 1
            elif failure.again:
                fruitless = 1 if part.size - before >= PROGRESS else fruitless + 1
                _wait_after(failure, fruitless, network)
            else:
                raise


def _wait_after(failure: Failure, fruitless: int, network: Network) -> None:
    """Sleep as long as the server wants, else twice as long as last time. Raises Failure once patience is at an end."""
    if fruitless >= network.attempts:
        raise Failure(f"{failure.reason} ({fruitless} times)") from failure
    wait = 2.0 ** (fruitless - 1) if failure.wait is None else failure.wait
    if wait > network.longest_wait:
        raise Failure(f"{failure.reason} and asks for a pause of {wait:.0f} seconds") from failure
    network.sleep(wait)


def _verified(part: Part, before: int, expected: Expected | None) -> str:
    """The part's hash. One that is wrong is discarded, and worth another try if it was made of two pieces."""
    digest = sha256_file(part.path)
    problem = expected.mismatch(part.path, digest) if expected else None
    if problem is None:
        return digest
    part.discard()
    raise Failure(problem, anew=before > 0, wrong=True)


def _transfer(source: str, address: str, item: Item, part: Part, hashed: bool, network: Network) -> Answer | None:
    """Bring the rest of the part, or what the web page says that came instead.

    `hashed`: a hash will tell whether the pieces belong together. Raises Failure.
    """
    have, headers = _resumption(source, part, hashed)
    if have and have == part.note().get("total"):
        return None
    try:
        response = open_url(address, headers, network.timeout, network.now())
    except Failure as failure:
        if failure.status == 416 and have:
            part.discard()
            raise Failure("it cannot send the rest of the file", anew=True) from failure
        raise
    with response:
        _require_plain(response, item.file)
        offset = _offset(response, have, source, part)
        first = _read(response, CHUNK, network)
        if _is_page(response, first, item.file):
            return read_page(_page(response, first, network), response.url)
        _require_kind(response, first, item.file)
        total = _total(response, offset, item)
        if have and not offset:
            network.warn(
                f"{item.file}: {host(source)} cannot continue, or the file has changed; the download starts again"
            )
        if not offset:
            part.discard()
            item.path.parent.mkdir(parents=True, exist_ok=True)
            part.describe(source, validator_of(response.headers), total)
        _require_space(item, (total or 0) - offset)
        _copy(response, first, part, offset, total, network, f"fetching {item.file}")
    return None


def _resumption(source: str, part: Part, hashed: bool) -> tuple[int, dict[str, str]]:
    """How much of the part can stay, and the headers that ask for the rest of the same version of the file."""
    have, note = part.size, part.note()
    validator = note.get("validator") if note.get("source") == source else None
    if have and validator:
        return have, {"Range": f"bytes={have}-", "If-Range": str(validator)}
    if have and hashed:
        return have, {"Range": f"bytes={have}-"}
    return 0, {}


def _offset(response: HTTPResponse, have: int, source: str, part: Part) -> int:
    """Where in the file the answer begins: 0 where the server ignored the range or the file has changed."""
    if response.status != 206:
        return 0
    note, validator = part.note(), validator_of(response.headers)
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    fits = match is not None and int(match[1]) == have > 0
    if match and match[2] != "*" and note.get("total") is not None:
        fits = fits and int(match[2]) == note["total"]
    if note.get("source") == source and note.get("validator") and validator:
        fits = fits and validator == note["validator"]
    if not fits:
        part.discard()
        raise Failure("it sent another part of the file than the requested one", anew=True)
    return have


def _total(response: HTTPResponse, offset: int, item: Item) -> int | None:
    """The length of the whole file. Raises Failure where it is not the one on the card."""
    length = response.headers.get("Content-Length", "")
    chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    total = offset + int(length) if length.isdecimal() and not chunked else item.bytes
    if total is not None and item.bytes is not None and total != item.bytes:
        raise Failure(f"it offers {total:,} bytes, the card says {item.bytes:,}", wrong=True)
    if total == 0:
        raise Failure("it sent an empty file", wrong=True)
    return total


def _is_page(response: HTTPResponse, first: bytes, file: str) -> bool:
    """Whether a web page came in a file's place, by what the server says or by its first bytes."""
    if file.endswith((".html", ".htm")):
        return False
    return looks_like_page(first) or response.headers.get_content_type() == "text/html"


def _require_plain(response: HTTPResponse, file: str) -> None:
    """Raises Failure for a body that is encoded, which was not asked for: its bytes are not the file's."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    # of a .tgz some servers say that it is encoded, and mean the file itself
    own = file.endswith("gz") and encoding in ("gzip", "x-gzip")
    if encoding not in ("", "identity") and not own:
        raise Failure(f"it sent the file encoded ({encoding[:40]}), which was not requested", wrong=True)


def _require_kind(response: HTTPResponse, first: bytes, file: str) -> None:
    """Raises Failure where text came in a binary file's place, such as the error of a programming interface."""
    kind = response.headers.get_content_type()
    subtype = re.split(r"[/+]", kind)[-1]
    role = subtype if subtype in ("json", "xml") else "text" if kind.startswith("text/") else ""
    # for files of no known kind some servers say text/plain; no text has a NUL
    if role and role not in TEXTS.get(Path(file).suffix.lower(), ()) and b"\0" not in first:
        raise Failure(f"text ({kind[:40]}) came instead of the file", wrong=True)


def _page(response: HTTPResponse, first: bytes, network: Network) -> str:
    """The page's text, at most 1 MB of it."""
    text, chunk = first, first
    while chunk and len(text) < 4 * CHUNK:
        chunk = _read(response, CHUNK, network)
        text += chunk
    return text.decode("utf-8", "replace")


def _copy(
    response: HTTPResponse, first: bytes, part: Part, offset: int, total: int | None, network: Network, what: str
) -> None:
    """Append the answer's body. Raises Failure unless exactly what was announced came."""
    done, chunk, announced = offset, first, response.length
    with part.writer(offset) as out:
        while chunk and (total is None or done + len(chunk) <= total):
            out.write(chunk)
            done += len(chunk)
            if network.progress:
                network.progress(what, done, total)
            # not a byte beyond the length: a server that keeps the line open would let us wait
            chunk = _read(response, CHUNK if total is None or announced is None else min(CHUNK, total - done), network)
    if chunk:
        part.discard()
        raise Failure(f"it sends more than the {total:,} bytes of the file", wrong=True)
    if total is not None and done < total:
        raise Failure(f"the connection broke after {done:,} of {total:,} bytes", again=True)
    if done == 0:
        raise Failure("it sent an empty file", wrong=True)


def _read(response: HTTPResponse, count: int, network: Network) -> bytes:
    """What has arrived, at most `count` bytes; empty at the end."""
    try:
        return response.read1(count) if count else b""
    except NETWORK as error:
        fail(error, network.timeout)


def _require_space(item: Item, needed: int) -> None:
    free = shutil.disk_usage(item.path.parent).free
    if needed > free:
        raise BadEnvironment(
            f"{item.file} needs {needed:,} more bytes, {item.path.parent} has {free:,} left",
            "Free space, or choose another folder with --cache.",
        )
