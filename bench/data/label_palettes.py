"""Label palettes: whether an index has the same colour in all masks of a data set, as one class would have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data.listings import evenly
from bench.data.picture_files import DAMAGED_IMAGE

LOOKED_AT = 32
"""So many labels of a split are opened for their palettes."""
LARGEST = 1 << 26
"""Labels of more pixels are not opened for that."""
_HEAD = 29
"""Bytes of a PNG up to where its header ends: signature, length, "IHDR", width, height, bit depth, colour type, …"""
_INDEXED = 3
"""The colour type of a PNG with a palette."""

Colour = tuple[int, int, int]


@dataclass
class PaletteColours:
    """The colours that palettes give to the indices that masks hold."""

    first: dict[int, tuple[Colour, str]] = field(default_factory=dict)
    """Index → its colour in the first mask that holds it, and that mask."""
    other: dict[int, tuple[Colour, str]] = field(default_factory=dict)
    """Index → another colour that it has, and in which mask first."""

    def add(self, file: str, indices: Iterable[int], palette: bytes) -> None:
        """Take in the indices that a mask holds; `palette` has three bytes for each index from 0 on."""
        for index in indices:
            if len(palette) < 3 * index + 3:
                continue
            red, green, blue = palette[3 * index : 3 * index + 3]
            colour = (red, green, blue)
            if self.first.setdefault(index, (colour, file))[0] != colour:
                self.other.setdefault(index, (colour, file))

    def conflict(self) -> str:
        """What to say where an index has two colours; empty where none has."""
        if not self.other:
            return ""
        index = min(self.other)
        (one, file), (two, other) = self.first[index], self.other[index]
        return (
            f"masks have different palettes ({index} is {one} in {file} and {two} in {other}), so an index is "
            'not the same class in all of them; where the colour says the class, set encoding = "colour" in the '
            "card's [labels], and palette = […], a colour per class"
        )


def palette_conflict(paths: Sequence[Path]) -> str:
    """What to say of label files whose palettes give one index two colours, as far as some of them tell."""
    colours = PaletteColours()
    for place in evenly(len(paths), LOOKED_AT):
        path = paths[place]
        if _is_indexed(path):
            indices, palette = _read(path)
            colours.add(path.name, indices, palette)
    return colours.conflict()


def _is_indexed(path: Path) -> bool:
    """Whether a file is a PNG with a palette, and not too large to open, by its first bytes."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    width, height = (int.from_bytes(head[start : start + 4]) for start in (16, 20))
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[25:26] == bytes([_INDEXED]) and width * height <= LARGEST


def _read(path: Path) -> tuple[list[int], bytes]:
    """The indices that a PNG holds, and its palette; nothing of a damaged one, which whoever reads it will say."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            counts = np.bincount(np.asarray(picture).reshape(-1))
            return np.flatnonzero(counts).tolist(), bytes(picture.getpalette("RGB") or b"")
    except DAMAGED_IMAGE:
        return [], b""
