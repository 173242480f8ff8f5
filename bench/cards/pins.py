"""Pins: if no hash was published, the hash seen first is kept in the cache, and later files must have it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.base.errors import BadInput
from bench.base.files import atomic_write, locked, said
from bench.base.json_files import read_json

_LONGEST = 16 << 20
"""Bytes of all pins; one has some 300."""
BY_HAND = "a file put there by hand"
_KINDS = {"sha256": str, "bytes": int, "source": str, "date": str}
"""What a pin has in the file."""


@dataclass(frozen=True)
class Pin:
    """What was seen first."""

    sha256: str
    bytes: int
    source: str
    """The address it came from, or `BY_HAND`."""
    date: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class Pins:
    """The pins in `<cache>/downloads/pins.json`, by the key of the item."""

    cache: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.cache / "downloads" / "pins.json"

    def find(self, key: str) -> Pin | None:
        """The pin of an item. Raises BadInput for a file that is damaged: a pin must not get lost silently."""
        entries = self._read()
        if key not in entries:
            return None
        entry = entries[key]
        if not isinstance(entry, dict) or {name: type(value) for name, value in entry.items()} != _KINDS:
            raise self._damaged(f"'{key}' is not a pin")
        return Pin(**entry)

    def keep(self, key: str, sha256: str, size: int, source: str) -> Pin:
        """Pin a hash, in place of an earlier one if there is one."""
        pin = Pin(sha256, size, source, datetime.now(UTC).isoformat(timespec="seconds"))
        with locked(
            self.path.with_suffix(".lock"),
            60.0,
            "the list of pins is in use",
            "Wait for the other `bench download` to end.",
        ):
            entries = self._read() | {key: vars(pin)}
            with atomic_write(self.path) as stream:
                stream.write(json.dumps(entries, indent=1, sort_keys=True).encode())
        return pin

    def _read(self) -> dict[str, Any]:
        try:
            entries = read_json(self.path, _LONGEST)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._damaged(said(error)) from error
        if not isinstance(entries, dict):
            raise self._damaged("it is not a table")
        return entries

    def _damaged(self, why: str) -> BadInput:
        return BadInput(
            f"{self.path} is damaged: {why}",
            "Correct it, or remove it: the hashes seen next are then pinned.",
        )
