"""Preprocessing: from a decoded image to the network's input, and masks back to the label's size.

See docs/protocols.md#preprocessing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.cards.presets import GeometryPreset, ImagePreset, Preset
from bench.data.placement import place

if TYPE_CHECKING:
    from torch import Tensor
from bench.data.decoding import Label
from bench.data.picture_files import Image8

_TORCH_MODE = {"cubic": "bicubic", "linear": "bilinear", "area": "area", "nearest": "nearest"}
_INTERPOLATION = {
    "cubic": cv2.INTER_CUBIC,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}
_PILLOW = {
    "cubic": Image.Resampling.BICUBIC,
    "linear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}


def resize_image(image: Image8, size: tuple[int, int], interpolation: str = "cubic") -> Image8:
    """Resize an H×W×3 uint8 image to `size` (height, width) with OpenCV, without antialiasing."""
    return cv2.resize(image, size[::-1], interpolation=_INTERPOLATION[interpolation])  # type: ignore[return-value]


def resize_nearest(labels: npt.NDArray[Any], size: tuple[int, ...]) -> npt.NDArray[Any]:
    """Resize an H×W uint8 or uint16 map to `size` with OpenCV's nearest rule, whose rounding belongs to it."""
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


def to_input(image: Image8, preset: ImagePreset) -> npt.NDArray[Any]:
    """An H×W×3 uint8 image resized and cut as the preset says: uint8 with OpenCV and Pillow, float32 with torch.

    torch's way is meant for the normalised image. Normalising is affine and the weights of an interpolation sum to
    one, so the order of the two does not matter: `normalise` follows here as well. So does the padding.
    """
    placed = place(image.shape[:2], preset)
    return np.ascontiguousarray(placed.cut(resized_as(image, placed.resized, preset)))


def resized_as(image: Image8, size: tuple[int, int], preset: ImagePreset) -> npt.NDArray[Any]:
    """An H×W×3 uint8 image at this size, by the preset's library and interpolation; as `to_input`, uncut."""
    if preset.resizing == "opencv":
        return resize_image(image, size, preset.interpolation)
    if preset.resizing == "pillow":
        return np.asarray(Image.fromarray(image).resize(size[::-1], _PILLOW[preset.interpolation]))
    import torch
    import torch.nn.functional as F

    planes = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    mode = _TORCH_MODE[preset.interpolation]
    corners = None if mode in ("area", "nearest") else False
    resized = F.interpolate(planes, size=size, mode=mode, align_corners=corners, antialias=False)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def label_to_input(label: Label, preset: ImagePreset) -> Label:
    """Resize an H×W label map, nearest, and cut it as the preset says; whose nearest is the preset's too."""
    placed = place((label.shape[0], label.shape[1]), preset)
    return np.ascontiguousarray(placed.cut(label_resized_as(label, placed.resized, preset)))


def label_resized_as(label: Label, size: tuple[int, int], preset: ImagePreset) -> Label:
    """An H×W map at this size, by the nearest that the preset asks for; as `label_to_input`, uncut."""
    library: str = preset.resizing
    if isinstance(preset, GeometryPreset) and preset.label_resizing != "same":
        library = preset.label_resizing
    return nearest_of(library, label, size)


def nearest_of(library: str, label: Label, size: tuple[int, int]) -> Label:
    """An H×W map at another size by the nearest of `opencv`, `torch` or `pillow`: their rounding differs."""
    if library == "opencv":
        return resize_nearest(label, size)
    indices = nearest_indices if library == "torch" else pillow_indices
    rows, columns = (indices(*sides) for sides in zip(label.shape, size, strict=True))
    return label[np.ix_(rows, columns)]


def nearest_indices(source: int, target: int) -> npt.NDArray[np.int64]:
    """Which of `source` pixels each of `target` is taken from in torch's mode `nearest`.

    ⌊t · (source / target)⌋ in float32, where the product can fall just below a whole number.
    """
    scale = np.float32(source) / np.float32(target)
    indices = np.floor(np.arange(target, dtype=np.float32) * scale).astype(np.int64)
    return np.minimum(indices, source - 1)


def pillow_indices(source: int, target: int) -> npt.NDArray[np.int64]:
    """The same in Pillow's NEAREST: the floor of a running sum, ½·s and then s more for every pixel, in float64.

    Pillow itself is asked: a closed form differs for some sizes, 512 at a target of 320 among them.
    """
    row = Image.fromarray(np.arange(source, dtype=np.int32)[None])
    return np.asarray(row.resize((target, 1), Image.Resampling.NEAREST))[0].astype(np.int64)


def normalise(images: Tensor, preset: Preset) -> Tensor:
    """B×H×W×3, 0…255 → B×3×H×W float32: divide by 255, subtract the mean, divide by the deviation."""
    import torch

    mean = torch.tensor(preset.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(preset.std, device=images.device).view(1, 3, 1, 1)
    # permute leaves the channels last in memory, which is the layout that convolutions like best
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255).sub_(mean).div_(std)
