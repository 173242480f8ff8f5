"""Parts: the part of a file that has arrived, what of it is safe, and whether the rest belongs to the same version.

A system that loses its power keeps no promise about bytes that were not synced: the end of a file may be zeros. So the
part has a journal, `<file>.part.json`, which says how many of its bytes are synced and their SHA-256. It is written
after they are, and the next command goes on from there and from nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

from bench.base.errors import BadEnvironment
from bench.base.files import atomic_write
from bench.base.json_files import read_json

CHECKPOINT = 64 * 2**20
"""Bytes after which the part is synced and the journal written."""
INTERVAL = 30.0
"""Seconds after which they are, if fewer bytes came."""
LONGEST = 1 << 20
"""Bytes of a journal, or of a receipt."""
_READ = 1 << 20


@dataclass(frozen=True)
class Journal:
    """What is known of a part."""

    source: str | None = None
    """The address of the file that it is a part of."""
    validator: str | None = None
    """What tells this version of the file from another."""
    total: int | None = None
    """Bytes of the whole file."""
    synced: int = 0
    """Bytes at the beginning that have reached the disk."""
    sha256: str | None = None
    """Of these."""

    @classmethod
    def of(cls, entries: Any) -> Journal:
        """The journal with these entries; an empty one where they are not a journal's."""
        kinds = {"source": str, "validator": str, "total": int, "synced": int, "sha256": str}
        if not isinstance(entries, dict):
            return cls()
        sound = {name: entries[name] for name, kind in kinds.items() if type(entries.get(name)) is kind}
        journal = cls(**sound)
        return journal if journal.synced >= 0 else cls()


class Part:
    """`<file>.part`, and its journal beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done = (hashlib.sha256(), 0)
        """The hash of the bytes that were read or written, and how many they are."""

    @classmethod
    def of(cls, file: Path) -> Part:
        """The part of a file that is being fetched."""
        return cls(file.with_name(f"{file.name}.part"))

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def sha256(self) -> str:
        """Of all bytes that are there, once `resume` or `writer` has seen them."""
        return self.done[0].hexdigest()

    @property
    def _place(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def journal(self) -> Journal:
        """What is known; an empty journal where none is, or a damaged one."""
        try:
            return Journal.of(read_json(self._place, LONGEST))
        except (OSError, ValueError):
            return Journal()

    def resume(self, hashed: bool) -> int:
        """Cut the part to what its journal confirms; returns how many bytes were dropped that seemed to be there.

        Where the confirmed bytes are not what they were, all are dropped. A part without a journal, such as an older
        version left, stays only if `hashed`: a hash will tell whether the file is right.
        """
        journal, size = self.journal(), self.size
        keep = journal.synced if journal.sha256 else size if hashed else 0
        digest = self._digest(keep) if 0 < keep <= size else None
        if digest is None or journal.sha256 not in (None, digest.hexdigest()):
            self.discard()
            return size
        os.truncate(self.path, keep)
        self.done = (digest, keep)
        return size - keep

    def _digest(self, count: int) -> hashlib._Hash:
        digest = hashlib.sha256()
        with self.path.open("rb") as stream:
            while chunk := stream.read(min(_READ, count)):
                digest.update(chunk)
                count -= len(chunk)
        return digest

    def describe(self, source: str, validator: str | None, total: int | None) -> None:
        """Keep what the server said, before the first byte is kept."""
        self.write_journal(Journal(source, validator, total))

    def write_journal(self, journal: Journal) -> None:
        """Put the journal in place of an earlier one."""
        with atomic_write(self._place) as stream:
            stream.write(json.dumps(asdict(journal)).encode())

    @contextmanager
    def writer(self, offset: int, clock: Callable[[], float]) -> Iterator[Callable[[bytes], None]]:
        """Write on from `offset`, the end or 0. What was written is confirmed now and then, and however this ends.

        Raises BadEnvironment where the disk refuses.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not offset:
                self.done = (hashlib.sha256(), 0)
            with self.path.open("r+b" if offset else "wb", buffering=0) as stream:
                stream.seek(offset)
                stream.truncate()
                writing = _Writing(self, stream, clock)
                try:
                    yield writing.write
                finally:
                    writing.confirm()
        except OSError as error:
            raise BadEnvironment(
                f"cannot write {self.path}: {error.strerror or error}",
                "Free space, or choose another folder with --cache; the same command continues from there.",
            ) from error

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        self._place.unlink(missing_ok=True)
        self.done = (hashlib.sha256(), 0)

    def become(self, file: Path) -> None:
        """Whole and verified: take the file's place, at once."""
        self.path.replace(file)
        self._place.unlink(missing_ok=True)


class _Writing:
    """A part that is being written: confirmed after `CHECKPOINT` bytes or `INTERVAL` seconds."""

    def __init__(self, part: Part, stream: IO[bytes], clock: Callable[[], float]) -> None:
        self._part, self._stream, self._clock = part, stream, clock
        self._since, self._unsynced = clock(), 0

    def write(self, data: bytes) -> None:
        """Append the data."""
        while data:
            digest, size = self._part.done[0].copy(), self._part.done[1]
            count = self._stream.write(data)
            digest.update(data[:count])
            self._part.done = (digest, size + count)  # at once: an interruption may come between any two lines
            self._unsynced += count
            data = data[count:]
        if self._unsynced >= CHECKPOINT or self._clock() - self._since >= INTERVAL:
            self.confirm()

    def confirm(self) -> None:
        """Sync what was written, and only then say so in the journal."""
        if self._unsynced:
            digest, size = self._part.done
            os.fsync(self._stream.fileno())
            self._part.write_journal(replace(self._part.journal(), synced=size, sha256=digest.hexdigest()))
        self._since, self._unsynced = self._clock(), 0


def validator_of(headers: HTTPMessage) -> str | None:
    """What tells this version of the file from another: a strong ETag, else the time of change (RFC 9110 §13.1.5)."""
    etag = headers.get("ETag", "").strip()
    said = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    # it is sent back to the server: nothing that could be more than one header's value
    return said if re.fullmatch(r"[ -~]{1,1000}", said) else None
