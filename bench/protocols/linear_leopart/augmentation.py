"""Augmentation of the training images of `linear-leopart`: a random crop, resized, mirrored half of the time.

Every draw is a function of (seed, epoch, index of the sample), as `bench.protocols.linear.augmentation` has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.decoding import Label
from bench.data.picture_files import Image8
from bench.data.preprocessing import label_to_input, nearest_of, to_input
from bench.data.samples import Samples
from bench.passes.engine import Engine
from bench.protocols.linear.augmentation import order
from bench.protocols.linear.training import Batch, labelled_image, loaded_batches
from bench.protocols.linear_leopart.preset import LeopartPreset

_TRIES = 10
"""To find a crop that lies in the image; then the largest one in its middle is taken."""
Box = tuple[int, int, int, int]
"""Top, left, height and width, pixels."""


def batches(samples: Samples, preset: LeopartPreset, seed: int, epoch: int, engine: Engine) -> Iterator[Batch]:
    """One epoch's batches: images B×H×W×3 at the input size, labels at `train_grid`. An incomplete one is dropped."""

    def load(index: int) -> tuple[npt.NDArray[Any], Label]:
        image, label = labelled_image(samples, index)
        return augment(image, label, preset, np.random.default_rng([seed, epoch, index + 1]))

    return loaded_batches(load, (int(i) for i in order(len(samples), seed, epoch)), preset.batch, engine)


def augment(
    image: Image8, label: Label, preset: LeopartPreset, draw: np.random.Generator
) -> tuple[npt.NDArray[Any], Label]:
    """Crop, resize to the input, mirror: H×W×3, and the label at `train_grid`."""
    top, left, height, width = crop_box((label.shape[0], label.shape[1]), preset, draw)
    part = (slice(top, top + height), slice(left, left + width))
    image, label = np.ascontiguousarray(image[part]), np.ascontiguousarray(label[part])
    if draw.random() < preset.flip:
        image, label = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(label[:, ::-1])
    return to_input(image, preset), to_train_grid(label_to_input(label, preset), preset)


def to_train_grid(label: Label, preset: LeopartPreset) -> Label:
    """A label at the input size, H×W, at `train_grid`: torch's nearest, ⌊x · source / target⌋ in float32."""
    return nearest_of("torch", label, (preset.train_grid, preset.train_grid))


def crop_box(size: tuple[int, int], preset: LeopartPreset, draw: np.random.Generator) -> Box:
    """A random resized crop of an image of this height and width, as torchvision draws one."""
    height, width = size
    low, high = (math.log(one) for one in preset.crop_aspect)
    for _ in range(_TRIES):
        area = height * width * draw.uniform(*preset.crop_area)
        aspect = math.exp(draw.uniform(low, high))
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            return int(draw.integers(height - down + 1)), int(draw.integers(width - across + 1)), down, across
    across = min(width, max(1, round(height * preset.crop_aspect[1])))
    down = min(height, max(1, round(width / preset.crop_aspect[0])))
    return (height - down) // 2, (width - across) // 2, down, across
