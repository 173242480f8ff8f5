"""Strangers' code: code of a hub runs only where the user says so, and the record then says so, with its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from bench.base.errors import BadInput
from bench.base.files import sha256_file
from bench.networks.libraries.request import Request

_MOST_FILES = 20_000
_MOST_BYTES = 64 << 20
"""Of one file of code."""


def require_trust(request: Request, where: str) -> None:
    """Raises BadInput unless the user lets the code of a hub run. `where` it can be read: an address or a folder."""
    if not request.trust_code:
        raise BadInput(
            f"{request.text} needs code of {where}, which then does whatever you may do on this machine",
            "Read the code, and give --trust-code if you trust it; the record says that it ran.",
        )


def about_code(folder: Path) -> dict[str, Any]:
    """What the record says of code that runs, and what tells it from any other."""
    return {"trusted_code": True, "code_sha256": hash_code(folder)}


def hash_code(folder: Path) -> str:
    """SHA-256 over the names and hashes of a folder's files of Python and of settings, without what Python compiles.

    Raises BadInput for a folder of far too many files.
    """
    kinds = {".py", ".json", ".yaml", ".yml", ".toml", ".cfg", ".txt"}
    files = []
    for path in folder.rglob("*"):
        if path.suffix in kinds and not {"__pycache__", ".git"} & set(path.parts) and path.is_file():
            files.append(path)
        if len(files) > _MOST_FILES:
            raise BadInput(f"{folder} has more than {_MOST_FILES:,} files of code", "Name the folder of the network.")
    lines = [f"{path.relative_to(folder).as_posix()} {sha256_file(path, _MOST_BYTES)}" for path in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
