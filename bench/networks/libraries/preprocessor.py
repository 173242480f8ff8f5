"""Preprocessor: what a file of transformers says of how pixels become the input of a network.

transformers' image processors multiply pixels of 0…255 by `rescale_factor` (`do_rescale`), may then subtract 1
(`rescale_offset`), take BGR for RGB (`do_flip_channel_order`), and normalise by `image_mean` and `image_std`
(`do_normalize`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.base.errors import BadInput
from bench.networks.subject import Triple

_SCALE = 255.0
_ROUNDING = 1e-6


def normalisation_of(told: Mapping[str, Any], path: Path) -> tuple[Triple | None, Triple | None]:
    """Mean and standard deviation of RGB in 0…1 that come to the same as what the file says; None where it says none.

    Raises BadInput for a factor by which no pixel can be multiplied.
    """
    scale, offset = _SCALE, 0.0
    if told.get("do_rescale", True):
        factor = told.get("rescale_factor", 1 / _SCALE)
        if not isinstance(factor, (int, float)) or not math.isfinite(factor) or factor <= 0:
            raise BadInput(f"{path}: rescale_factor is {str(factor)[:40]}", "Correct the file.")
        scale, offset = factor * _SCALE, float(bool(told.get("rescale_offset")))
    mean, std = _triple(told.get("image_mean")), _triple(told.get("image_std"))
    if told.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if offset == 0 and abs(scale - 1) < _ROUNDING:
        return mean, std
    return mean and _each(mean, lambda one: (one + offset) / scale), std and _each(std, lambda one: one / scale)


def takes_bgr(told: Mapping[str, Any]) -> bool:
    """Whether the network was trained with the channels in the other order."""
    return told.get("do_flip_channel_order") is True


def _each(values: Triple, change: Any) -> Triple:
    return change(values[0]), change(values[1]), change(values[2])


def _triple(value: Any) -> Triple | None:
    """Three numbers, or one for each of R, G and B; None for anything else."""
    numbers = [value] * 3 if isinstance(value, (int, float)) else value
    if not isinstance(numbers, list) or len(numbers) != 3 or not all(isinstance(one, (int, float)) for one in numbers):
        return None
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
