"""One prediction of a submission: what keeps the server from scoring a PNG of ids."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.picture_files import DAMAGED_IMAGE, open_picture, png_damage

PIXELS = 1 << 26
"""Of a PNG, at most. ImageNet's largest image has 61 million."""
LARGE = 1 << 22
"""Pixels of a PNG that is not decoded beside others."""
BAND = 1 << 20
"""Pixels that are looked at together."""
_ALONE = threading.Lock()
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}


@dataclass(frozen=True)
class Wanted:
    """What the predictions must be."""

    images: Mapping[str, Path | None]
    """Name without its ending → the image, None where no data root was given."""
    allowed: npt.NDArray[np.bool_]
    """By id."""
    ids: str
    """The allowed ones, in words."""


def allowed(ids: Iterable[int]) -> npt.NDArray[np.bool_]:
    """A flag for each id that 16 bits can hold: whether it is one of these."""
    found = np.zeros(1 << 16, np.bool_)
    found[list(ids)] = True
    return found


def problem_of(named: tuple[str, bytes], wanted: Wanted) -> str | None:
    """What is wrong with one PNG; None if nothing is."""
    name, data = named
    if data[:8] != _SIGNATURE or len(data) < 33:
        return f"{name}.png is not a PNG"
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if (depth, colour) != (8, 2):
        return f"{name}.png has {depth}-bit {_COLOURS.get(colour, 'unknown')} pixels; 8-bit RGB is expected"
    if not 0 < width * height <= PIXELS:
        return f"{name}.png has {width}×{height} pixels, more than {PIXELS:,}"
    image = wanted.images[name]
    if image is not None and (size := open_picture(image).size) != (height, width):
        return f"{name}.png is {width}×{height} pixels, its image {size[1]}×{size[0]}"
    return _id_problem(f"{name}.png", data, wanted, width * height)


def _id_problem(name: str, data: bytes, wanted: Wanted, pixels: int) -> str | None:
    """What is wrong with the ids of a PNG. A large one is decoded alone: all threads' at once would fill the memory."""
    if damage := png_damage(data):
        return f"{name} is damaged: {damage}"
    with _ALONE if pixels > LARGE else nullcontext():
        try:
            bands = [_strange_ids(band, wanted.allowed) for band in _bands(data)]
        except DAMAGED_IMAGE as error:
            return f"{name} is damaged: {error}"
    if None in bands:
        return f"{name} has blue values; the third channel must be 0"
    strange = [found for found in bands if found]
    return f"{name} holds the id {min(map(min, strange))}; {wanted.ids}" if strange else None


def _bands(data: bytes) -> Iterator[npt.NDArray[np.uint8]]:
    """The rows of an RGB PNG from the top, a stretch of about a million pixels at a time."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        picture.load()
        rows = max(1, BAND // picture.width)
        for top in range(0, picture.height, rows):
            yield np.asarray(picture.crop((0, top, picture.width, min(top + rows, picture.height))))


def _strange_ids(channels: npt.NDArray[np.uint8], allowed: npt.NDArray[np.bool_]) -> list[int] | None:
    """The least id in R + 256·G that is not allowed, if there is one; None where the third channel is not 0."""
    if channels[..., 2].any():
        return None
    ids = channels[..., 0].astype(np.uint16) | channels[..., 1].astype(np.uint16) << 8
    strange = ids[~allowed[ids]]
    return [int(strange.min())] if strange.size else []
