"""Fetch: downloads one file, whole and verified, from the first of its mirrors that has it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.base.errors import BadEnvironment, BadInput
from bench.base.files import md5_file
from bench.download.answers import is_page, length_of, offset_of, require_kind, require_plain
from bench.download.drive import START, Answer, read_page
from bench.download.http import Reply, host, open_url
from bench.download.items import Item
from bench.download.network import Failure, Network
from bench.download.part_files import Part, validator_of
from bench.download.soundness import require_sound, shows_its_end

CHUNK = 1 << 18
PAGE = 1 << 17
"""Bytes of a web page that are read."""
PROGRESS = 1 << 20
"""Bytes after which a broken connection counts as a first one again."""
RESTARTS = 2
"""How often one mirror may begin anew after what it sent did not fit together."""


@dataclass(frozen=True)
class Expected:
    """The hash a file must have, and who says so."""

    digest: str
    """All of it, or how it begins."""
    source: str
    remedy: str = ""
    """What to do if the file has another one."""
    md5: bool = False
    """Whether the hash is an MD5, not a SHA-256."""

    def mismatch(self, path: Path, sha256: str) -> str | None:
        """In words, that a file (whose SHA-256 is known already) has another hash; None where it has this one."""
        found = md5_file(path) if self.md5 else sha256
        if found.startswith(self.digest):
            return None
        name = "MD5" if self.md5 else "SHA-256"
        return f"its {name} is {found[:12]}…, the one {self.source} is {self.digest[:12]}…"


@dataclass(frozen=True)
class Fetched:
    """A file that came."""

    url: str
    sha256: str
    vouched: bool
    """Whether a hash, the card or the server says that this is all of it."""


@dataclass
class _Course:
    """How the requests to one mirror have gone."""

    reached: int
    """The most bytes that there have ever been."""
    fruitless: int = 0
    """Requests that brought nothing new, one after the other."""
    lost: float = 0.0
    """Seconds that these took."""
    restarts: int = 0

    def note(self, size: int, seconds: float) -> None:
        """A request failed after so many seconds, and there are so many bytes now."""
        if size - self.reached >= PROGRESS:
            self.fruitless, self.lost = 0, 0.0
        else:
            self.lost += seconds
        self.reached = max(self.reached, size)


def fetch(item: Item, expected: Expected | None, network: Network) -> Fetched:
    """Bring `item.path`, going on where an earlier attempt broke off.

    Raises BadEnvironment where the network or the servers failed, BadInput where all that came was not the
    file; both name each mirror's reason and the manual way. What has come is kept, unless it is wrong.
    """
    part = Part.of(item.path)
    if dropped := part.resume(expected is not None):
        network.warn(
            f"{item.file}: {dropped:,} bytes of an earlier download are fetched again, for nothing shows that they "
            "are what came"
        )
    failures: list[tuple[str, Failure]] = []
    for url in item.urls:
        try:
            vouched = _from_mirror(url, item, part, expected, network)
        except Failure as failure:
            failures.append((url, failure))
            if url != item.urls[-1]:
                network.warn(f"{item.file} from {host(url)}: {failure.reason}; trying the next mirror")
        else:
            part.become(item.path)
            return Fetched(url, part.sha256, vouched or expected is not None)
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


def _from_mirror(url: str, item: Item, part: Part, expected: Expected | None, network: Network) -> bool:
    """Make the part whole; returns whether its length is vouched for.

    Raises Failure once the mirror is not worth another try.
    """
    address, course = url, _Course(part.size)
    while True:
        before, begun = part.size, network.clock()
        try:
            answer = _transfer(url, address, item, part, expected is not None, network)
            if isinstance(answer, bool):
                _verify(item, part, before, expected, answer)
                return answer
            if answer.confirmed is None or address != url:
                raise Failure(answer.reason, wrong=True)
            address = answer.confirmed
        except Failure as failure:
            course.note(part.size, network.clock() - begun)
            if failure.anew and course.restarts < RESTARTS:
                course.restarts += 1
            elif failure.again:
                course.fruitless += 1
                _wait_after(failure, course, network)
            else:
                raise


def _wait_after(failure: Failure, course: _Course, network: Network) -> None:
    """Sleep as long as the server wants, else twice as long as last time. Raises Failure once patience is at an end."""
    if course.fruitless >= network.attempts or course.lost >= network.patience:
        times = f" ({course.fruitless} times)" if course.fruitless > 1 else ""
        raise Failure(f"{failure.reason}{times}") from failure
    wait = 2.0 ** (course.fruitless - 1) if failure.wait is None else failure.wait
    if wait > network.longest_wait:
        raise Failure(f"{failure.reason} and asks for a pause of {wait:.0f} seconds") from failure
    network.sleep(wait)


def _verify(item: Item, part: Part, before: int, expected: Expected | None, vouched: bool) -> None:
    """Raises Failure for a part that is not the file, which is discarded.

    One that was made of two pieces is worth another try. Where no hash tells, the file's own format must show that it
    is sound, and, where nobody said how long it is, whole.
    """
    problem, pieces = None, before > 0
    if expected is not None:
        problem = expected.mismatch(part.path, part.sha256)
    elif not (vouched or shows_its_end(item)):
        problem = "neither it nor the card says how long the file is, so nothing shows whether all of it came"
    elif not item.unpack:
        try:
            require_sound(part.path, item)
        except BadInput as error:
            problem = f"{error.problem.replace(str(part.path), 'what it sent')}; it is not kept, and not pinned"
    if problem is not None:
        part.discard()
        raise Failure(problem, anew=pieces, wrong=True)


def _transfer(source: str, address: str, item: Item, part: Part, hashed: bool, network: Network) -> Answer | bool:
    """Bring the rest of the part; returns whether its length is vouched for, or what the web page says that came.

    `hashed`: a hash will tell whether the pieces belong together. Raises Failure.
    """
    have, headers = _resumption(source, part, hashed)
    if have and have == part.journal().total:
        return True
    try:
        reply = open_url(address, headers, network)
    except Failure as failure:
        if failure.status == 416 and have:
            part.discard()
            raise Failure("it cannot send the rest of the file", anew=True) from failure
        raise
    with reply:
        require_plain(reply, item.file)
        offset = offset_of(reply, have, source, part)
        start = _read_until(reply, START)
        if is_page(reply, start, item.file):
            return read_page(_read_until(reply, PAGE, start).decode("utf-8", "replace"), reply.url)
        require_kind(reply, start, item.file)
        length = length_of(reply, offset, item, part)
        if have and not offset:
            network.warn(
                f"{item.file}: {host(source)} cannot continue, or the file has changed; the download starts again"
            )
        if not offset:
            part.discard()
            item.path.parent.mkdir(parents=True, exist_ok=True)
            part.describe(source, validator_of(reply.headers), length.total)
        _require_space(item, (length.total or 0) - offset)
        _copy(reply, start, part, offset, length.total, network, f"fetching {item.file}")
    return length.vouched


def _resumption(source: str, part: Part, hashed: bool) -> tuple[int, dict[str, str]]:
    """How much of the part can stay, and the headers that ask for the rest of the same version of the file."""
    have, journal = part.size, part.journal()
    validator = journal.validator if journal.source == source else None
    if have and validator:
        return have, {"Range": f"bytes={have}-", "If-Range": validator}
    if have and hashed:
        return have, {"Range": f"bytes={have}-"}
    return 0, {}


def _read_until(reply: Reply, count: int, data: bytes = b"") -> bytes:
    """The data and what follows it, until they are at least `count` bytes or the answer ends."""
    while len(data) < count and (chunk := reply.read(CHUNK)):
        data += chunk
    return data


def _copy(reply: Reply, start: bytes, part: Part, offset: int, total: int | None, network: Network, what: str) -> None:
    """Append the answer's body. Raises Failure unless exactly what was announced came."""
    done, chunk, announced = offset, start, reply.length is not None
    most = network.most if total is None else total
    with part.writer(offset, network.clock) as write:
        while chunk and done + len(chunk) <= most:
            write(chunk)
            done += len(chunk)
            if network.progress:
                network.progress(what, done, total)
            # not a byte beyond the length: a server that keeps the line open would let us wait
            chunk = reply.read(min(CHUNK, most - done) if announced else CHUNK)
    if chunk:
        part.discard()
        raise Failure(_too_much(total, most), wrong=True)
    if total is not None and done < total:
        raise Failure(f"the connection broke after {done:,} of {total:,} bytes", again=True)
    if done == 0:
        raise Failure("it sent an empty file", wrong=True)


def _too_much(total: int | None, most: int) -> str:
    if total is not None:
        return f"it sends more than the {total:,} bytes of the file"
    return f"it sends more than {most:,} bytes, and neither it nor the card (`bytes`) says how long the file is"


def _require_space(item: Item, needed: int) -> None:
    free = shutil.disk_usage(item.path.parent).free
    if needed > free:
        raise BadEnvironment(
            f"{item.file} needs {needed:,} more bytes, {item.path.parent} has {free:,} left",
            "Free space, or choose another folder with --cache.",
        )
