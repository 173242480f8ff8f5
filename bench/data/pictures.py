"""Pictures: images and label maps, reduced in size and coloured by a data set's palette."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.base.files import write_with
from bench.cards.datasets import DatasetCard
from bench.data.decoding import Label, read_sample
from bench.data.palette import palette_of, voc_palette
from bench.data.picture_files import Image8
from bench.data.preprocessing import resize_nearest
from bench.data.samples import Samples
from bench.data.sequences import VOID, read_frame, videos_of

if TYPE_CHECKING:
    from PIL.Image import Image

Read = Callable[[int], tuple[Image8, Label | None]]
"""Place → the image and its label, ignored pixels included, at their own size."""
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


def fitted_in(size: tuple[int, ...], box: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in the same proportions with no side longer than the box's; never enlarged."""
    scale = min(1.0, *(most / side for side, most in zip(size, box, strict=False)))
    height, width = (max(1, round(side * scale)) for side in size[:2])
    return height, width


def read_samples(samples: Samples) -> Read:
    """How the image and the label of a place are read; in video the places are those of all frames."""
    card = samples.card
    if card.kind == "images":

        def read(place: int) -> tuple[Image8, Label | None]:
            image, label, _ = read_sample(samples.entries[place], card)
            return image, label

        return read
    frames = [(video, number) for video in videos_of(samples) for number in range(video.images)]
    objects = card.splits[samples.split].objects or "many"

    def read_one(place: int) -> tuple[Image8, Label | None]:
        frame = read_frame(*frames[place], objects)
        return frame.image, np.where(frame.void, np.uint8(VOID), frame.ids)

    return read_one


def legend_of(samples: Samples, clusters: int = 0) -> tuple[Callable[[int], str], Colours]:
    """What an id of a map is called, and the colours of all; without labels ids are of `clusters`, counted from 1."""
    card = samples.card
    if card.kind == "video":
        return lambda i: {0: "background", VOID: "void"}.get(i, f"object {i}"), colours_of(card, 256)
    if not samples.labelled:
        return lambda i: f"cluster {i - 1}" if i else "background", colours_of(card, clusters + 1)
    ignore = card.labels.ignore
    colours = colours_of(card, max(len(card.classes), ignore + 1)).copy()
    colours[ignore] = np.frombuffer(voc_palette(), np.uint8)[-3:]
    return lambda i: "ignored, or without a class" if i == ignore else card.classes[i], colours


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
    if path.suffix.lower() == ".png":
        write_with(path, lambda stream: picture.save(stream, "PNG", optimize=True))
    else:
        write_with(path, lambda stream: picture.convert("RGB").save(stream, "JPEG", quality=85))
