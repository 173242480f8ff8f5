"""Protocols: recipes from observations to confusion rows. No protocol on images has metric code of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.passes.observations import Observations
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.matching import UNMATCHED, Mapping


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


def rows_of_masks(
    observations: Observations,
    painted: npt.NDArray[np.int64],
    grid: str,
    num_classes: int,
    valid: npt.NDArray[np.bool_] | None = None,
) -> SeedRows:
    """Rows of images that are painted in one class inside their mask and in one outside it: N×2, −1 for no class.

    Pixels are counted on `grid`; those of a class that is not `valid` are left out.
    """
    parts = []
    for counts, classes in zip(observations.histograms(grid, num_classes), painted.T, strict=True):
        table = counts.tocoo()
        kept = table.data > 0 if valid is None else (table.data > 0) & valid[table.coords[1]]
        image, true = (column[kept] for column in table.coords)
        predicted = np.where(classes == UNMATCHED, num_classes, classes)[image]
        parts.append((image, predicted, true, table.data[kept]))
    image, predicted, true, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    return SeedRows(image.astype(np.int32), predicted.astype(np.int32), true.astype(np.int32), count.astype(np.int64))
