"""Opened: what one image and its mask hold, or why they cannot be used."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.data.label_palettes import palette_of_file
from bench.data.label_values import LABEL_FORMATS, Ids, ids_of, open_label
from bench.data.picture_files import (
    DEEP_MODES,
    IMAGE_FORMATS,
    MOST_PIXELS,
    NO_PICTURE,
    Picture,
    format_of,
    open_picture,
    orientation,
    turned_size,
)
from bench.discover.tree import Pair

Size = tuple[int, int]
Int64 = npt.NDArray[np.int64]
NOTHING: Int64 = np.empty(0, np.int64)
MOST_IDS = 4096
"""Ids are below this, but for 65535; higher ones are objects', depths or colours as a rule."""
_GREY = frozenset({"P", "L", "1", "I", "I;16", "I;16B", "LA"})
"""Modes of masks that hold one value a pixel."""
EXPLAINED = {
    "16-bit": "16-bit values: the ids of objects or a depth map as a rule; save class ids in 8 bits",
    "float": "floating-point values: save class ids in 8 bits",
    "alpha": "an alpha channel beside grey: save the grey channel alone, in 8 bits",
    "grey as RGBA": "grey saved as RGB with an alpha channel: save one channel of grey alone, in 8 bits",
    "colours": "colour-coded: which colour is which class is not in the file; save class ids in 8 bits, or put a table "
    "class_dict.csv with the columns name,r,g,b beside the images",
    "colours and alpha": "colour-coded, with an alpha channel: which colour is which class is not in the file; save "
    "class ids in 8 bits, one channel",
    "one channel": "one channel, where most masks have their ids in red and green: save all alike",
    "blue": "ids in blue, where red and green should have them: OpenCV's imwrite takes blue first; exchange red and "
    "blue",
    "unnamed": "colour-coded, in colours that the file of names lacks: add them to it",
    "lossy": "JPEG, which changes values: save class ids as PNG",
    "no PNG": "no PNG file: save class ids as PNG",
    "format": f"of a kind that is not read: convert them to {', '.join(sorted(IMAGE_FORMATS))}",
    "huge": f"larger than {MOST_PIXELS:,} pixels: make them smaller, or cut them into tiles",
    "damaged": "damaged or not a picture",
    "deep": "images of 16 bits: convert them to 8 bits, all in the same way",
    "none": "a web page or a pointer of Git LFS in the place of a picture: fetch them again",
    "size": "another size than the image: make both alike, masks by nearest neighbours",
}
"""What is the matter with files that cannot be used, and what to do."""


@dataclass(frozen=True)
class Seen:
    """What one pair is, opened."""

    pair: Pair
    size: Size = (0, 0)
    """Height and width of the image, as it is read."""
    refused: str = ""
    """A key of `EXPLAINED` where the pair cannot be used."""
    file: str = ""
    """The file that is to blame for that."""
    orientation: int = 1
    """The image's EXIF orientation."""
    kind: str = ""
    """What the mask holds: `index`, one value a pixel; `rgb`, three; nothing where there is no mask."""
    ids: Int64 = field(default_factory=lambda: NOTHING)
    """The values that a mask holds; of `rgb`, its colours as R + 256·G + 65536·B."""
    pixels: Int64 = field(default_factory=lambda: NOTHING)
    """The pixels of each."""
    colours: Int64 = field(default_factory=lambda: NOTHING)
    """What colour each of the values has."""
    palette: bytes = b""
    alpha: bool = False
    """Whether a mask of `rgb` has an alpha channel that says something."""
    strange: int | None = None
    """The first colour that has no name, if there is one."""


def look(folder: Path, named: AbstractSet[int], pair: Pair) -> Seen:
    """Open a pair. `named` are the colours that have names."""
    try:
        picture = open_picture(folder / pair.image)
    except BadInput as error:
        return Seen(pair, refused=_why(folder / pair.image, error, IMAGE_FORMATS), file=pair.image)
    how = orientation(picture)
    size = turned_size(picture.size, how)
    if picture.opened.mode.startswith(DEEP_MODES):
        return Seen(pair, size, "deep", pair.image, how)
    if pair.label is None:
        return Seen(pair, size, orientation=how)
    try:
        label = open_label(folder / pair.label)
        if label.size not in (size, picture.size):
            return Seen(pair, size, "size", pair.label, how)
        return _look_into(label, Seen(pair, label.size, file=pair.label, orientation=how), named)
    except BadInput as error:
        return Seen(pair, size, _why(folder / pair.label, error, LABEL_FORMATS), pair.label, how)


def _why(path: Path, error: BadInput, formats: AbstractSet[str]) -> str:
    """The key of `EXPLAINED` for a file that could not be opened."""
    if f"{MOST_PIXELS:,}" in error.problem:
        return "huge"
    try:
        with path.open("rb") as stream:
            found = format_of(stream.read(64))
    except OSError:
        return "damaged"
    if not found or found in formats:
        return "damaged"
    if found in NO_PICTURE:
        return "none"
    return "format" if formats is IMAGE_FORMATS else "lossy" if found == "JPEG" else "no PNG"


def _look_into(label: Picture, seen: Seen, named: AbstractSet[int]) -> Seen:
    """What a mask holds. Raises BadInput where it is damaged."""
    if label.mode in ("RGB", "RGBA"):
        wide = label.values().astype(np.int64)
        codes, pixels = np.unique(wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16, return_counts=True)
        alpha = wide.shape[2] > 3 and bool((wide[..., 3] != 255).any())
        strange = _first(codes, named)
        return replace(seen, kind="rgb", ids=codes, pixels=pixels, colours=codes, alpha=alpha, strange=strange)
    if label.mode not in _GREY:
        wide_channels = label.mode.startswith("16-bit")
        return replace(seen, refused="float" if label.mode == "F" else "16-bit" if wide_channels else "alpha")
    try:
        ids, pixels = _counted(ids_of(label))
    except BadInput:
        if label.mode != "LA":
            raise
        return replace(seen, refused="alpha")
    if ids[ids != 65535].max(initial=0) >= MOST_IDS:
        return replace(seen, refused="16-bit")
    palette = palette_of_file(label)
    colours = _colours_of(ids, palette)
    strange = _first(colours, named)
    return replace(seen, kind="index", ids=ids, pixels=pixels, colours=colours, palette=palette, strange=strange)


def _counted(values: Ids) -> tuple[Int64, Int64]:
    counts = np.bincount(values.reshape(-1))
    found = np.flatnonzero(counts)
    return found, counts[found]


def _colours_of(ids: Int64, palette: bytes) -> Int64:
    """The colours of values, as R + 256·G + 65536·B: a palette's, or grey; −1 where a palette does not reach."""
    if not palette:
        return np.where(ids < 256, ids * 0x010101, -1)
    table = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3).astype(np.int64)
    known = ids < len(table)
    red, green, blue = table[np.where(known, ids, 0)].T
    return np.where(known, red | green << 8 | blue << 16, -1)


def _first(colours: Int64, named: AbstractSet[int]) -> int | None:
    """The first colour without a name; none where no colour has one."""
    return next((colour for colour in colours.tolist() if colour not in named), None) if named else None


def rgb_of(code: int) -> tuple[int, int, int]:
    """R, G and B of R + 256·G + 65536·B."""
    return code & 255, code >> 8 & 255, code >> 16


def code_of(colour: tuple[int, int, int]) -> int:
    """R + 256·G + 65536·B."""
    return colour[0] | colour[1] << 8 | colour[2] << 16
