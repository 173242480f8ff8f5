"""Soundness: whether a file that nobody published a hash of is whole, by its own format.

What is pinned as first seen is taken for the right file from then on, so a damaged one must not be.
"""

from __future__ import annotations

from pathlib import Path

from bench.base.archives import read_through
from bench.base.errors import BadInput
from bench.cards.files import ARCHIVES
from bench.download.drive import START, looks_like_page
from bench.download.items import Item


def shows_its_end(item: Item) -> bool:
    """Whether a file of this kind shows by itself that nothing of it is missing: weights and archives do."""
    return item.weights or item.file.endswith(ARCHIVES)


def require_sound(path: Path, item: Item) -> None:
    """Raises BadInput for a file at `path` that is damaged, or not of the item's kind.

    Weights are opened by a reader that runs no code, archives are read through, each member against its checksum. Of
    other files it is only certain that they are no web page.
    """
    with path.open("rb") as stream:
        start = stream.read(START)
    if looks_like_page(start) and not item.file.endswith((".html", ".htm")):
        raise BadInput(f"{path} is a web page, not the file")
    if item.weights:
        from bench.networks.checkpoint_files import read_content

        read_content(path)
    elif item.file.endswith(ARCHIVES):
        read_through(path)
