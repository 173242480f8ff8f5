"""Features: the output of a frozen network for a batch, and how it is resized."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

Features = Callable[["Tensor"], "Tensor"]
"""B×3×H×W normalised images → B×D×h×w features."""


def feature_map(output: Any, images: int) -> Tensor:
    """The features B×D×h×w. Raises BadInput if the network returned anything else."""
    from torch import Tensor

    if isinstance(output, Tensor) and output.ndim == 4 and len(output) == images:
        return output
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise BadInput(f"the network's features are {shape}", "Return one tensor, B×D×h×w.")


def upsample(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """B×C×h×w → B×C×H×W, bilinear, corners not aligned."""
    import torch.nn.functional as F

    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
