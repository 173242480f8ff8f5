"""Augmentation of the linear classifier's training images (docs/protocols.md#linear).

Every draw is a function of (seed, epoch, index of the sample), so that a resumed training sees what an
uninterrupted one sees, whatever the number of loader threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.data.decoding import Label
from bench.data.picture_files import Image8
from bench.data.preprocessing import label_to_input, to_input
from bench.protocols.linear.preset import LinearPreset


@dataclass(frozen=True)
class Draw:
    """What was drawn for one image."""

    flip: bool
    angle: float
    """Degrees, counter-clockwise."""
    scale: float


def order(images: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch takes the images."""
    return np.random.default_rng([seed, epoch, 0]).permutation(images)


def draw(preset: LinearPreset, seed: int, epoch: int, index: int) -> Draw:
    """The draws for one sample in one epoch: flip, then rotation, then scale."""
    flip, rotation, scale = np.random.default_rng([seed, epoch, index + 1]).random(3)
    low, high = preset.scale
    return Draw(
        bool(flip < preset.flip), float(preset.rotation * (2 * rotation - 1)), float(low + (high - low) * scale)
    )


def augment(image: Image8, label: Label, drawn: Draw, preset: LinearPreset) -> tuple[npt.NDArray[Any], Label]:
    """Flip, warp at the image's own size, resize to the preset's input: H×W×3 and H×W.

    One affine warp turns and scales about the image's centre. What comes from outside the image is black, and
    labelled 0, background. OpenCV's cubic warp differs between versions 4 and 5 by a few grey levels.
    """
    if drawn.flip:
        image, label = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(label[:, ::-1])
    height, width = label.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), drawn.angle, drawn.scale)
    image = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_CUBIC)  # type: ignore[assignment]
    label = cv2.warpAffine(label, turn, (width, height), flags=cv2.INTER_NEAREST)
    return to_input(image, preset), label_to_input(label, preset)
