"""Grey maps: annotations and predictions of foreground, which mean the grey values that a viewer shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.data.decoding import read_label
from bench.data.label_values import open_label, predicted_ids
from bench.data.picture_files import Image8, Picture

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard

GREY = "grey"
"""The encoding of labels that are grey values."""
_SHORT = 257
"""Of a 16-bit value, to one of 8 bits."""


def read_foreground(
    path: Path, card: DatasetCard, size: tuple[int, ...], above: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], bytes]:
    """The annotated foreground of an image, H×W; which pixels count, H×W; and the hash of the file.

    Of a data set of grey masks it is where the value exceeds `above`, and every pixel counts; of one with classes it is
    every class but 0, and void does not count. Raises BadInput for a damaged file or one of another size.
    """
    if card.labels.encoding == GREY:
        picture = open_label(path, size, "its image", "Image and label must have the same size.")
        grey = grey_values(picture)
        return grey > above, np.ones(grey.shape, bool), picture.digest
    label, digest = read_label(path, card, size)
    return (label != 0) & (label != card.labels.ignore), label != card.labels.ignore, digest


def read_map(path: Path, size: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], bytes]:
    """A predicted map of foreground, H×W in 0…1, and the hash of its file.

    Grey values are shares of white; a file that holds only 0 and 1 is a mask, as is one with a palette in colour, where
    every index but 0 is foreground. Raises BadInput for a damaged file, another size, or colours.
    """
    remedy = "Resize the masks to the image's own size before saving."
    picture = open_label(path, size, "its image", remedy)
    grey = grey_values(picture)
    highest = 1 if grey.max(initial=0) == 1 else 255
    return grey.astype(np.float32) / np.float32(highest), picture.digest


def grey_values(picture: Picture) -> Image8:
    """The grey values of a PNG, H×W of 0…255, whatever its number of bits; of a palette in colour 255 but for index 0.

    Raises BadInput for pixels in colour, or that are transparent.
    """
    mode = picture.mode
    if mode == "P":
        return _of_palette(picture)
    if mode in ("1", "L"):
        values = picture.values()  # Pillow spreads grey of 2 and 4 bits over 0…255
        return np.where(values, np.uint8(255), np.uint8(0)) if values.dtype == bool else values
    values = predicted_ids(picture)
    if mode == "RGB" and not _is_grey(picture.values()):
        raise BadInput(f"{picture.path} is in colour; grey values of foreground are expected", "Convert it to grey.")
    if mode.startswith("I"):
        return np.rint(values / _SHORT).astype(np.uint8)
    return values.astype(np.uint8)


def _of_palette(picture: Picture) -> Image8:
    palette = np.array(picture.opened.getpalette() or [], np.uint8).reshape(-1, 3)
    indices = picture.values()
    if len(palette) and _is_grey(palette) and len(np.unique(palette[:, 0])) > 1:
        whole = np.zeros(256, np.uint8)
        whole[: len(palette)] = palette[:, 0]
        return whole[indices]
    return np.where(indices, np.uint8(255), np.uint8(0))


def _is_grey(colours: npt.NDArray[Any]) -> bool:
    return bool((colours == colours[..., :1]).all())
