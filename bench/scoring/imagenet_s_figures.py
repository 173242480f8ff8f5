"""ImageNet-S's figures, all from per-image counts of (predicted id, class, on which boundaries).

See docs/protocols.md#imagenet-s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.scoring.boundaries import is_boundary
from bench.scoring.id_counts import Bands, Counts, Painted
from bench.scoring.matching import UNMATCHED, Mapping

BETA_SQUARED = 0.3
"""What the benchmark has where β² belongs."""
SIZES = {"s": 5, "ms": 25, "ml": 50, "l": 100}
"""Size of an object → largest share of its image's valid pixels, percent."""

Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BandRows:
    """So many valid pixels of an image were predicted as an id, hold a class, and lie on boundaries or not."""

    image: Int
    predicted: Int
    """Any id; those that are no class are counted as pixels, not as predictions of a class."""
    true: Int
    on_predicted: Bool
    """On the boundary of the predicted id."""
    on_true: Bool
    """On the boundary of the class."""
    count: Int

    def only(self, kept: Bool | Int) -> BandRows:
        """Some of the rows."""
        return BandRows(*(getattr(self, name)[kept] for name in BandRows.__annotations__))

    def matched(self, mapping: Mapping, unknown: int) -> BandRows:
        """With predicted ids replaced by the classes they stand for; `unknown` where there is none."""
        classes = mapping[self.predicted]
        return replace(self, predicted=np.where(classes == UNMATCHED, unknown, classes))


def map_rows(image: int, predicted: npt.NDArray[Any], label: npt.NDArray[Any], ignore: int) -> BandRows:
    """Rows of one image from two H×W id maps; boundaries are those of the whole maps, then ignored pixels go."""
    valid = label != ignore
    columns = (predicted, label, is_boundary(predicted), is_boundary(label))
    keys = np.stack([column[valid].astype(np.int64) for column in columns], axis=1)
    found, count = np.unique(keys, axis=0, return_counts=True)
    of_image = np.full(len(found), image, np.int64)
    return BandRows(of_image, found[:, 0], found[:, 1], found[:, 2] > 0, found[:, 3] > 0, count.astype(np.int64))


def mask_rows(
    offsets: Int,
    classes: npt.NDArray[np.uint16],
    bands: npt.NDArray[np.int32],
    labels: npt.NDArray[np.int32],
    mapping: Mapping,
) -> BandRows:
    """Rows of images painted with one cluster each, from their stacked `Observations`; `mapping` by predicted id.

    `bands` are `bench.scoring.boundaries.count_bands`'s columns.
    """
    entry, column = np.nonzero(bands)
    image = np.repeat(np.arange(len(labels)), np.diff(offsets))[entry]
    painted = np.where(column >= 4, labels[image] + 1, 0).astype(np.int64)
    true, count = classes[entry].astype(np.int64), bands[entry, column].astype(np.int64)
    rows = BandRows(image, painted, true, column & 2 > 0, column & 1 > 0, count)
    return rows.matched(mapping, np.iinfo(np.int32).max)


def band_table(predicted: npt.NDArray[Any], label: npt.NDArray[Any], ignore: int) -> Bands:
    """`map_rows` of one image as a plain table."""
    rows = map_rows(0, predicted, label, ignore)
    return np.stack([rows.predicted, rows.true, rows.on_predicted, rows.on_true, rows.count], axis=1).astype(np.int64)


def counts_of(bands: Bands) -> Counts:
    """A band table without boundaries: k×3 as `bench.scoring.id_counts.contingency` has it."""
    pairs, inverse = np.unique(bands[:, :2], axis=0, return_inverse=True)
    pixels = np.bincount(inverse.reshape(-1), bands[:, 4], minlength=len(pairs)).astype(np.int64)
    return np.concatenate([pairs, pixels[:, None]], axis=1)


def painted_figures(
    painted: Sequence[Painted], mappings: Sequence[Mapping], num_classes: int
) -> dict[str, list[float]]:
    """`beside_miou` of what was painted, a value a seed; of class ids, or of ids that `mappings` give classes to."""
    per_seed = []
    for number, one in enumerate(painted):
        lengths = [len(table) for table in one.bands]
        predicted, true, on_predicted, on_true, count = np.concatenate(one.bands).T
        image = np.repeat(np.arange(len(lengths)), lengths)
        rows = BandRows(image, predicted, true, on_predicted > 0, on_true > 0, count)
        rows = rows.matched(mappings[number], num_classes) if mappings else rows
        per_seed.append(beside_miou(rows, len(lengths), num_classes))
    return {name: [found[name] for found in per_seed] for name in per_seed[0]}


def figures(rows: BandRows, images: int, num_classes: int) -> dict[str, float | None]:
    """Every figure of the benchmark, percent; None where it is undefined, as for a size that nothing has."""
    found: dict[str, float | None] = {
        "mIoU": float(class_iou(rows, num_classes).mean()),
        "boundary_mIoU": float(boundary_iou(rows, num_classes).mean()),
        "f_measure": f_measure(rows, images),
        "image_accuracy": image_accuracy(rows, images, num_classes),
    }
    size = _sizes(rows)
    for number, name in enumerate(SIZES):
        own = size == number
        concerned = np.zeros(images, np.bool_)
        concerned[rows.image[own]] = True
        part = rows.only(own | ((rows.true == 0) & concerned[rows.image]))
        on_boundary = part.only(part.on_true)
        found[f"mIoU_{name}"] = _mean_of_present(class_iou(part, num_classes), part, num_classes)
        found[f"boundary_mIoU_{name}"] = _mean_of_present(boundary_iou(part, num_classes), on_boundary, num_classes)
    return found


def beside_miou(rows: BandRows, images: int, num_classes: int) -> dict[str, float]:
    """The figures that confusion rows do not give: all that are defined, without mIoU."""
    every = figures(rows, images, num_classes)
    return {name: value for name, value in every.items() if name != "mIoU" and value is not None}


def _mean_of_present(iou: npt.NDArray[np.float64], rows: BandRows, num_classes: int) -> float | None:
    """Mean over the classes that `rows` have labelled pixels of."""
    present = _pixels(rows.true, rows.count, num_classes) > 0
    return float(iou[present].mean()) if present.any() else None


def _pixels(classes: Int, count: Int, num_classes: int) -> npt.NDArray[np.float64]:
    """Pixels per class; ids that are no class are left out."""
    known = classes < num_classes
    return np.bincount(classes[known], count[known], minlength=num_classes).astype(np.float64)


def class_iou(rows: BandRows, num_classes: int) -> npt.NDArray[np.float64]:
    """IoU per class, percent; 0 for a class that occurs nowhere."""
    hit = rows.only(rows.predicted == rows.true)
    return _iou(hit, rows, rows, num_classes)


def boundary_iou(rows: BandRows, num_classes: int) -> npt.NDArray[np.float64]:
    """IoU of the boundaries per class, percent; 0 for a class that occurs nowhere."""
    hit = rows.only((rows.predicted == rows.true) & rows.on_predicted & rows.on_true)
    return _iou(hit, rows.only(rows.on_predicted), rows.only(rows.on_true), num_classes)


def _iou(hit: BandRows, predicted: BandRows, true: BandRows, num_classes: int) -> npt.NDArray[np.float64]:
    both = _pixels(hit.true, hit.count, num_classes)
    either = _pixels(predicted.predicted, predicted.count, num_classes) - both
    either += _pixels(true.true, true.count, num_classes)
    return 100 * np.divide(both, either, out=np.zeros(num_classes), where=either > 0)


def f_measure(rows: BandRows, images: int) -> float:
    """Mean over all images of the foreground's F, percent; 0 for one in which none is labelled or none is found."""
    hit, predicted, true = (
        np.bincount(rows.image, rows.count * chosen, minlength=images)
        for chosen in ((rows.predicted > 0) & (rows.true > 0), rows.predicted > 0, rows.true > 0)
    )
    precision = np.divide(hit, predicted, out=np.zeros(images), where=predicted > 0)
    recall = np.divide(hit, true, out=np.zeros(images), where=true > 0)
    below = BETA_SQUARED * precision + recall
    f = np.divide((1 + BETA_SQUARED) * precision * recall, below, out=np.zeros(images), where=below > 0)
    return float(100 * f.mean())


def image_accuracy(rows: BandRows, images: int, num_classes: int) -> float:
    """Percent of all images whose largest predicted object class, the lowest at a tie, is labelled in them."""
    objects = rows.only((rows.predicted > 0) & (rows.predicted < num_classes))
    pairs, inverse = np.unique(objects.image * num_classes + objects.predicted, return_inverse=True)
    area = np.bincount(inverse, objects.count, minlength=len(pairs))
    largest_first = np.lexsort((pairs % num_classes, -area, pairs // num_classes))
    _, first = np.unique(pairs[largest_first] // num_classes, return_index=True)
    right = np.isin(pairs[largest_first][first], rows.image * num_classes + rows.true)
    return 100 * int(right.sum()) / images


def _sizes(rows: BandRows) -> Int:
    """Per row the number of its class's size in its image, all regions together; −1 for class 0."""
    valid = np.bincount(rows.image, rows.count)
    width = int(rows.true.max(initial=0)) + 1
    pairs, inverse = np.unique(rows.image * width + rows.true, return_inverse=True)
    area = np.bincount(inverse, rows.count, minlength=len(pairs))
    # whole numbers: a share of exactly a limit belongs to the smaller size
    size = np.sum([100 * area > limit * valid[pairs // width] for limit in list(SIZES.values())[:-1]], axis=0)
    return np.where(pairs % width == 0, -1, size)[inverse]
