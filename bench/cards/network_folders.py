"""Network folders: folders with a network of another library in them, and what `--model` calls those."""

from __future__ import annotations

from pathlib import Path

from bench.base.errors import BenchError
from bench.base.paths import expand

_HOLDS = {"hf": ("config.json", ""), "hub": ("hubconf.py", ":ENTRY")}
"""Scheme → the file by which a folder is known as one of its networks, and what follows the folder's name."""


def network_in(folder: str | Path) -> str:
    """`hf:./FOLDER` or `hub:./FOLDER:ENTRY` for a folder that such a library reads; empty for any other path."""
    try:
        path = expand(str(folder))
        scheme = next((one for one, (file, _) in _HOLDS.items() if (path / file).is_file()), None)
    except (BenchError, OSError, ValueError):  # at such a path nothing can lie
        return ""
    if scheme is None:
        return ""
    named = str(path) if path.is_absolute() or str(path).startswith("..") else f"./{path.as_posix()}"
    return f"{scheme}:{named}{_HOLDS[scheme][1]}"


def meant(folder: str | Path) -> str:
    """The beginning of a remedy, where a name is that of such a folder: a sentence and a space; else empty."""
    named = network_in(folder)
    return f"For the network in the folder of that name, write {named}. " if named else ""
