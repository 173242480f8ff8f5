"""Crops: the training images of `linear-dinov3`, resized, cropped and mirrored at random.

Every draw is a function of (seed, epoch, index of the sample), so that a resumed training sees what an uninterrupted
one sees, whatever the number of loader threads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.decoding import Label
from bench.data.picture_files import Image8
from bench.data.placement import place
from bench.data.preprocessing import label_resized_as, resized_as
from bench.data.samples import Samples
from bench.passes.engine import Engine
from bench.protocols.linear.augmentation import order
from bench.protocols.linear.training import Batch, labelled_image, loaded_batches
from bench.protocols.linear_dinov3.preset import Dinov3Preset


@dataclass(frozen=True)
class Draw:
    """What was drawn for one image."""

    scale: float
    top: float
    """Where the crop begins: share, 0…1, of the places where it can."""
    left: float
    flip: bool


def draw(preset: Dinov3Preset, seed: int, epoch: int, index: int) -> Draw:
    """The draws for one sample in one epoch: scale, then top and left of the crop, then flip."""
    scale, top, left, flip = np.random.default_rng([seed, epoch, index + 1]).random(4)
    low, high = preset.scale
    return Draw(float(low + (high - low) * scale), float(top), float(left), bool(flip < preset.flip))


def cropped(
    image: Image8, label: Label, drawn: Draw, preset: Dinov3Preset, ignore: int
) -> tuple[npt.NDArray[Any], Label]:
    """A crop K×K×3, 0…255, and its label K×K, of an image and its label at their own size.

    Where the resized image is smaller than the crop, the rest at right and bottom is void, and in the picture `mean`,
    which is zero once it is normalised; the picture is then float32.
    """
    height, width = place(image.shape[:2], preset).resized
    size = max(1, round(height * drawn.scale)), max(1, round(width * drawn.scale))
    top, left = (
        int(share * (max(side - preset.crop, 0) + 1)) for side, share in zip(size, (drawn.top, drawn.left), strict=True)
    )
    image = resized_as(image, size, preset)[top : top + preset.crop, left : left + preset.crop]
    label = label_resized_as(label, size, preset)[top : top + preset.crop, left : left + preset.crop]
    if drawn.flip:
        image, label = image[:, ::-1], label[:, ::-1]
    if label.shape == (preset.crop, preset.crop):
        return np.ascontiguousarray(image), np.ascontiguousarray(label)
    whole = np.tile(255 * np.array(preset.mean, np.float32), (preset.crop, preset.crop, 1))
    void = np.full((preset.crop, preset.crop), ignore, label.dtype)
    whole[: label.shape[0], : label.shape[1]], void[: label.shape[0], : label.shape[1]] = image, label
    return whole, void


def batches(samples: Samples, preset: Dinov3Preset, seed: int, first: int, engine: Engine) -> Iterator[Batch]:
    """The batches of all steps from the `first`, counted from 0, decoded and cropped in threads."""

    def load(place_: tuple[int, int]) -> tuple[npt.NDArray[Any], Label]:
        epoch, index = place_
        drawn = draw(preset, seed, epoch, index)
        return cropped(*labelled_image(samples, index), drawn, preset, samples.card.labels.ignore)

    return loaded_batches(load, _places(len(samples), preset, seed, first), preset.batch, engine)


def _places(images: int, preset: Dinov3Preset, seed: int, first: int) -> Iterator[tuple[int, int]]:
    """(epoch, index of the image) of each crop: epoch after epoch, each in an order of its own."""
    shuffled = functools.lru_cache(maxsize=1)(functools.partial(order, images, seed))
    for number in range(first * preset.batch, preset.steps * preset.batch):
        epoch, place_ = divmod(number, images)
        yield epoch, int(shuffled(epoch)[place_])
