"""Preprocessing: from a decoded image to the network's input, and masks back to the label's size.

See docs/protocols.md#preprocessing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.cards.presets import ImagePreset, Preset

if TYPE_CHECKING:
    from torch import Tensor
from bench.data.decoding import Label
from bench.data.picture_files import Image8

_TORCH_MODE = {"cubic": "bicubic", "linear": "bilinear", "area": "area"}
_INTERPOLATION = {"cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


def resize_image(image: Image8, size: tuple[int, int], interpolation: str = "cubic") -> Image8:
    """Resize an H×W×3 uint8 image to `size` (height, width) with OpenCV, without antialiasing."""
    return cv2.resize(image, size[::-1], interpolation=_INTERPOLATION[interpolation])  # type: ignore[return-value]


def resize_nearest(labels: npt.NDArray[Any], size: tuple[int, ...]) -> npt.NDArray[Any]:
    """Resize an H×W uint8 or uint16 map to `size` with OpenCV's nearest rule, whose rounding belongs to it."""
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


def to_input(image: Image8, preset: ImagePreset) -> npt.NDArray[Any]:
    """Resize an H×W×3 uint8 image to the preset's input as its `resizing` says: uint8 with OpenCV, float32 with torch.

    torch's way is meant for the normalised image. Normalising is affine and the weights of an interpolation sum to
    one, so the order of the two does not matter: `normalise` follows here as well.
    """
    if preset.resizing == "opencv":
        return resize_image(image, preset.input, preset.interpolation)
    import torch
    import torch.nn.functional as F

    planes = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    mode = _TORCH_MODE[preset.interpolation]
    corners = None if mode == "area" else False
    resized = F.interpolate(planes, size=preset.input, mode=mode, align_corners=corners, antialias=False)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def label_to_input(label: Label, preset: ImagePreset) -> Label:
    """Resize an H×W label map to the preset's input, nearest, by the rule of the preset's `resizing`."""
    if preset.resizing == "opencv":
        return resize_nearest(label, preset.input)
    rows, columns = (nearest_indices(*sides) for sides in zip(label.shape, preset.input, strict=True))
    return label[np.ix_(rows, columns)]


def nearest_indices(source: int, target: int) -> npt.NDArray[np.int64]:
    """Which of `source` pixels each of `target` is taken from in torch's mode `nearest`.

    ⌊t · (source / target)⌋ in float32, where the product can fall just below a whole number.
    """
    scale = np.float32(source) / np.float32(target)
    indices = np.floor(np.arange(target, dtype=np.float32) * scale).astype(np.int64)
    return np.minimum(indices, source - 1)


def normalise(images: Tensor, preset: Preset) -> Tensor:
    """B×H×W×3, 0…255 → B×3×H×W float32: divide by 255, subtract the mean, divide by the deviation."""
    import torch

    mean = torch.tensor(preset.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(preset.std, device=images.device).view(1, 3, 1, 1)
    # permute leaves the channels last in memory, which is the layout that convolutions like best
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255).sub_(mean).div_(std)
