"""Features: the output of a frozen network for a batch, and how it is resized."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput
from bench.cards.presets import filled

if TYPE_CHECKING:
    from torch import Tensor

EQUAL = 8 * 2.0**-23
"""Values that differ by less, relative to the largest, are equal but for float32's rounding."""
LOADED = "Check that its weights are loaded, and that the model sees the image."
Features = Callable[["Tensor"], "Tensor"]
"""B×3×H×W normalised images → B×D×h×w features."""


_LARGEST_STRIDE = 64
"""Of any network in use, pixels: an image with a longer side that comes to a single cell was pooled."""


def feature_map(output: Any, images: Tensor) -> Tensor:
    """The features B×D×h×w of the images B×3×H×W. Raises BadInput if the network returned anything else.

    They must be floating point, and h and w must follow from H and W by one stride, to within a cell: patch embeddings
    round down, padded convolutions up. Features whose channels come last fit no stride.
    """
    from torch import Tensor

    if not (isinstance(output, Tensor) and output.ndim == 4 and len(output) == len(images)):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise BadInput(f"the network's features are {shape}", "Return one tensor, B×D×h×w.")
    if not output.is_floating_point():
        kind = str(output.dtype).removeprefix("torch.")
        raise BadInput(f"the network's features are {kind}, not floating point", "Return float32, B×D×h×w.")
    given, found = (images.shape[-2], images.shape[-1]), (output.shape[-2], output.shape[-1])
    said = f"the network's features are {tuple(output.shape)} for images of {given[0]}×{given[1]} pixels"
    if found == (1, 1) and max(given) > _LARGEST_STRIDE:
        raise BadInput(
            f"{said}: one vector for a whole image", "Name a layer before the pooling with features=…, such as last."
        )
    if not _one_stride(given, found):
        raise BadInput(
            f"{said}, which no stride explains",
            "Return B×D×h×w: where channels come last, .permute(0, 3, 1, 2); or name another layer with features=….",
        )
    return output


def _one_stride(given: tuple[int, int], found: tuple[int, int]) -> bool:
    """Whether a stride s has every found side within one cell of the given side over s; a square stays one."""
    if min(found) < 1 or (given[0] == given[1] and found[0] != found[1]):
        return False
    least = max(side / (cells + 1) for side, cells in zip(given, found, strict=True))
    most = min(side / (cells - 1) if cells > 1 else float("inf") for side, cells in zip(given, found, strict=True))
    return least <= most


_SAFE = 1e12
"""Of values between this and its inverse, sums of squares neither overflow nor vanish in float32."""


def unit(features: Tensor, dim: int) -> Tensor:
    """Features, float32, as unit vectors along `dim`, whatever their scale; zeros stay zeros.

    Only what lies outside of the safe range is scaled first, so that no other value changes by a bit.
    """
    import torch
    import torch.nn.functional as F

    largest = features.abs().amax(dim, keepdim=True)
    safe = (largest == 0) | ((largest > 1 / _SAFE) & (largest < _SAFE))
    if not bool(safe.all()):
        features = features / torch.where(safe, 1.0, largest)
    return F.normalize(features, dim=dim)


def require_variety(features: Tensor, dim: int, where: str) -> None:
    """Raises BadInput where the feature vectors along `dim` are all one and the same: such a network is dead."""
    others = [axis for axis in range(features.ndim) if axis != dim % features.ndim]
    spread = (features.amax(others) - features.amin(others)).max()
    if features.numel() > features.shape[dim] and bool(spread <= EQUAL * features.abs().max()):
        raise BadInput(f"the network gives the same features everywhere in {where}", LOADED)


def fill_up(images: Tensor, multiple: int | None, pad: str = "end") -> Tensor:
    """B×C×H×W with zeros up to a multiple of so many pixels: at right and bottom, or all around (`centre`)."""
    import torch.nn.functional as F

    height, width = images.shape[-2:]
    rows, columns = filled(height, multiple) - height, filled(width, multiple) - width
    if not (rows or columns):
        return images
    above, before = (rows // 2, columns // 2) if pad == "centre" else (0, 0)
    return F.pad(images, (before, columns - before, above, rows - above))


def upsample(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """B×C×h×w → B×C×H×W, bilinear, corners not aligned."""
    import torch.nn.functional as F

    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def best_of(parts: Iterable[Tensor]) -> Tensor:
    """H×W int64: which class scores highest, from k×H×W scores of a few classes at a time; of equal ones the first."""
    import torch

    best = highest = None
    start = 0
    for part in parts:
        value, index = part.max(dim=0)  # of equal ones the first, and three times as fast as argmax
        if best is None or highest is None:
            best, highest = index, value
        else:
            larger = value > highest
            best, highest = torch.where(larger, index + start, best), torch.where(larger, value, highest)
        start += len(part)
    assert best is not None
    return best
