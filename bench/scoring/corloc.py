"""CorLoc: boxes of discovered objects, and whether they hit (docs/protocols.md#discovery).

A box is (x1, y1, x2, y2) in pixels from the image's upper left corner; x2 and y2 are the first column and row outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
OVERLAP = 0.5
"""IoU from which on an object is found."""


def box_iou(box: npt.ArrayLike, others: npt.ArrayLike) -> Floats:
    """N: IoU of one box with each of N×4 others, areas (x2 − x1)·(y2 − y1); 0 where both are empty."""
    one, table = _table(box), _table(others)
    sides = np.minimum(one[:, 2:], table[:, 2:]) - np.maximum(one[:, :2], table[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    union = _area(one) + _area(table) - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0))


def _area(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1))


def _table(boxes: npt.ArrayLike) -> Floats:
    return np.asarray(boxes, np.float64).reshape(-1, 4)


def best_iou(box: npt.ArrayLike | None, annotated: npt.ArrayLike) -> float:
    """The largest IoU of one predicted box with any of N×4 annotated ones; 0 without a box on either side."""
    found = np.empty(0) if box is None else box_iou(box, annotated)
    return float(found.max(initial=0.0))


@dataclass(frozen=True)
class Found:
    """What came of the images of a split."""

    found: int
    images: int
    """Those with a box that counts."""

    @property
    def corloc(self) -> float:
        """Percent; NaN of no image."""
        return 100 * self.found / self.images if self.images else float("nan")


def corloc(
    predicted: Sequence[npt.ArrayLike | None], annotated: Sequence[npt.ArrayLike], overlap: float = OVERLAP
) -> Found:
    """How many images' predicted box has an IoU of at least `overlap` with any of its N×4 annotated boxes.

    An image without an annotated box is not counted.
    """
    counted = [
        best_iou(box, boxes) >= overlap for box, boxes in zip(predicted, annotated, strict=True) if len(_table(boxes))
    ]
    return Found(sum(counted), len(counted))


# --- from a mask of patches to a box ---


def component_of(mask: npt.NDArray[np.bool_], seed: Sequence[int]) -> Flags:
    """The 4-connected component of a mask, rows×columns, that holds the cell `seed` = (row, column).

    Raises ValueError where the seed is not in the mask.
    """
    import scipy.ndimage

    numbers, _ = scipy.ndimage.label(mask)  # 4-connected by default
    own = numbers[int(seed[0]), int(seed[1])]
    if not own:
        raise ValueError(f"the seed {tuple(map(int, seed))} is not in the mask")
    return np.asarray(numbers == own)


def box_of(
    component: npt.NDArray[np.bool_], patch: float | tuple[float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The box of a component of patches, cut at the image's (height, width) `size`, pixels.

    `patch` is the side of a patch in pixels, or its height and width. Raises ValueError for an empty component.
    """
    high, wide = patch if isinstance(patch, tuple) else (patch, patch)
    rows, columns = np.flatnonzero(component.any(axis=1)), np.flatnonzero(component.any(axis=0))
    if not len(rows):
        raise ValueError("the component is empty")
    return (
        float(columns[0] * wide),
        float(rows[0] * high),
        float(min((columns[-1] + 1) * wide, size[1])),
        float(min((rows[-1] + 1) * high, size[0])),
    )


def component_box(
    mask: npt.NDArray[np.bool_], seed: Sequence[int], patch: float | tuple[float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """`box_of` the `component_of` a patch mask that holds the seed patch."""
    return box_of(component_of(np.asarray(mask, bool), seed), patch, size)
