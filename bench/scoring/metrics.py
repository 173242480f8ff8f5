"""Metrics, all from count tables. Percentages are 0…100."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

if TYPE_CHECKING:
    from bench.scoring.confusion_rows import Confusion, ConfusionRows

SKIP_AND_VOID = "skip+void"
"""An absent class is left out of a mean; where a labelled pixel is predicted void, void is a class more, of IoU 0."""
Float = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def class_iou(hit: Float, predicted: Float, labelled: Float) -> Float:
    """IoU in percent per class (last axis): TP / (TP + FP + FN); NaN for a class that occurs nowhere."""
    union = predicted + labelled - hit
    return 100 * np.divide(hit, union, out=np.full(np.shape(union), np.nan), where=union > 0)


def mean_over_classes(values: Float, absent: str) -> Float:
    """Mean over the classes (last axis); an absent one, NaN, counts as 0 (`zero`) or not at all (`skip…`)."""
    if absent == "zero":
        return np.nan_to_num(values, nan=0.0).mean(axis=-1)
    return np.nan_to_num(mean_present(values, axis=-1), nan=0.0)


def mean_present(values: Float, axis: int) -> Float:
    """Mean of the values that are not NaN; NaN where all are."""
    count = (~np.isnan(values)).sum(axis=axis)
    total = np.nan_to_num(values, nan=0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def iou_of_sums(sums: Float | Counts) -> Float:
    """IoU in percent per class of ...×3C sums, as `from_sums` takes them; NaN for a class that occurs nowhere."""
    return class_iou(*np.split(np.asarray(sums, np.float64), 3, axis=-1))


def image_iou(sums: scipy.sparse.csr_array, counted: Sequence[int] | None = None) -> Float:
    """Per image the mean IoU, percent, over the classes that occur in its label or its prediction.

    `sums` are N×3C: true positives, predicted and labelled pixels of every class. Only `counted` classes are taken in,
    all by default. NaN for an image in which none of them occurs.
    """
    classes = sums.shape[1] // 3
    kept = np.arange(classes) if counted is None else np.asarray(counted)
    hit, predicted, labelled = (sums[:, part * classes + kept].astype(np.float64) for part in range(3))
    union = scipy.sparse.csr_array(predicted + labelled - hit)
    union.eliminate_zeros()
    occurring = np.diff(union.indptr)
    union.data = 100 / union.data
    total = np.asarray((hit * union).sum(axis=1)).reshape(-1)
    return np.divide(total, occurring, out=np.full(len(total), np.nan), where=occurring > 0)


def recall_of_sums(sums: Float | Counts) -> Float:
    """Share in percent of each class's labelled pixels that are right, of ...×3C sums; NaN for a class without any."""
    hit, _, labelled = np.split(np.asarray(sums, np.float64), 3, axis=-1)
    return 100 * np.divide(hit, labelled, out=np.full(hit.shape, np.nan), where=labelled > 0)


def from_sums(
    sums: Float | Counts, absent: str, counted: Sequence[int] | None = None, whole: Float | None = None
) -> dict[str, Float]:
    """Metrics of ...×3C sums (true positives, predicted, labelled per class), as `ConfusionRows` makes them.

    Means over classes take in the `counted` ones, all by default; pixel accuracy counts every pixel. For a part of the
    images, `whole` (3C) are the sums of all of them: a class that the part lacks has its value in the whole.
    With `absent` = `skip+void`, pixels without a predicted class make one class more, of IoU 0
    (docs/protocols.md#knn).
    """
    hit, _, labelled = np.split(np.asarray(sums, np.float64), 3, axis=-1)
    kept = slice(None) if counted is None else list(counted)

    def of_classes(values: Callable[[Float | Counts], Float]) -> Float:
        found = values(sums)
        return (found if whole is None else np.where(np.isnan(found), values(whole), found))[..., kept]

    ious = of_classes(iou_of_sums)
    mean = mean_over_classes(ious, absent)
    if absent == SKIP_AND_VOID:
        occurring = (~np.isnan(ious)).sum(axis=-1)
        mean = mean * occurring / np.maximum(occurring + _any_void(sums if whole is None else whole), 1)
    return {
        "mIoU": mean,
        "pixel_accuracy": np.asarray(100 * hit.sum(axis=-1) / np.maximum(labelled.sum(axis=-1), 1)),
        "mean_class_accuracy": mean_over_classes(of_classes(recall_of_sums), "skip"),
    }


def _any_void(sums: Float | Counts) -> npt.NDArray[np.bool_]:
    """Whether any labelled pixel has no predicted class, of ...×3C sums."""
    _, predicted, labelled = np.split(np.asarray(sums), 3, axis=-1)
    return np.asarray(labelled.sum(axis=-1) > predicted.sum(axis=-1))


def confusion_sums(confusion: Confusion) -> Float:
    """3C sums of a (C+1)×C confusion matrix."""
    square = confusion[:-1]
    return np.concatenate([np.diag(square), square.sum(axis=1), confusion.sum(axis=0)]).astype(np.float64)


def seed_metrics(rows: ConfusionRows, absent: str) -> list[dict[str, float]]:
    """Every metric that confusion rows give, in percent, one dict per seed; `absent` as in `mean_over_classes`."""
    every = (from_sums(rows.sums(i), absent, rows.counted) for i in range(len(rows.seeds)))
    return [{name: float(value) for name, value in values.items()} for values in every]


def solver_distance(sums: Counts, absent: str, counted: Sequence[int] | None = None) -> float:
    """How far two solvers' mean mIoU over S seeds lie apart, in points, from 2×S×3C sums."""
    ours, theirs = from_sums(sums, absent, counted)["mIoU"].mean(axis=1)
    return abs(float(ours) - float(theirs))


def entropy(counts: Float) -> float:
    """Shannon entropy, in nats, of a distribution given as counts."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def nmi(table: npt.NDArray[np.int64]) -> float:
    """Normalised mutual information, 0…100, of a contingency table; normalised by the mean entropy."""
    counts = table.astype(np.float64)
    rows, columns = entropy(counts.sum(axis=1)), entropy(counts.sum(axis=0))
    if rows == 0 and columns == 0:
        return 100.0
    return max(0.0, 100 * 2 * (rows + columns - entropy(counts.reshape(-1))) / (rows + columns))


def ari(table: npt.NDArray[np.int64]) -> float:
    """Adjusted Rand index, in percent, of a contingency table; 0 for chance."""
    counts = table.astype(np.float64)

    def pairs(values: Float) -> float:
        return float((values * (values - 1) / 2).sum())

    together, rows, columns = pairs(counts), pairs(counts.sum(axis=1)), pairs(counts.sum(axis=0))
    total = pairs(np.asarray(counts.sum()))
    expected = rows * columns / total if total else 0.0
    highest = (rows + columns) / 2
    return 100.0 if highest == expected else 100 * (together - expected) / (highest - expected)
