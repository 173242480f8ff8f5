"""Receipts: the outcome of reading a checkpoint, kept so that a run that uses only the cache need not read it.

A receipt belongs to a file's content, by its hash. It has nothing that the file itself does not say, and a damaged
receipt is made again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bench.base.own_files import load_json, save_json

READER_VERSION = 1
"""Raised whenever reading, recognising or drawing weights would come to something else."""


def find(cache: Path, subject: dict[str, Any]) -> dict[str, Any] | None:
    """What was kept of a subject (plain JSON values, the weights' hash or seed among them); None where nothing was."""
    return load_json(_path(cache, subject))


def keep(cache: Path, subject: dict[str, Any], found: dict[str, Any]) -> None:
    """Keep what a subject came to."""
    save_json(_path(cache, subject), found)


def _path(cache: Path, subject: dict[str, Any]) -> Path:
    text = json.dumps([READER_VERSION, subject], sort_keys=True)
    return cache / "networks" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
