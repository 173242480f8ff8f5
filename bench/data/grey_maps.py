"""Grey maps: annotations and predictions of foreground, as grey values or as ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.data.decoding import read_grey, read_label
from bench.data.label_values import grey_values, open_label, predicted_ids
from bench.data.picture_files import Picture

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard

Flags = npt.NDArray[np.bool_]


def read_foreground(path: Path, card: DatasetCard, size: tuple[int, ...], above: int) -> tuple[Flags, Flags, bytes]:
    """The annotated foreground of an image, H×W; which pixels count, H×W; and the SHA-256 of the file.

    Of a data set of grey masks it is where the value exceeds `above`, and every pixel counts; of one with classes it is
    every class but 0, and void does not count. Raises BadInput for a damaged file or one of another size.
    """
    if card.labels.encoding == "grey":
        grey, digest = read_grey(path, size)
        return grey > above, np.ones(grey.shape, bool), digest
    label, digest = read_label(path, card, size)
    return (label != 0) & (label != card.labels.ignore), label != card.labels.ignore, digest


def read_map(path: Path, size: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], bytes]:
    """A predicted map of foreground, H×W in 0…1, and the SHA-256 of its file.

    Grey values of 8 or 16 bits are shares of white. A file that holds only 0 and 1 is a mask, as is one with a palette
    in colour, where every index but 0 is foreground. Raises BadInput for a damaged file, another size, or colours.
    """
    picture = open_label(path, size, "its image", "Resize the masks to the image's own size before saving.")
    if picture.mode == "P" and not _is_grey(picture):
        return (picture.values() != 0).astype(np.float32), picture.digest
    wide = picture.mode.startswith("I")
    values = predicted_ids(picture) if wide else grey_values(picture)
    white = 1 if values.max(initial=0) == 1 else 65535 if wide else 255
    return values.astype(np.float32) / np.float32(white), picture.digest


def _is_grey(picture: Picture) -> bool:
    """Whether the palette is a ramp of greys, of more than one."""
    palette = np.array(picture.opened.getpalette() or [], np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all()) and len(np.unique(palette)) > 1
