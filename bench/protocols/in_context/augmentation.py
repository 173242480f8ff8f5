"""Augmentation of the bank's images: a jitter of colours and a random crop (docs/protocols.md#in-context)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.colour_jitter import CHANGES
from bench.data.decoding import Label
from bench.data.picture_files import Image8
from bench.data.preprocessing import nearest_of
from bench.protocols.in_context.preset import InContextPreset

TRIES = 10
"""Crops that are drawn before the middle of the image is taken."""
Box = tuple[int, int, int, int]
"""Top, left, height and width of a crop, pixels."""


@dataclass(frozen=True)
class Draw:
    """What was drawn for one image in one pass."""

    amounts: tuple[float | None, ...]
    """Factors of brightness, contrast and saturation, and the turn of the hue; None for what stays."""
    crop: Box


def draw(rng: np.random.Generator, size: tuple[int, int], preset: InContextPreset) -> Draw:
    """The draws for an image of this height and width: the four colours in their order, then the crop."""
    amounts: list[float | None] = []
    for number, most in enumerate(preset.jitter):
        kept, amount = rng.random() >= preset.jitter_probability, rng.uniform(-most, most)
        amounts.append(None if kept else float(amount) + (number < 3))  # a factor about 1, a turn about 0
    return Draw(tuple(amounts), draw_crop(rng, size, preset.crop_area, preset.crop_aspect))


def draw_crop(
    rng: np.random.Generator, size: tuple[int, int], area: tuple[float, float], aspect: tuple[float, float]
) -> Box:
    """A random crop of an image of this height and width, as torchvision's RandomResizedCrop draws it.

    A draw that does not fit into the image fails, so every one above an area of 1 does.
    """
    height, width = size
    low, high = map(math.log, aspect)
    for _ in range(TRIES):
        wanted, ratio = height * width * rng.uniform(*area), math.exp(rng.uniform(low, high))
        rows, columns = round(math.sqrt(wanted / ratio)), round(math.sqrt(wanted * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    return middle(size, aspect)


def middle(size: tuple[int, int], aspect: tuple[float, float]) -> Box:
    """The whole image, or as much of its middle as has a width over height within these bounds."""
    height, width = rows, columns = size
    if width / height < aspect[0]:
        rows = round(width / aspect[0])
    elif width / height > aspect[1]:
        columns = round(height * aspect[1])
    rows, columns = min(rows, height), min(columns, width)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def jittered(image: Image8, amounts: tuple[float | None, ...]) -> Image8:
    """H×W×3 uint8 with its colours changed; None leaves one as it is."""
    picture = Image.fromarray(image)
    for change, amount in zip(CHANGES, amounts, strict=True):
        if amount is not None:
            picture = change(picture, amount)
    return np.asarray(picture)


def crop_image(image: Image8, crop: Box, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The crop at another size, H×W×3 float32 in 0…255: torch's bilinear with antialiasing.

    The reference resizes the normalised picture. Normalising is affine and the weights sum to one, so it may follow.
    """
    import torch
    import torch.nn.functional as F

    planes = torch.from_numpy(_cut(image, crop).astype(np.float32)).permute(2, 0, 1)[None]
    found = F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)
    return found[0].permute(1, 2, 0).contiguous().numpy()


def crop_label(label: Label, crop: Box, size: tuple[int, int]) -> Label:
    """The crop of a label H×W at another size, by torch's nearest."""
    return nearest_of("torch", _cut(label, crop), size)


def _cut(picture: npt.NDArray[np.generic], crop: Box) -> npt.NDArray[np.generic]:
    top, left, rows, columns = crop
    return picture[top : top + rows, left : left + columns]
