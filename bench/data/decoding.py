"""Decoding: a sample's image and label as arrays, by its data set's card, and errors for bad files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.cards.datasets import DatasetCard, Labels
from bench.data import label_values
from bench.data.label_values import Encoding, Ids, open_label
from bench.data.picture_files import (
    SIDEWAYS,
    Image8,
    Picture,
    open_picture,
    orientation,
    turned,
    turned_size,
)

if TYPE_CHECKING:
    from bench.data.samples import Sample

DECODING_VERSION = 1
"""Raised whenever a file would be read in another way: old caches are then not met again."""
Label = npt.NDArray[Any]
"""Class indices, H×W, uint8 or uint16."""


# --- images ---


def read_image(path: Path) -> tuple[Image8, bytes]:
    """Decode an image to RGB uint8, H×W×3, as its file has it, and hash the file. Raises BadInput naming the file."""
    picture = open_picture(path)
    return picture.rgb(), picture.digest


def read_image_of(sample: Sample) -> tuple[Image8, bytes]:
    """Decode a sample's image, turned upright where its card or its label say so, and hash the file."""
    picture = open_picture(sample.image)
    return turned(picture.rgb(), _turn(picture, sample)), picture.digest


def size_of(sample: Sample) -> tuple[int, int]:
    """(height, width) of what `read_image_of` gives, from headers alone. Raises BadInput naming the file."""
    picture = open_picture(sample.image)
    return turned_size(picture.size, _turn(picture, sample))


def _turn(picture: Picture, sample: Sample) -> int:
    """The EXIF orientation that an image is turned by, 1 for none.

    People label what a viewer shows, and viewers turn. So an image is read upright unless the card says `stored`, or
    its label has the size that only the stored picture has.
    """
    how = 1 if sample.orientation == "stored" else orientation(picture)
    if how == 1 or sample.orientation == "upright" or sample.label is None or how not in SIDEWAYS:
        return how
    as_stored = open_label(sample.label).size == picture.size != turned_size(picture.size, how)
    return 1 if as_stored else how


# --- labels ---


def read_label(path: Path, card: DatasetCard, size: tuple[int, ...] | None = None) -> tuple[Label, bytes]:
    """Decode a label file to class indices, H×W, and hash the file.

    They are uint8, or uint16 where the card's classes or its ignore id do not fit. `size` is the (height, width) of
    its image, if that is known. Raises BadInput for a damaged file, one of another size, pixels of another kind than
    the card says, or an id that it does not know.
    """
    picture = open_label(path, size, "its image", "Image and label must have the same size.")
    if card.labels.encoding == "colour":
        return label_values.classes_of_colours(picture, card).astype(label_type(card), copy=False), picture.digest
    if card.labels.encoding == "grey":
        assert card.labels.above is not None
        return (label_values.grey_values(picture) > card.labels.above).astype(label_type(card)), picture.digest
    ids = label_values.ids_of(picture, card.labels.encoding)
    if card.labels.map:
        ids = _classes_of(ids, path, card)
    else:
        require_classes(ids, path, card, "Correct the file or the card.")
    return ids.astype(label_type(card), copy=False), picture.digest


def label_type(card: DatasetCard) -> type[np.uint8 | np.uint16]:
    """The smallest type that holds the card's classes and its ignore id."""
    return np.uint8 if card.labels.ignore < 256 and len(card.classes) <= 256 else np.uint16


def _classes_of(ids: Ids, path: Path, card: DatasetCard) -> Label:
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


def read_grey(path: Path, size: tuple[int, ...] | None = None) -> tuple[Image8, bytes]:
    """Decode a mask to its grey values, H×W uint8, white is 255, and hash the file: `grey` without its threshold.

    `size` is the (height, width) of its image, if that is known. Raises BadInput, naming the file, where it is
    damaged, of another size, or holds colours.
    """
    picture = open_label(path, size, "its image", "Image and label must have the same size.")
    return label_values.grey_values(picture), picture.digest


def read_ids(path: Path, encoding: Encoding = "index") -> tuple[Ids, bytes]:
    """Decode a PNG of ids to H×W, as they stand in it, and hash the file. See `label_values.ids_of`."""
    picture = open_label(path)
    return label_values.ids_of(picture, encoding), picture.digest


def read_prediction(
    path: Path, card: DatasetCard, size: tuple[int, ...] | None, whose: str, remedy: str
) -> tuple[Ids, bytes]:
    """Decode a prediction of a data set to the ids in it, H×W, and hash the file.

    It has the form of the labels, or one of wider ids: of a colour-coded data set the colours of classes, or ids.
    Raises BadInput where it is damaged, of another (height, width) than `size`, which is `whose`, or of another kind.
    """
    picture = open_label(path, size, whose, remedy)
    encoding: Encoding = "rgb" if card.labels.encoding == "rgb" else "index"
    if card.labels.encoding == "colour" and picture.mode == "RGB":
        classes = label_values.classes_of_prediction(picture, card)
        if classes is not None:
            return classes, picture.digest
    return label_values.predicted_ids(picture, encoding), picture.digest


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


def read_sample(sample: Sample, card: DatasetCard) -> tuple[Image8, Label | None, bytes]:
    """A sample's image, its label (None where it has none), and the hashes of their files, one after the other.

    Raises BadInput, naming the file, where one is damaged or the two differ in size.
    """
    image, digest = read_image_of(sample)
    if sample.label is None:
        return image, None, digest
    label, label_digest = read_label(sample.label, card, image.shape[:2])
    return image, label, digest + label_digest
