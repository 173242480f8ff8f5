"""Placement: where an image lies in the network's input, and how a map of the input is brought back to the image.

See docs/protocols.md#geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cards.presets import GeometryPreset, ImagePreset, filled
from bench.data.decoding import Label

Size = tuple[int, int]


@dataclass(frozen=True)
class Placement:
    """All sizes are height and width, pixels."""

    own: Size
    """Of the image in its file."""
    resized: Size
    """Of the image after resizing, before anything is cut."""
    top: int
    """Rows of the resized image that are cut off above the input."""
    left: int
    input: Size
    """Of what is left of the resized image: where figures at the input size are counted."""
    padded: Size
    """Of what the network sees: the input with zeros around it."""
    above: int = 0
    """Rows of zeros above the input."""
    before: int = 0
    """Columns of zeros to the left of the input."""

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the input in what the network sees, without the zeros."""
        rows, columns = self.input
        return slice(self.above, self.above + rows), slice(self.before, self.before + columns)

    def filled_up(self, found: npt.NDArray[Any], value: int) -> npt.NDArray[Any]:
        """A map H×W of the input as one of what the network sees, with `value` where there are zeros."""
        if self.padded == self.input:
            return found
        whole = np.full(self.padded, value, found.dtype)
        whole[self.inside] = found
        return whole

    def cut(self, resized: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The input's part of a resized picture or map, H×W or H×W×3."""
        rows, columns = self.input
        return resized[self.top : self.top + rows, self.left : self.left + columns]

    def to_own(self, found: Label, void: int) -> Label:
        """A map H×W of the input, of any resolution, at the image's own size, nearest; `void` where nothing was seen.

        ⌊(y + ½)·source/target⌋, so that a pixel of the image takes what was found nearest to its centre.
        """
        found = nearest_centres(found, self.input)
        if self.input != self.resized:
            whole = np.full(self.resized, void, np.result_type(found, np.min_scalar_type(void)))
            whole[self.top : self.top + self.input[0], self.left : self.left + self.input[1]] = found
            found = whole
        return nearest_centres(found, self.own)


def place(own: Size, preset: ImagePreset) -> Placement:
    """Where an image of this size lies in the input that the preset asks for.

    The side that is not named is cut off to a whole number, and a centre crop begins at round((resized − input) / 2),
    half to even, as in torchvision's transforms.
    """
    if not isinstance(preset, GeometryPreset) or preset.fit == "squash":
        return Placement(own, preset.input, 0, 0, preset.input, preset.input)
    if preset.fit == "crop":
        resized = _scaled(own, min(preset.input), min(own))
        # a square crop fits by definition; of another shape the longer side may fall short
        rows, columns = (min(side, kept) for side, kept in zip(resized, preset.input, strict=True))
        top, left = round((resized[0] - rows) / 2), round((resized[1] - columns) / 2)
        return _padded(own, resized, (top, left), (rows, columns), preset)
    whole = own
    if preset.fit != "own":
        whole = _scaled(own, preset.input[0], min(own) if preset.fit == "shorter" else max(own))
    return _padded(own, whole, (0, 0), whole, preset)


def _scaled(own: Size, target: int, side: int) -> Size:
    """`own` with `side`, one of its two, brought to `target`."""
    height, width = (target if one == side else max(1, int(target * one / side)) for one in own)
    return height, width


def _padded(own: Size, resized: Size, corner: Size, kept: Size, preset: GeometryPreset) -> Placement:
    height, width = (filled(side, preset.multiple) for side in kept)
    above, before = ((height - kept[0]) // 2, (width - kept[1]) // 2) if preset.pad == "centre" else (0, 0)
    return Placement(own, resized, *corner, kept, (height, width), above, before)


def nearest_centres(found: Label, size: Size) -> Label:
    """A map H×W at another size, each pixel from the one whose area holds its centre."""
    if found.shape == size:
        return found
    rows, columns = (
        np.minimum((2 * np.arange(target) + 1) * source // (2 * target), source - 1)
        for source, target in zip(found.shape, size, strict=True)
    )
    return found[np.ix_(rows, columns)]
