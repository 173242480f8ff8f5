"""What a protocol does, in plain words: `explained.toml` beside its preset, for `bench show` and the site's pages.

The file has a table for each protocol of its folder:

    [clustering]
    fitted = "What is fitted, on what."
    labels = "Which labels are read, and for what."
    counted = "What is counted, at which size."
    matched = "How clusters or predictions meet classes."
    surprises = ["What nobody would expect.", …]

Another package's protocol may have such a file in the package of its preset's module. It need not: without one there is
nothing to say.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from importlib.resources import as_file, files

from bench.base.toml_files import read_toml
from bench.protocols import registry

FILE = "explained.toml"
PARTS = {"fitted": "What is fitted", "labels": "Which labels", "counted": "What is counted", "matched": "Matching"}
"""Key of each part → its heading."""


@dataclass(frozen=True)
class Explanation:
    """A protocol in plain words."""

    parts: tuple[tuple[str, str], ...]
    """Heading and text of each part, in their order."""
    surprises: tuple[str, ...]


@functools.cache
def explanation(protocol: str) -> Explanation | None:
    """The explanation of a protocol by its id; None where it has none, with a warning where its file cannot be read."""
    entry = registry.protocols().get(protocol)
    package = entry.preset.partition(":")[0].rpartition(".")[0] if entry else ""
    if not package:
        return None
    try:
        file = files(package) / FILE
        if not file.is_file():
            return None
        with as_file(file) as path:
            return _read(read_toml(path).get(protocol))
    except Exception as error:  # noqa: BLE001  a stranger's package must not end every command
        warnings.warn(f"{FILE} of the protocol '{protocol}' was left out: {error}", stacklevel=2)
        return None


def _read(table: object) -> Explanation | None:
    if table is None:
        return None
    if not isinstance(table, dict) or not all(isinstance(table.get(key, ""), str) for key in PARTS):
        raise ValueError("its table must have texts")
    surprises = table.get("surprises", [])
    if not isinstance(surprises, list) or not all(isinstance(one, str) for one in surprises):
        raise ValueError("`surprises` must be a list of texts")
    parts = tuple((heading, table[key]) for key, heading in PARTS.items() if table.get(key))
    return Explanation(parts, tuple(surprises))
