"""First look: what the beginnings of a data set's files show that people should know of.

A sample of the files is opened, the same one in every run, so that a run from the cache says what the first run said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from bench.base.files import open_regular
from bench.base.parallel import default_workers
from bench.cards.datasets import DatasetCard
from bench.data.label_palettes import colours_in
from bench.data.listings import evenly
from bench.data.palette import palette_of
from bench.data.picture_files import exif_orientation, format_of, png_part
from bench.data.samples import Samples

LOOKED_AT = 100
"""So many samples are looked at, spread evenly over a split."""
HEAD = 1 << 16
"""Bytes of a JPEG that are read: an EXIF block is no longer, and comes first."""
WHOLE = 1 << 24
"""Bytes of other files that are read: EXIF may stand behind the pixels of a WebP or PNG."""


def oddities(samples: Samples) -> list[str]:
    """What a run on these samples should say, in words: images to turn, and palettes that differ. Often nothing."""
    card = samples.card
    if card.kind != "images" or not len(samples):
        return []
    chosen = [samples.entries[place] for place in evenly(len(samples), LOOKED_AT)]
    found: list[str] = []
    with ThreadPoolExecutor(default_workers(), "bench-loader") as pool:
        if card.orientation is None:
            images = [sample.image for sample in chosen]
            found += _turned(images, pool.map(_head, images))
        if _reads_indices(card):
            labels = [sample.label for sample in chosen if sample.label is not None]
            found += _palettes(labels, pool.map(_head, labels), card)
    return found


def _reads_indices(card: DatasetCard) -> bool:
    return card.labels.encoding == "index" and card.generator is None


def _head(path: Path) -> bytes:
    """The beginning of a file, or all of it; nothing of one that cannot be read, which is said when it is decoded."""
    with suppress(OSError, ValueError), open_regular(path) as stream:
        head = stream.read(HEAD)
        return head if format_of(head) == "JPEG" else head + stream.read(WHOLE)
    return b""


def _turned(paths: Sequence[Path], heads: Iterator[bytes]) -> list[str]:
    turned = [path for path, head in zip(paths, heads, strict=True) if _orientation(head) != 1]
    if not turned:
        return []
    return [
        f"{len(turned)} of {len(paths)} images looked at have an EXIF orientation, {turned[0].name} first: images are "
        'turned upright, as viewers show them; orientation = "stored" in the card reads them as their pixels lie'
    ]


def _orientation(head: bytes) -> int:
    """The EXIF orientation in the beginning of a JPEG, or in a PNG or WebP file."""
    if format_of(head) == "PNG":
        return exif_orientation(png_part(head, b"eXIf"))
    for mark in (b"Exif\0\0", b"EXIF"):
        _, found, block = head.partition(mark)
        if found:
            return exif_orientation(block[4:] if mark == b"EXIF" else block)
    return 1


def _palettes(paths: Sequence[Path], heads: Iterator[bytes], card: DatasetCard) -> list[str]:
    """The files are opened only where their beginnings differ, from each other or from the card's colours.

    Entries that no pixel has may differ.
    """
    own = b"" if card.labels.map else palette_of(card)[: 3 * len(card.classes)]
    longest, differ = b"", False
    for palette in map(palette_in, heads):
        differ |= not (_agree(palette, longest) and _agree(palette, own))
        longest = max(longest, palette, key=len)
    if not differ:
        return []
    colours = colours_in(paths)
    if conflict := colours.conflict():
        return [conflict]
    exchanged = colours.exchanged(card) if own else ""
    return [
        f"the masks have the colours of the classes in another order ({exchanged}): is an index the class that the "
        'card has at that place? If colours are the classes, labels.encoding = "colour" in the card reads them'
    ] * bool(exchanged)


def _agree(one: bytes, other: bytes) -> bool:
    """Whether two palettes are the same as far as both go."""
    common = min(len(one), len(other))
    return one[:common] == other[:common]


def palette_in(head: bytes) -> bytes:
    """The palette in the beginning of a PNG, RGB after RGB; empty where it has none."""
    match = re.search(rb"(?s)(....)PLTE", head) if head[:8] == b"\x89PNG\r\n\x1a\n" and head[25:26] == b"\3" else None
    return head[match.end() : match.end() + int.from_bytes(match[1])] if match else b""
