"""Decoding: image and label files as arrays, and errors for bad files."""

from __future__ import annotations

import functools
import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.cards.datasets import DatasetCard, Labels

if TYPE_CHECKING:
    from bench.data.samples import Sample

Image8 = npt.NDArray[np.uint8]
Label = npt.NDArray[Any]
"""Class indices, H×W, uint8 or uint16."""

DAMAGED_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises on a damaged file, format by format."""
_AGAIN = "Fetch this file again, or write it again with the program that made it."


def read_image(path: Path) -> tuple[Image8, bytes]:
    """Decode an image to RGB uint8, H×W×3, and hash its file. Raises BadInput naming the file."""
    from PIL import Image

    data, picture = _open(path)
    try:
        with picture:
            if picture.mode.startswith(("I", "F")):
                raise BadInput(
                    f"{path} has {picture.mode} pixels; 8-bit images are expected", "Convert it to an 8-bit image."
                )
            array = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except (*DAMAGED_IMAGE, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} is damaged: {error}", _AGAIN) from error
    return array, hashlib.sha256(data).digest()


def read_size(path: Path) -> tuple[int, int]:
    """An image's (height, width) in pixels, from its header alone. Raises BadInput naming the file."""
    with _open(path)[1] as picture:
        return picture.height, picture.width


def read_label(path: Path, card: DatasetCard) -> tuple[Label, bytes]:
    """Decode a label file to class indices, H×W, and hash the file.

    They are uint8, or uint16 where the card's classes or its ignore id do not fit. Raises BadInput for a damaged
    file, pixels of another kind than the card says, or an id that it does not know.
    """
    ids, digest = read_ids(path, card.labels.encoding)
    if card.labels.map:
        ids = _classes_of(ids, path, card)
    else:
        require_classes(ids, path, card, "Correct the file or the card.")
    return ids.astype(label_type(card), copy=False), digest


def label_type(card: DatasetCard) -> type[np.uint8 | np.uint16]:
    """The smallest type that holds the card's classes and its ignore id."""
    return np.uint8 if card.labels.ignore < 256 and len(card.classes) <= 256 else np.uint16


def _classes_of(ids: Label, path: Path, card: DatasetCard) -> Label:
    """Ids as they stand in a file → class indices, by the card's map."""
    lookup = _lookup(card.labels)
    present = np.flatnonzero(np.bincount(ids.reshape(-1)))
    if unknown := [id_ for id_ in present.tolist() if lookup[id_] < 0]:
        raise BadInput(
            f"{path} holds the id {unknown[0]}, which is not in the label map of {card.id}",
            "Correct the file or the card.",
        )
    return lookup.astype(label_type(card))[ids]


@functools.cache
def _lookup(labels: Labels) -> npt.NDArray[np.int32]:
    """File id → class, or −1; over all ids that a file can hold."""
    lookup = np.full(65536, -1, np.int32)
    lookup[labels.ignore] = labels.ignore
    for entry in labels.map:
        (first, last), (low, high) = entry.ids, entry.classes
        lookup[first : last + 1] = low if low == high else np.arange(low, high + 1)
    return lookup


def read_ids(path: Path, encoding: Literal["index", "rgb"] = "index") -> tuple[Label, bytes]:
    """Decode a PNG of ids as a card's `labels.encoding` says, and hash the file.

    `index` gives H×W uint8, `rgb` H×W uint16; an alpha channel beside RGB is let through unread. Raises BadInput.
    """
    if encoding == "rgb":
        channels, digest = _read_values(path, ("RGB", "RGBA"), "an RGB PNG, id = R + 256·G,", "RGB pixels")
        # widened first: 8 bits times 256 overflow
        return channels[..., 0].astype(np.uint16) | channels[..., 1].astype(np.uint16) << 8, digest
    values, digest = _read_grey_values(path, "class ids")
    return values.astype(np.uint8, copy=False), digest


def read_grey(path: Path) -> Image8:
    """Decode a palette or greyscale PNG to its values, H×W uint8; those of a 1-bit one become 0 and 255.

    Raises BadInput, naming the file, where it is missing, damaged or of another kind.
    """
    values, _ = _read_grey_values(path, "mask values")
    return np.where(values, np.uint8(255), np.uint8(0)) if values.dtype == bool else values


def _read_grey_values(path: Path, what: str) -> tuple[npt.NDArray[Any], bytes]:
    """A PNG's values as they stand in it, H×W uint8, or bool where it has one bit; and the file's hash."""
    return _read_values(path, ("P", "L", "1"), f"a palette or greyscale PNG of {what}", f"8-bit {what}")


def _read_values(path: Path, modes: Sequence[str], expected: str, target: str) -> tuple[npt.NDArray[Any], bytes]:
    """A picture's values as they stand in it, and the file's hash. Raises BadInput for one of another mode."""
    data, picture = _open(path)
    try:
        with picture:
            # Pillow takes 16-bit RGB for RGB and drops the low bytes, which are the ids
            wide = picture.format == "PNG" and picture.mode.startswith("RGB") and data[24] == 16
            mode = f"16-bit {picture.mode}" if wide else picture.mode
            if mode not in modes:
                raise BadInput(f"{path} has {mode} pixels; {expected} is expected", f"Convert it to {target}.")
            values = np.asarray(picture)
    except DAMAGED_IMAGE as error:
        raise BadInput(f"{path} is damaged: {error}", _AGAIN) from error
    return values, hashlib.sha256(data).digest()


def require_classes(label: Label, path: Path, card: DatasetCard, remedy: str = "Correct the file or the card.") -> None:
    """Raises BadInput for a value that is neither a class of the card nor its ignore id."""
    present = np.flatnonzero(np.bincount(label.reshape(-1), minlength=256))
    strange = present[(present >= len(card.classes)) & (present != card.labels.ignore)]
    if strange.size:
        raise BadInput(
            f"{path} holds the label {strange[0]}, but {card.id} has the classes 0..{len(card.classes) - 1} "
            f"and {card.labels.ignore} for ignored pixels",
            remedy,
        )


def _open(path: Path) -> tuple[bytes, Any]:
    """A file's bytes and the picture in them, opened but not decoded."""
    from PIL import Image

    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadInput(f"{path} is missing, or is a folder", "Complete the data.") from error
    try:
        return data, Image.open(io.BytesIO(data))
    except (*DAMAGED_IMAGE, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} is damaged or not an image", _AGAIN) from error


def read_sample(sample: Sample, card: DatasetCard) -> tuple[Image8, Label | None, bytes]:
    """A sample's image, its label (None where it has none), and the hashes of their files, one after the other.

    Raises BadInput, naming the file, where one is damaged or the two differ in size.
    """
    image, digest = read_image(sample.image)
    if sample.label is None:
        return image, None, digest
    label, label_digest = read_label(sample.label, card)
    require_size(sample.label, label, image.shape[:2], "its image", "Image and label must have the same size.")
    return image, label, digest + label_digest


def require_size(path: Path, array: npt.NDArray[Any], size: tuple[int, ...], whose: str, remedy: str) -> None:
    """Raises BadInput unless the `array` read from `path` has this (height, width), which is `whose`: "its image"."""
    if array.shape[:2] != size:
        raise BadInput(f"{path} is {array.shape[1]}×{array.shape[0]} pixels, {whose} {size[1]}×{size[0]}", remedy)
