"""Boundaries: the bands along the outlines of id maps, as ImageNet-S measures them (docs/protocols.md#imagenet-s)."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

SHARE = 0.03
"""Width of a band as a share of the image's diagonal."""


def band_width(height: int, width: int) -> int:
    """Pixels: the share of the diagonal, halves rounded to even, at least 1."""
    return max(1, round(SHARE * math.sqrt(height**2 + width**2)))


def is_boundary(ids: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Where an H×W id map has a pixel of another id, or the image's end, at most a band's width away in either axis.

    Every id has a boundary, the ignore id as well.
    """
    reach = band_width(*ids.shape)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    boundary = np.asarray(cv2.dilate(ids, square) != cv2.erode(ids, square))
    for side in (boundary, boundary.T):
        side[:reach] = side[-reach:] = True
    return boundary


def count_bands(label: npt.NDArray[Any], mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """V×8 pixels of every label value, from an H×W label and a prediction's mask (0 or 1) of that size.

    Columns are 4 · (under the mask) + 2 · (on the boundary of the prediction) + (on the boundary of the label). V
    exceeds every value.
    """
    column = 4 * mask + 2 * is_boundary(mask).astype(np.uint8) + is_boundary(label).astype(np.uint8)
    joint = label.astype(np.int64) * 8 + column
    return np.bincount(joint.reshape(-1), minlength=8 * (int(label.max()) + 1)).reshape(-1, 8)
