"""Preprocessing: from a decoded image to the network's input, and masks back to the label's size (spec §2)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy.typing as npt
import torch
from torch import Tensor

from bench.presets import Preset
from bench.samples import Image8

_INTERPOLATION = {"cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


def resize_image(image: Image8, size: tuple[int, int], interpolation: str = "cubic") -> Image8:
    """Resize an H×W×3 uint8 image to `size` (height, width) with OpenCV, without antialiasing."""
    return cv2.resize(image, size[::-1], interpolation=_INTERPOLATION[interpolation])  # type: ignore[return-value]


def resize_nearest(labels: npt.NDArray[Any], size: tuple[int, ...]) -> npt.NDArray[Any]:
    """Resize an H×W uint8 or uint16 map to `size` with OpenCV's nearest rule, whose rounding belongs to it."""
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


def normalise(images: Tensor, preset: Preset) -> Tensor:
    """B×H×W×3 uint8 → B×3×H×W float32: divide by 255, subtract the mean, divide by the deviation."""
    mean = torch.tensor(preset.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(preset.std, device=images.device).view(1, 3, 1, 1)
    # permute leaves the channels last in memory, which is the layout that convolutions like best
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255).sub_(mean).div_(std)
