"""Object masks: the clean-up after a saliency estimate, and the PNG files that hold them.

See docs/pre-training.md#object-masks.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from bench.base.files import atomic_write
from bench.data.label_values import mask_values
from bench.data.picture_files import Image8

Mask = npt.NDArray[np.bool_]
Saliency = npt.NDArray[np.float32]

FOREGROUND = 255
"""The only value of a mask file that counts as foreground (docs/pre-training.md#object-masks)."""
THRESHOLD = 0.5
SMALLEST_PERCENT = 1
"""Of the image's pixels: a smaller contour is no object, a smaller mask no proposal.

See docs/pre-training.md#object-masks.
"""


def from_saliency(saliency: Saliency) -> Mask:
    """The mask of a saliency map (H×W float32, 0…1): above 0.5, then cleaned up (docs/pre-training.md#object-masks)."""
    return clean_up(saliency > THRESHOLD)


def clean_up(mask: Mask) -> Mask:
    """A copy of a mask (H×W bool) without small contours (docs/pre-training.md#object-masks).

    Every contour of `findContours`, with the full tree so that holes count as well, whose filled area is
    under 1 % of the image is filled with background. A hole's contour runs on the object's pixels around it,
    so a small hole takes them along.
    """
    cleaned = mask.astype(np.uint8)
    contours, _ = cv2.findContours(cleaned, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    small = [contour for contour in contours if _is_small(_filled_area(contour), mask.size)]
    for contour in small:  # one by one: drawn together, nested contours would cancel each other
        cv2.drawContours(cleaned, [contour], -1, 0, cv2.FILLED)
    return cleaned.astype(bool)


def _filled_area(contour: MatLike) -> int:
    """Pixels inside and on a contour."""
    left, top, width, height = cv2.boundingRect(contour)
    canvas = np.zeros((height, width), np.uint8)
    return cv2.countNonZero(cv2.drawContours(canvas, [contour], -1, 1, cv2.FILLED, offset=(-left, -top)))


def _is_small(area: int, pixels: int) -> bool:
    return 100 * area < SMALLEST_PERCENT * pixels  # in whole numbers: exactly 1 % is not under 1 %


def is_too_small(mask: Mask) -> bool:
    """Whether a mask (H×W bool) covers less than 1 % of its image, so that the image is skipped.

    See docs/pre-training.md#object-masks.
    """
    return _is_small(int(np.count_nonzero(mask)), mask.size)


def mask_path(folder: Path, sample_id: str) -> Path:
    """Where a sample's mask lies: `<id>.png`; an id may contain `/`."""
    return folder / f"{sample_id}.png"


def read_values(path: Path, size: tuple[int, int]) -> Image8:
    """The values of a mask file, H×W uint8, as they stand in it; `size` is its image's (height, width).

    Raises BadInput, naming the file, where it is missing, damaged, not 8-bit greyscale or palette, or of
    another size.
    """
    return mask_values(path, size)


def read_mask(path: Path, size: tuple[int, int]) -> Mask:
    """A mask file as H×W bool: true where its value is 255, and nowhere else (docs/pre-training.md#object-masks).

    `size` is the image's (height, width) in pixels. Raises BadInput, naming the file, where it is missing,
    damaged, not 8-bit greyscale or palette, or of another size.
    """
    return np.asarray(read_values(path, size) == FOREGROUND)


def write_mask(path: Path, mask: Mask) -> None:
    """Write a mask (H×W bool) as an 8-bit greyscale PNG of 0 and 255, atomically."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * np.uint8(FOREGROUND)).save(buffer, "PNG")
    with atomic_write(path) as stream:
        stream.write(buffer.getvalue())
