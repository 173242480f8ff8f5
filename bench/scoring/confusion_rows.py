"""Confusion rows: the rows of every protocol on single images. Metrics, intervals and comparisons come from them.

A row says: in this image (and under this seed) so many pixels of class `true` were predicted as `predicted`.
Rows are sparse; an image has a handful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.base.files import save_npz
from bench.scoring.bootstrap import intervals
from bench.scoring.metrics import confusion_sums, image_iou, iou_of_sums, mean_present, seed_metrics
from bench.scoring.paired import Paired, of_confusion
from bench.scoring.rows import Context, by_seed, rows_file

Confusion = npt.NDArray[np.int64]
LARGEST_TABLE = 100
"""A confusion matrix of more classes than this is left to the rows file."""


@dataclass(frozen=True)
class SeedRows:
    """The rows of one seed, as parallel arrays."""

    image: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    """Class index; `num_classes` stands for a prediction that no class was matched to."""
    true: npt.NDArray[np.int32]
    count: npt.NDArray[np.int64]

    def require(self, images: int, classes: int) -> None:
        """Raises ValueError for an image, class or count that cannot be."""
        for name, limit in (("image", images), ("predicted", classes + 1), ("true", classes)):
            column = getattr(self, name)
            if len(column) and not 0 <= column.min() <= column.max() < limit:
                raise ValueError(f"{name} is out of range")
        if (self.count < 0).any():
            raise ValueError("a count is negative")


@dataclass(frozen=True)
class ConfusionRows:
    """Per-image confusion rows of a run, one `SeedRows` per seed."""

    ids: Sequence[str]
    num_classes: int
    seeds: tuple[SeedRows, ...]
    labels: npt.NDArray[np.int32]
    """Seeds × images: the cluster of each image, or seeds × 0 where a protocol has none."""
    counted: tuple[int, ...] | None = None
    """The classes that a mean over classes takes in; None for all."""

    def confusion(self, seed: int) -> Confusion:
        """(C+1)×C pixel counts of one seed, predicted × true; the last row is what stayed unmatched."""
        rows = self.seeds[seed]
        table = np.zeros((self.num_classes + 1, self.num_classes), np.int64)
        np.add.at(table, (rows.predicted, rows.true), rows.count)
        return table

    def mean_confusion(self) -> npt.NDArray[np.float64]:
        """As `confusion`, the mean over the seeds."""
        return np.mean([self.confusion(i) for i in range(len(self.seeds))], axis=0)

    def class_sums(self, seed: int) -> scipy.sparse.csr_array:
        """N×3C per image: true positives, predicted pixels and labelled pixels of every class."""
        rows, classes = self.seeds[seed], self.num_classes
        hit = rows.predicted == rows.true
        matched = rows.predicted < classes
        image = np.concatenate([rows.image[hit], rows.image[matched], rows.image])
        column = np.concatenate([rows.true[hit], rows.predicted[matched] + classes, rows.true + 2 * classes])
        count = np.concatenate([rows.count[hit], rows.count[matched], rows.count])
        return scipy.sparse.coo_array((count, (image, column)), shape=(len(self.ids), 3 * classes)).tocsr()

    def in_order(self, ids: Sequence[str]) -> ConfusionRows:
        """The same rows with the images in another order. Raises ValueError for ids of other images."""
        if tuple(ids) == self.ids:
            return self
        place = {name: i for i, name in enumerate(ids)}
        if len(place) != len(ids) or place.keys() != set(self.ids) or len(ids) != len(self.ids):
            raise ValueError("other images")
        to = np.array([place[name] for name in self.ids], np.int32)
        seeds = tuple(replace(rows, image=to[rows.image]) for rows in self.seeds)
        labels = self.labels[:, np.argsort(to)] if self.labels.shape[1] else self.labels
        return replace(self, ids=tuple(ids), seeds=seeds, labels=labels)

    def write(self, path: Path) -> None:
        """Write to an .npz file, atomically."""
        flat = {name: np.concatenate([getattr(rows, name) for rows in self.seeds]) for name in SeedRows.__annotations__}
        lengths = np.array([len(rows.image) for rows in self.seeds], np.int64)
        arrays: dict[str, npt.NDArray[Any]] = {
            "ids": np.array(list(self.ids), dtype=np.str_),
            "num_classes": np.array(self.num_classes),
            "lengths": lengths,
            "labels": self.labels,
            **flat,
        }
        if self.counted is not None:
            arrays["counted"] = np.array(self.counted, np.int32)
        save_npz(path, arrays)

    @classmethod
    def read(cls, path: Path) -> ConfusionRows:
        """Read what `write` wrote. Raises BadInput for a missing or damaged file."""
        with rows_file(path) as arrays:
            return cls.of_arrays(arrays)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ConfusionRows:
        """The rows of a file's arrays. Raises KeyError, ValueError or TypeError where they are none."""
        seeds = by_seed(arrays, SeedRows)
        counted = tuple(arrays["counted"].tolist()) if "counted" in arrays else None
        ids, classes = tuple(arrays["ids"].tolist()), int(arrays["num_classes"])
        for rows in seeds:
            rows.require(len(ids), classes)
        return cls(ids, classes, seeds, arrays["labels"], counted)

    # what every kind of rows answers: see `bench.scoring.rows.Rows`

    comparable: ClassVar[tuple[str, ...]] = ("mIoU", "pixel_accuracy", "mean_class_accuracy")
    """What `bench.scoring.metrics.from_sums` makes of confusion rows."""

    def figures(self, preset: Mapping[str, Any]) -> dict[str, list[float]]:
        """`bench.scoring.metrics.seed_metrics`, a value per seed, averaged as the preset's `absent` says."""
        per_seed = seed_metrics(self, _absent(preset))
        return {name: [values[name] for values in per_seed] for name in per_seed[0]}

    def entries(self, context: Context) -> dict[str, Any]:
        """`metrics`, `per_class`, `confusion` and `cluster_to_class`."""
        return {
            "metrics": self.metrics(_absent(context.preset), context.extra),
            "per_class": self.per_class(context.classes),
            "confusion": self._confusion_entry(context.classes),
            "cluster_to_class": [mapping.tolist() for mapping in context.mappings],
        }

    def metrics(self, absent: str, extra: Mapping[str, list[float]] | None = None) -> dict[str, dict[str, Any]]:
        """Every metric with its mean over the seeds, their standard deviation (n − 1), values and interval."""
        series = {**self.figures({"absent": absent}), **(extra or {})}
        bounds = intervals(self, absent)
        result: dict[str, dict[str, Any]] = {}
        for name, values in series.items():
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
            result[name] = {"value": float(np.mean(values)), "std": spread, "per_seed": values}
            if name in bounds:
                result[name]["ci95"] = list(bounds[name])
        return result

    def per_class(self, classes: Sequence[str]) -> dict[str, float | None]:
        """Mean over the seeds of each class's IoU, percent; None for a class that occurs nowhere."""
        values = [iou_of_sums(confusion_sums(self.confusion(i))) for i in range(len(self.seeds))]
        mean = mean_present(np.array(values), axis=0)
        return {name: None if np.isnan(mean[i]) else float(mean[i]) for i, name in enumerate(classes)}

    def _confusion_entry(self, classes: Sequence[str]) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "classes": list(classes),
            "rows": "predicted, the last one unmatched; mean over seeds",
        }
        if len(classes) > LARGEST_TABLE:
            # 920 classes would fill 8 MB of JSON with what the rows file holds in a fifth of one
            return entry | {"mean": None, "kept_in": "the rows file, from which bench.record.confusion_table sums it"}
        table = self.mean_confusion()
        return entry | {"mean": [[round(value, 3) for value in row] for row in table.tolist()]}

    def image_scores(self) -> tuple[npt.NDArray[np.float64], None]:
        """The mean IoU over the classes in an image's label or its prediction."""
        return image_iou(self.class_sums(0), self.counted), None

    def part_names(self, classes: Sequence[str]) -> list[str]:
        """The classes; numbers where there is another number of names."""
        known = len(classes) == self.num_classes
        return list(classes) if known else [f"class {i}" for i in range(self.num_classes)]

    def pair(self, other: ConfusionRows, preset: Mapping[str, Any], names: Sequence[str], resamples: int) -> Paired:
        """By a paired bootstrap over images; the parts are classes."""
        if self.counted != other.counted:
            raise ValueError("they average over different classes")
        return of_confusion(self, other, _absent(preset), names, resamples)


def _absent(preset: Mapping[str, Any]) -> str:
    return str(preset.get("absent", "zero"))
