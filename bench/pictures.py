"""Pictures: images and label maps made small, and coloured as a data set's palette has it."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.cards import DatasetCard
from bench.files import write_with
from bench.palette import palette_of
from bench.preprocess import resize_nearest
from bench.samples import Image8

if TYPE_CHECKING:
    from PIL.Image import Image

Colours = npt.NDArray[np.uint8]
"""RGB of every id, M×3."""
GOLDEN_ANGLE = 0.381966
"""Of a turn: hues this far apart stay apart, however many there are."""


def colours_of(card: DatasetCard, ids: int) -> Colours:
    """RGB of the ids 0 … `ids` − 1: the card's palette, and hues of our own beyond its 256."""
    known = np.frombuffer(palette_of(card), np.uint8).reshape(256, 3)
    if ids <= 256:
        return known[:ids]
    more = [colorsys.hsv_to_rgb(i * GOLDEN_ANGLE % 1, 0.55 + 0.1 * (i % 4), 0.95) for i in range(256, ids)]
    return np.concatenate([known, np.rint(255 * np.array(more)).astype(np.uint8)])


def hexadecimal(colour: npt.NDArray[np.uint8]) -> str:
    """An RGB triple as CSS has it."""
    red, green, blue = colour.tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def fitted(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    """(height, width) in the same proportions with no side longer than `longest`; never enlarged."""
    scale = min(1.0, longest / max(size[:2]))
    height, width = (max(1, round(side * scale)) for side in size[:2])
    return height, width


def small_image(image: Image8, size: tuple[int, int]) -> Image:
    """An H×W×3 image at (height, width), each pixel the mean of what it stands for."""
    from PIL import Image as Pillow

    return Pillow.fromarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8))


def small_map(ids: npt.NDArray[Any], size: tuple[int, int], colours: Colours) -> Image:
    """An H×W map of ids at (height, width) in colour: with a palette up to 256 ids, else RGB."""
    from PIL import Image as Pillow

    near = resize_nearest(ids, size)
    if len(colours) > 256:
        return Pillow.fromarray(colours[near])
    picture = Pillow.fromarray(near.astype(np.uint8), mode="P")
    picture.putpalette(colours.tobytes())
    return picture


def write_picture(path: Path, picture: Image) -> None:
    """Write a picture in the format of its name's ending, .jpg or .png, atomically."""
    if path.suffix == ".png":
        write_with(path, lambda stream: picture.save(stream, "PNG", optimize=True))
    else:
        write_with(path, lambda stream: picture.convert("RGB").save(stream, "JPEG", quality=85))
