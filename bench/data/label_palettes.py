"""Label palettes: whether an index has the same colour in all masks of a data set, as one class would have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.base.errors import BadInput
from bench.cards.datasets import DatasetCard
from bench.data.label_values import ids_of, open_label
from bench.data.palette import palette_of
from bench.data.picture_files import Picture

Colour = tuple[int, int, int]


@dataclass
class PaletteColours:
    """The colours that palettes give to the indices that masks hold; entries that no pixel has say nothing."""

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

    def differing(self) -> str:
        """The first index with two colours, in words; empty where none has."""
        if not self.other:
            return ""
        index = min(self.other)
        (one, file), (two, other) = self.first[index], self.other[index]
        return f"{index} is {one} in {file} and {two} in {other}"

    def conflict(self) -> str:
        """What to say of labels where an index has two colours; empty where none has."""
        differing = self.differing()
        return differing and (
            f"the masks have different palettes ({differing}): is an index the same class in all of them? If colours "
            'are the classes, labels.encoding = "colour" in the card reads them, by its palette'
        )

    def exchanged(self, card: DatasetCard) -> str:
        """The first index with the colour of another class, in words; empty where none has.

        Says nothing of a single index, nor where a colour is none of the card's: then the palette is another one.
        """
        palette = np.frombuffer(palette_of(card), np.uint8).reshape(256, 3)[: len(card.classes)].tolist()
        classes = {(red, green, blue): place for place, (red, green, blue) in reversed(list(enumerate(palette)))}
        held = {index: colour for index, (colour, _) in self.first.items()}
        if len(held) < 2 or not classes.keys() >= set(held.values()):
            return ""
        for index, colour in sorted(held.items()):
            if index >= len(palette) or tuple(palette[index]) != colour:
                name = card.classes[classes[colour]]
                return f"{index} is {colour}, the colour of '{name}', in {self.first[index][1]}"
        return ""


def palette_of_file(picture: Picture) -> bytes:
    """The palette in a label file, RGB after RGB; empty where it has none."""
    return bytes(picture.opened.getpalette("RGB") or b"") if picture.mode == "P" else b""


def colours_in(paths: Sequence[Path]) -> PaletteColours:
    """The colours that the palettes of label files give to their indices; a damaged file is passed over."""
    colours = PaletteColours()
    for path in paths:
        try:
            picture = open_label(path)
            if palette := palette_of_file(picture):
                colours.add(path.name, np.unique(ids_of(picture)).tolist(), palette)
        except BadInput:  # said by whoever reads the labels
            continue
    return colours
