"""Locate: finds the samples of a split, also if the user names no folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.base.errors import BadInput
from bench.base.parallel import Progress
from bench.base.paths import expand
from bench.cards.datasets import DatasetCard
from bench.cards.local_files import card_name, local_root
from bench.data.samples import Samples, open_split
from bench.data.sequences import open_videos

SHAPES_VERSION = 1
"""In the cache folder's name: raised when the generator draws other pixels."""


class NoDataRoot(BadInput):
    """Nobody said where a data set lies."""


def find_samples(
    card: DatasetCard, split: str, root: Path | None, cache: Path, progress: Progress | None = None
) -> Samples:
    """The samples of a split: from `root`, the card's own root, or the cache, generated or downloaded."""
    if card.generator == "shapes" and root is None:
        root = _written_shapes(card, split, cache, progress)
    if root is None:
        root = local_root(card, cache)
    if root is None:
        fetch = f"`bench download {shlex.quote(card_name(card))}` fetches it. Or g" if card.downloads else "G"
        raise NoDataRoot(
            f"no data root for {card.id}: bench does not know where {card.title} is on this machine",
            f'{fetch}ive its folder with --data-root, or in bench.toml: [data_roots] {card.id} = "/path"',
        )
    find = open_videos if card.kind == "video" else open_split
    return find(card, split, expand(root))


def _written_shapes(card: DatasetCard, split: str, cache: Path, progress: Progress | None) -> Path:
    """Write a split of the built-in data set if it is not there yet; returns its root."""
    from bench.data.shapes_files import write_split

    root = cache / "datasets" / f"{card.id}-v{SHAPES_VERSION}"
    entry = card.splits.get(split)
    if entry is not None and entry.images is not None:
        total = entry.images
        write_split(root, split, total, (lambda done: progress(done, total)) if progress else None)
    return root
