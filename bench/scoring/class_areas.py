"""Class areas: figures from intersections, predicted and labelled areas per class, as mmsegmentation counts them.

Confusion rows give its mIoU, pixel accuracy (aAcc) and mean class accuracy (mAcc) as they are, with `absent = "skip"`;
here are its stages one by one, and its further figures. See docs/protocols.md#linear-dinov3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.scoring.metrics import mean_present

Counts = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Map = npt.NDArray[Any]
IGNORED = 255


def reduce_zero_label(label: Map) -> npt.NDArray[np.uint8]:
    """An H×W uint8 label whose 0 is void and whose classes count from 1, as one that counts from 0: void is 255.

    255 stays 255. A data set's card says the same with `map`.
    """
    shifted = label.astype(np.int64) - 1
    return np.where((label == 0) | (label == IGNORED), IGNORED, shifted).astype(np.uint8)


@dataclass(frozen=True)
class Areas:
    """Pixels of each of C classes, int64, of one image or summed over several."""

    intersect: Counts
    predicted: Counts
    labelled: Counts

    @property
    def union(self) -> Counts:
        """What is predicted or labelled as a class."""
        return self.predicted + self.labelled - self.intersect

    def __add__(self, other: Areas) -> Areas:
        """Of both."""
        return Areas(self.intersect + other.intersect, self.predicted + other.predicted, self.labelled + other.labelled)


def areas(predicted: Map, label: Map, classes: int, ignore: int = IGNORED) -> Areas:
    """Of two maps of one shape. Pixels labelled `ignore` are left out of both.

    An id outside of 0…C−1 is in no class's area: a predicted one costs recall alone.
    """
    kept = label != ignore
    predicted, label = predicted[kept].astype(np.int64), label[kept].astype(np.int64)

    def histogram(ids: Counts) -> Counts:
        return np.bincount(ids[(ids >= 0) & (ids < classes)], minlength=classes)

    return Areas(histogram(label[predicted == label]), histogram(predicted), histogram(label))


def summed(parts: Iterable[Areas], classes: int) -> Areas:
    """Over images."""
    zero = np.zeros(classes, np.int64)
    return sum(parts, Areas(zero, zero, zero))


def areas_of_sums(sums: Counts) -> Areas:
    """Of one seed's 3C sums (`bench.scoring.confusion_rows.ConfusionRows.sums`)."""
    return Areas(*np.split(np.asarray(sums), 3))


def per_class(found: Areas) -> dict[str, Float]:
    """`iou`, `accuracy`, `dice`, `precision`, `recall` and `fscore` of each class, 0…1; NaN where it is 0/0.

    Accuracy and recall are the same. Dice and F-score are the same formula where both are defined, but an F-score is
    made of precision and recall, and of two zeros it is NaN.
    """
    hit, predicted, labelled = (part.astype(np.float64) for part in (found.intersect, found.predicted, found.labelled))
    precision, recall = _ratio(hit, predicted), _ratio(hit, labelled)
    return {
        "iou": _ratio(hit, predicted + labelled - hit),
        "accuracy": recall,
        "dice": _ratio(2 * hit, predicted + labelled),
        "precision": precision,
        "recall": recall,
        "fscore": _ratio(2 * precision * recall, precision + recall),
    }


def _ratio(part: Float, whole: Float) -> Float:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


FIGURES = {
    "mIoU": "iou",
    "mAcc": "accuracy",
    "mDice": "dice",
    "mFscore": "fscore",
    "mPrecision": "precision",
    "mRecall": "recall",
}
"""Figure → what it is the mean of."""


def figures(found: Areas) -> dict[str, float]:
    """`aAcc` and the `FIGURES`, percent: each the mean over the classes in which it is defined, NaN where in none.

    So a class that is neither labelled nor predicted is left out of mIoU and mDice, and one that is only predicted
    counts 0 in them; mAcc is over the labelled classes.
    """
    labelled = found.labelled.sum()
    accuracy = 100 * float(found.intersect.sum()) / float(labelled) if labelled else float("nan")
    own = per_class(found)
    return {"aAcc": accuracy} | {name: 100 * float(mean_present(own[key], axis=-1)) for name, key in FIGURES.items()}


def as_reported(figures: dict[str, float]) -> dict[str, np.float32]:
    """Rounded to two decimals as float32, which the reference prints: 33.44 then reads 33.43999863."""
    return {name: np.round(np.float32(value), 2) for name, value in figures.items()}
