"""Parts: the part of a file that has arrived, and how to tell whether the rest belongs to the same version."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

from bench.base.errors import BadEnvironment
from bench.base.files import atomic_write


@dataclass(frozen=True)
class Part:
    """`<file>.part`, and beside it `<file>.part.json`: address, validator and length of the file it is a part of."""

    path: Path

    @classmethod
    def of(cls, file: Path) -> Part:
        """The part of a file that is being fetched."""
        return cls(file.with_name(f"{file.name}.part"))

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def note(self) -> dict[str, Any]:
        """What is known of the file: `source`, `validator`, `total`; empty where nothing is."""
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def describe(self, source: str, validator: str | None, total: int | None) -> None:
        """Keep what the server said, before the first byte is kept."""
        with atomic_write(self._note) as stream:
            stream.write(json.dumps({"source": source, "validator": validator, "total": total}).encode())

    @contextmanager
    def writer(self, offset: int) -> Iterator[IO[bytes]]:
        """Write on from `offset`; what lay behind it is dropped. Raises BadEnvironment where the disk refuses."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if offset else "wb") as stream:
                stream.seek(offset)
                stream.truncate()
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise BadEnvironment(
                f"cannot write {self.path}: {error.strerror or error}",
                "Free space, or choose another folder with --cache; the same command continues from there.",
            ) from error

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def become(self, file: Path) -> None:
        """Whole and verified: take the file's place, at once."""
        self.path.replace(file)
        self._note.unlink(missing_ok=True)


def validator_of(headers: HTTPMessage) -> str | None:
    """What tells this version of the file from another: a strong ETag, else the time of change (RFC 9110 §13.1.5)."""
    etag = headers.get("ETag", "").strip()
    if etag and not etag.startswith("W/"):
        return etag
    return headers.get("Last-Modified")
