"""Protocols: recipes from observations to confusion rows. No protocol on images has metric code of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.matching import Mapping
from bench.rows import ConfusionRows


@dataclass(frozen=True)
class Scored:
    """What a protocol hands over: rows, and what it wants to say beside them."""

    rows: ConfusionRows
    mappings: tuple[Mapping, ...] = ()
    """Per seed: predicted id (0 is background, cluster k is k + 1) → class, or −1."""
    mask_classes: npt.NDArray[np.int64] | None = None
    """Seeds × images × 2: the class painted inside an image's mask and outside it; None if pixels were painted."""
    extra: dict[str, list[float]] = field(default_factory=dict)
    """Further metrics, a value per seed."""
    detail: dict[str, Any] = field(default_factory=dict)
    """Further entries of the record, as plain JSON values."""
