"""Label values: what the pixels of a label file, or of a prediction, stand for.

See docs/data.md#labels.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.data.picture_files import Image8, Picture, open_picture

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard

Ids = npt.NDArray[Any]
"""Ids as a file has them, H×W: uint8, or uint16 where one of 16 bits is above 255."""
Encoding = Literal["index", "rgb"]

LABEL_FORMATS = frozenset({"PNG"})
"""What labels and predictions are read from: it changes no value, and its checksums show damage."""
_FORM = {
    "index": ("a palette or greyscale PNG of class ids", "8-bit class ids"),
    "rgb": ("an RGB PNG, id = R + 256·G,", "RGB pixels"),
    "grey": ("a PNG of grey values", "8-bit greyscale"),
    "any": ("a greyscale PNG of ids, or an RGB one, id = R + 256·G,", "16-bit greyscale"),
}


def open_label(path: Path, size: tuple[int, ...] | None = None, whose: str = "", remedy: str = "") -> Picture:
    """Open a label file or a prediction, and require that it has the (height, width) `size`, before it is decoded."""
    picture = open_picture(path, LABEL_FORMATS, read_as="a map of ids")
    if size is not None and picture.size != tuple(size):
        height, width = picture.size
        raise BadInput(f"{path} is {width}×{height} pixels, {whose} {size[1]}×{size[0]}", remedy)
    return picture


def ids_of(picture: Picture, encoding: Encoding = "index") -> Ids:
    """The ids in a label file. Raises BadInput for pixels of another kind than `encoding` says.

    `index`: a palette's indices, or grey values as they stand in the file, of 1 to 16 bits; grey that was saved as RGB
    is read as grey. `rgb`: id = R + 256·G, with nothing in blue; an alpha channel is let through unread.
    """
    mode = picture.mode
    if encoding == "rgb":
        if mode not in ("RGB", "RGBA"):
            raise _of_another_kind(picture, "rgb")
        return _narrow(_wide(picture))
    grey = _grey(picture)
    if grey is None:
        raise _of_another_kind(picture, "index")
    return grey


def predicted_ids(picture: Picture, encoding: Encoding = "index") -> Ids:
    """The ids in a prediction: as in a label file of this encoding, or in any other form that says the same.

    There may be more clusters than classes, so that a prediction can need more bits than the data set's labels.
    Raises BadInput for pixels of no such kind.
    """
    if encoding == "rgb" and picture.mode in ("RGB", "RGBA"):
        return ids_of(picture, "rgb")
    grey = _grey(picture)
    if grey is not None:
        return grey
    if picture.mode != "RGB":
        raise _of_another_kind(picture, "any")
    return _narrow(_wide(picture))


def mask_values(path: Path, size: tuple[int, int]) -> Image8:
    """The values of a mask file, H×W uint8: white is 255, whatever the number of bits.

    Raises BadInput, naming the file, where it is missing, damaged, of another kind or another size.
    """
    remedy = "Mask and image must have the same size; make the masks again from these images."
    picture = open_label(path, size, "its image", remedy)
    if picture.mode not in ("P", "L", "1"):
        expected = "a palette or greyscale PNG of mask values"
        raise BadInput(f"{path} has {picture.mode} pixels; {expected} is expected", "Convert it to 8-bit mask values.")
    values = picture.values()
    return np.where(values, np.uint8(255), np.uint8(0)) if values.dtype == bool else values


def grey_values(picture: Picture) -> Image8:
    """The grey values of a mask, H×W uint8, white is 255: as a viewer shows them, whatever their bits or palette.

    Raises BadInput for colours, 16 bits, or an alpha channel that hides anything.
    """
    mode = picture.mode
    if mode in ("L", "1"):
        values = picture.values()
        return np.where(values, np.uint8(255), np.uint8(0)) if values.dtype == bool else values
    if mode not in ("P", "LA", "RGB", "RGBA"):
        raise _of_another_kind(picture, "grey")
    channels = picture.rgb() if mode == "P" else picture.values()
    opaque = mode in ("P", "RGB") or bool((channels[..., -1] == 255).all())
    red = channels[..., 0]
    if not opaque or (mode != "LA" and any(not np.array_equal(red, channels[..., channel]) for channel in (1, 2))):
        raise _of_another_kind(picture, "grey")
    return np.ascontiguousarray(red)


def _of_another_kind(picture: Picture, form: str) -> BadInput:
    expected, target = _FORM[form]
    return BadInput(f"{picture.path} has {picture.mode} pixels; {expected} is expected", f"Convert it to {target}.")


def _grey(picture: Picture) -> Ids | None:
    """Indices or grey values as they stand in the file; None for a picture in colour, or one with an alpha channel."""
    mode, values = picture.mode, None
    if mode in ("P", "L", "1"):
        values = picture.values().astype(np.uint8, copy=False)
        # Pillow spreads grey of 2 and 4 bits over 0..255
        return values // np.uint8(255 // (2**picture.depth - 1)) if mode == "L" and picture.depth < 8 else values
    if mode in ("I", "I;16", "I;16B"):
        return _narrow(picture.values().astype(np.uint16))
    if mode in ("LA", "RGB", "RGBA"):
        values = picture.values()
        plain = mode == "RGB" or bool((values[..., -1] == 255).all())
        red = values[..., 0]
        if plain and (mode == "LA" or all(np.array_equal(red, values[..., channel]) for channel in (1, 2))):
            return red
    return None


def _wide(picture: Picture) -> Ids:
    """R + 256·G, H×W uint16. Raises BadInput where blue holds anything."""
    channels = picture.values()
    if channels[..., 2].any():
        raise BadInput(
            f"{picture.path} has blue values; the third channel must be 0",
            "Write (id mod 256, id div 256, 0) as red, green, blue: OpenCV's imwrite takes blue first. If these are "
            "colours of classes, save ids.",
        )
    # widened first: 8 bits times 256 overflow
    return channels[..., 0].astype(np.uint16) | channels[..., 1].astype(np.uint16) << 8


def _narrow(ids: Ids) -> Ids:
    """In 8 bits where they fit."""
    return ids.astype(np.uint8) if ids.dtype != np.uint8 and ids.max(initial=0) < 256 else ids


# --- colours ---


def classes_of_colours(picture: Picture, card: DatasetCard) -> Ids:
    """Class indices of a colour-coded label file, by the card's palette and the colours that it ignores.

    Raises BadInput, naming the colour, for one that is neither.
    """
    classes, strange = _looked_up(picture, card)
    if strange.size:
        red, green, blue = int(strange[0]) >> 16, int(strange[0]) >> 8 & 255, int(strange[0]) & 255
        raise BadInput(
            f"{picture.path} holds the colour ({red}, {green}, {blue}), which is not in the palette of {card.id}",
            "Correct the file, or the card's palette or labels.ignored_colours.",
        )
    return classes


def classes_of_prediction(picture: Picture, card: DatasetCard) -> Ids | None:
    """Class indices of a prediction in the colours of a data set's labels; None where its RGB pixels may be ids.

    Raises BadInput, naming the colour, for one that is neither a class's nor an id.
    """
    classes, strange = _looked_up(picture, card)
    if not strange.size:
        return classes
    pixels = picture.rgb()
    may_be_ids = not pixels[..., 2].any() or _grey(picture) is not None
    return None if may_be_ids else classes_of_colours(picture, card)


def _looked_up(picture: Picture, card: DatasetCard) -> tuple[Ids, npt.NDArray[np.uint32]]:
    """Class indices by the card's colours, and the colours, packed, of pixels that have none of them."""
    pixels = picture.rgb().astype(np.uint32)
    packed = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    colours, classes = _colours(card)
    place = np.minimum(np.searchsorted(colours, packed), len(colours) - 1)
    return classes[place], packed[colours[place] != packed]


def _colours(card: DatasetCard) -> tuple[npt.NDArray[np.uint32], Ids]:
    """The colours that a card knows, packed and sorted, and what each stands for."""
    palette = card.palette if card.palette != "voc" else ()
    return _sorted_colours(tuple(palette), card.labels.ignored_colours, card.labels.ignore)


@functools.cache
def _sorted_colours(
    palette: tuple[tuple[int, int, int], ...], ignored: tuple[tuple[int, int, int], ...], ignore: int
) -> tuple[npt.NDArray[np.uint32], Ids]:
    meanings = {colour: place for place, colour in enumerate(palette)} | dict.fromkeys(ignored, ignore)
    packed = np.array([red << 16 | green << 8 | blue for red, green, blue in meanings], np.uint32)
    order = np.argsort(packed)
    return packed[order], _narrow(np.array(list(meanings.values()), np.uint16))[order]
