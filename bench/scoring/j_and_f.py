"""Measures of DAVIS: region similarity J, contour accuracy F, and their statistics over frames.

See docs/protocols.md#davis.

The rules are those that the official toolboxes of DAVIS 2016 and 2017 agree on. Values are shares, 0…1.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.uint8]
"""H×W: 0 is background, k the object k."""
Values = npt.NDArray[np.float64]

TOLERANCE = 0.008
"""How far contours may lie apart, as a share of the image's diagonal."""


def region_similarity(annotation: Mask, prediction: Mask, void: Mask | None = None) -> float:
    """J of one frame, H×W bool each: |A∩B| / |A∪B|, 1 where both are empty. Pixels in `void` do not count."""
    if void is not None:
        annotation, prediction = annotation & ~void, prediction & ~void
    union = int(np.count_nonzero(annotation | prediction))
    return int(np.count_nonzero(annotation & prediction)) / union if union else 1.0


def contour_accuracy(annotation: Mask, prediction: Mask, void: Mask | None = None) -> float:
    """F of one frame, H×W bool each: the F-measure of boundary pixels that lie within a radius of the other's.

    Both boundaries empty gives 1, exactly one of them 0; a mask that fills the frame has none. Pixels in `void`
    become background before the boundaries are drawn, so a void region draws its outline into both. Symmetric.
    """
    if void is not None:
        annotation, prediction = annotation & ~void, prediction & ~void
    near = disc(radius(annotation.shape))
    window = _window(annotation, prediction)
    first, second = boundary(annotation[window]), boundary(prediction[window])
    firsts, seconds = int(first.sum()), int(second.sum())
    if not firsts or not seconds:
        return float(firsts == seconds)
    precision = cv2.countNonZero(cv2.bitwise_and(second, cv2.dilate(first, near))) / seconds
    recall = cv2.countNonZero(cv2.bitwise_and(first, cv2.dilate(second, near))) / firsts
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: Mask) -> npt.NDArray[np.uint8]:
    """Where a mask differs from its right, lower or lower-right neighbour: H×W, 0 and 1.

    In the last row only the right neighbour is compared, in the last column only the lower one: the image's edge is
    no boundary, and the bottom-right pixel never lies on one.
    """
    m = np.ascontiguousarray(mask).view(np.uint8)
    here, right, below, across = m[:-1, :-1], m[:-1, 1:], m[1:, :-1], m[1:, 1:]
    edges = np.zeros_like(m)
    edges[:-1, :-1] = (here ^ right) | (here ^ below) | (here ^ across)
    edges[-1, :-1] = m[-1, :-1] ^ m[-1, 1:]
    edges[:-1, -1] = m[:-1, -1] ^ m[1:, -1]
    return edges


def radius(shape: tuple[int, ...]) -> int:
    """How many pixels contours may lie apart in an image of this height and width: 8 at 480×854."""
    return math.ceil(TOLERANCE * math.sqrt(shape[0] ** 2 + shape[1] ** 2))


@functools.cache
def disc(radius: int) -> npt.NDArray[np.uint8]:
    """The pixels with dx² + dy² ≤ radius²: a square of side 2·radius + 1, 0 and 1."""
    offsets = np.arange(-radius, radius + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)


def _window(annotation: Mask, prediction: Mask) -> tuple[slice, slice]:
    """What the two masks cover, one pixel wider where the image goes on: all their boundary pixels lie in it."""
    x, y, width, height = cv2.boundingRect((annotation | prediction).view(np.uint8))
    return slice(max(0, y - 1), y + height + 1), slice(max(0, x - 1), x + width + 1)


def score_ids(annotation: Ids, prediction: Ids, objects: int, void: Mask | None = None) -> tuple[Values, Values]:
    """J and F of the objects 1…`objects` in one frame: predicted id k against object k, empty if never predicted.

    A predicted id above `objects` is an error of the caller: ValueError.
    """
    if prediction.max() > objects:
        raise ValueError(f"id {prediction.max()} is predicted, but there are {objects} objects")
    pairs = [(annotation == k, prediction == k) for k in range(1, objects + 1)]
    similarity = np.array([region_similarity(*pair, void) for pair in pairs])
    accuracy = np.array([contour_accuracy(*pair, void) for pair in pairs])
    return similarity, accuracy


def assign(similarity: Values, accuracy: Values) -> npt.NDArray[np.int64]:
    """The object that each matched predicted id stands for, in the order of the predicted ids (2017, unsupervised).

    `similarity` and `accuracy` are objects × predicted ids × frames; the assignment maximises the sum of
    (mean J + mean F) / 2. Returns pairs (predicted id − 1, object − 1) as an n×2 array.
    """
    from scipy.optimize import linear_sum_assignment

    fit = (similarity.mean(axis=-1) + accuracy.mean(axis=-1)) / 2
    objects, predicted = linear_sum_assignment(-fit)
    pairs = np.stack([predicted, objects], axis=1)
    return pairs[np.argsort(pairs[:, 0])]
