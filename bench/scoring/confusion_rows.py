"""Confusion rows: the rows of every protocol on single images. Metrics, intervals and comparisons come from them.

A row says: in this image (and under this seed) so many pixels of class `true` were predicted as `predicted`.
Rows are sparse; an image has a handful.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.base.files import save_npz
from bench.scoring.bootstrap import intervals
from bench.scoring.halves import optimism
from bench.scoring.mask_tables import mapping_of
from bench.scoring.metrics import Float, from_sums, image_iou, iou_of_sums, mean_present, seed_metrics, solver_distance
from bench.scoring.paired import Paired, of_confusion
from bench.scoring.rows import (
    MOST_CLASSES,
    Context,
    by_seed,
    changed_images,
    integers,
    names_of,
    require_alike,
    rows_file,
    whole_number,
)
from bench.scoring.subsamples import MOST_SUMS, SEEDS, SUBSAMPLES, Error, error_of, require_own

Confusion = npt.NDArray[np.int64]
Sums = npt.NDArray[np.int64]
LARGEST_CONFUSION = 3000
"""Classes whose pairs fit the memory."""
LARGEST_TABLE = 100
"""A confusion matrix of more classes than this is left to the rows file."""
_MOST_SUMS = 1 << 23
"""Seeds times classes."""


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
        for name, limit in (("image", images), ("predicted", classes + 1), ("true", classes), ("count", 1 << 62)):
            integers(getattr(self, name), name, 0, limit)
        if self.count.sum(dtype=np.float64) >= 1 << 62:
            raise ValueError("its counts are too large")


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
    subsamples: Sums | None = None
    """B×S×3C, as `sums`: of subsamples that were clustered again, by `bench.scoring.subsamples`."""
    solver_sums: Sums | None = None
    """2×S×3C, as `sums`: of our solver and of the authors' over S seeds, where their distance was measured."""

    def sums(self, seed: int) -> Sums:
        """3C of one seed: true positives, predicted pixels and labelled pixels of every class."""
        rows, classes = self.seeds[seed], self.num_classes
        hit, matched = rows.predicted == rows.true, rows.predicted < classes
        sums = np.zeros(3 * classes, np.int64)
        np.add.at(sums, rows.true[hit], rows.count[hit])
        np.add.at(sums, rows.predicted[matched].astype(np.int64) + classes, rows.count[matched])
        np.add.at(sums, rows.true.astype(np.int64) + 2 * classes, rows.count)
        return sums

    def confusion(self, seed: int) -> Confusion:
        """(C+1)×C pixel counts of one seed, predicted × true; the last row is what stayed unmatched.

        Raises ValueError for more classes than fit a table.
        """
        if self.num_classes > LARGEST_CONFUSION:
            raise ValueError(f"{self.num_classes} classes are too many for a confusion matrix")
        rows = self.seeds[seed]
        table = np.zeros((self.num_classes + 1, self.num_classes), np.int64)
        np.add.at(table, (rows.predicted, rows.true), rows.count)
        return table

    def mean_confusion(self) -> npt.NDArray[np.float64]:
        """As `confusion`, the mean over the seeds."""
        total = self.confusion(0)
        for seed in range(1, len(self.seeds)):
            total += self.confusion(seed)
        return total / len(self.seeds)

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

    def only(self, places: Sequence[int]) -> ConfusionRows:
        """The rows of the images at these places, which must ascend; without what all images were counted for."""
        kept = np.asarray(places, np.int64)
        to = np.full(len(self.ids), -1, np.int32)
        to[kept] = np.arange(len(kept), dtype=np.int32)
        seeds = []
        for rows in self.seeds:
            own = to[rows.image] >= 0
            seeds.append(SeedRows(to[rows.image[own]], rows.predicted[own], rows.true[own], rows.count[own]))
        labels = self.labels[:, kept] if self.labels.shape[1] else self.labels
        ids = tuple(self.ids[place] for place in kept.tolist())
        return replace(self, ids=ids, seeds=tuple(seeds), labels=labels, subsamples=None, solver_sums=None)

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
        if self.solver_sums is not None:
            arrays["solver_sums"] = self.solver_sums
        if self.subsamples is not None:
            arrays["subsamples"] = self.subsamples
        save_npz(path, arrays)

    @classmethod
    def read(cls, path: Path) -> ConfusionRows:
        """Read what `write` wrote. Raises BadInput for a missing or damaged file."""
        with rows_file(path) as arrays:
            return cls.of_arrays(arrays)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ConfusionRows:
        """The rows of a file's arrays. Raises KeyError, ValueError or TypeError where they are none."""
        seeds, ids = by_seed(arrays, SeedRows), names_of(arrays)
        classes = whole_number(arrays["num_classes"], "num_classes", 1, MOST_CLASSES + 1)
        for rows in seeds:
            rows.require(len(ids), classes)
        if not ids or len(seeds) * classes > _MOST_SUMS:
            raise ValueError(f"{len(seeds)} seeds of {classes} classes on {len(ids)} images")
        labels = arrays["labels"]
        integers(labels, "labels", 0, 1 << 31, (len(seeds), len(ids) if labels.size else 0))
        counted, sums = arrays.get("counted"), arrays.get("solver_sums")
        kept = None if counted is None else tuple(integers(counted, "counted", 0, classes).tolist())
        if kept == ():
            raise ValueError("counted is empty")
        if sums is not None:
            integers(sums, "solver_sums", 0, 1 << 53, (2, None, 3 * classes))
        subsamples = arrays.get("subsamples")
        if subsamples is not None:
            integers(subsamples, "subsamples", 0, 1 << 53, (SUBSAMPLES, None, 3 * classes))
            if not 2 <= subsamples.shape[1] <= SEEDS or subsamples.size > MOST_SUMS:
                raise ValueError(f"its subsamples are of {subsamples.shape[1]} seeds and {classes} classes")
        return cls(ids, classes, seeds, labels, kept, subsamples, sums)

    # what every kind of rows answers: see `bench.scoring.rows.Rows`

    comparable: ClassVar[tuple[str, ...]] = ("mIoU", "pixel_accuracy", "mean_class_accuracy")
    """What `bench.scoring.metrics.from_sums` makes of confusion rows."""

    def figures(self, preset: Mapping[str, Any]) -> dict[str, list[float]]:
        """`bench.scoring.metrics.seed_metrics`, a value per seed, averaged as the preset's `absent` says."""
        per_seed = seed_metrics(self, _absent(preset))
        return {name: [values[name] for values in per_seed] for name in per_seed[0]}

    def further(self, preset: Mapping[str, Any], names: Collection[str]) -> dict[str, list[float]]:
        """`bench.scoring.further_figures`: NMI, ARI, and those of ImageNet-S that need no boundaries."""
        from bench.scoring.further_figures import further_figures  # which is made of what ends in these rows

        return further_figures(self, preset, names)

    def mappings(self) -> list[list[int]]:
        """Per seed: predicted id → class, −1 for none, `UNKNOWN` where no row has the id; none of painted pixels."""
        found = [mapping_of(self, i) for i in range(len(self.seeds))]
        known = [mapping.tolist() for mapping in found if mapping is not None]
        return known if len(known) == len(found) else []

    def solver_gap(self, preset: Mapping[str, Any]) -> float | None:
        """Counted from `solver_sums`. Raises ValueError where those are of other pixels than the rows."""
        sums = self._sound_solver_sums()
        return None if sums is None else solver_distance(sums, _absent(preset), self.counted)

    def authors(self, preset: Mapping[str, Any]) -> dict[str, list[float]] | None:
        """Counted from `solver_sums`, as `solver_gap` is."""
        sums = self._sound_solver_sums()
        if sums is None:
            return None
        return {name: values.tolist() for name, values in from_sums(sums[1], _absent(preset), self.counted).items()}

    def _sound_solver_sums(self) -> Sums | None:
        sums = self.solver_sums
        if sums is not None and (sums[..., 2 * self.num_classes :] != self.sums(0)[2 * self.num_classes :]).any():
            raise ValueError("solver_sums are of other pixels than its rows")
        return sums

    @property
    def resampling(self) -> int:
        """The images to draw, their sums to add up, and what is made of the sums, which takes as long as 30 of them."""
        cells = 3 * self.num_classes * len(self.seeds)
        return len(self.ids) + 30 * cells + min(sum(len(rows.image) for rows in self.seeds), cells * len(self.ids))

    def entries(self, context: Context) -> dict[str, Any]:
        """`metrics`, `per_class`, `confusion` and `cluster_to_class`."""
        return {
            "metrics": self.metrics(_absent(context.preset), context.extra, drawn=context.intervals),
            "optimism": optimism(self, context.preset),
            "per_class": self.per_class(context.classes),
            "confusion": self._confusion_entry(context.classes),
            "cluster_to_class": [mapping.tolist() for mapping in context.mappings],
        }

    def metrics(
        self, absent: str, extra: Mapping[str, list[float]] | None = None, *, drawn: bool = True
    ) -> dict[str, dict[str, Any]]:
        """Every metric with its mean over the seeds, their standard deviation (n − 1), values and interval.

        `ci95` is over images, given what was fitted. `interval` is for the figure: the mean over new samples and seeds,
        where subsamples were clustered again. No `ci95` where none is `drawn`, and of a single image.
        """
        errors = self.errors(absent)
        series = {**self.figures({"absent": absent}), **(extra or {})}
        bounds = intervals(self, absent) if drawn and len(self.ids) > 1 else {}
        result: dict[str, dict[str, Any]] = {}
        for name, values in series.items():
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
            result[name] = {"value": float(np.mean(values)), "std": spread, "per_seed": values}
            if name in bounds:
                result[name]["ci95"] = list(bounds[name])
            if name in errors:
                result[name]["interval"] = _interval(result[name]["value"], errors[name])
        return result

    def errors(self, absent: str) -> dict[str, Error]:
        """Metric → its standard errors, by images and by seeds; nothing where no subsamples were clustered again.

        Raises ValueError where the subsamples cannot be of the rows' images.
        """
        if self.subsamples is None:
            return {}
        require_own(self.subsamples, self.ids, self.class_sums(0)[:, 2 * self.num_classes :])
        resampled, per_seed = self.resampled(absent), seed_metrics(self, absent)
        return {
            name: error_of(values, [one[name] for one in per_seed], len(self.ids)) for name, values in resampled.items()
        }

    def resampled(self, absent: str) -> dict[str, Float]:
        """Metric → B×S values of the subsamples, percent."""
        assert self.subsamples is not None
        return from_sums(self.subsamples, absent, self.counted, self.sums(0).astype(np.float64))

    def per_class(self, classes: Sequence[str]) -> dict[str, float | None]:
        """Mean over the seeds of each class's IoU, percent; None for a class that occurs nowhere."""
        values = [iou_of_sums(self.sums(i)) for i in range(len(self.seeds))]
        mean = mean_present(np.array(values), axis=0)
        return {name: None if np.isnan(mean[i]) else float(mean[i]) for i, name in enumerate(classes)}

    def _confusion_entry(self, classes: Sequence[str]) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "classes": list(classes),
            "rows": "predicted, the last one unmatched; mean over seeds",
        }
        if max(len(classes), self.num_classes) > LARGEST_TABLE:
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

    def changed(self, other: ConfusionRows) -> npt.NDArray[np.bool_]:
        """Of each image, whether any class was predicted on another number of its pixels of any class."""
        sizes = ((len(self.seeds), len(other.seeds)), (self.num_classes, other.num_classes))
        require_alike(self, other, *sizes)
        return changed_images(self._counts(), other._counts(), len(self.ids))

    def _counts(self) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]]:
        wide = self.num_classes + 1
        return [(rows.image, rows.predicted + wide * rows.true.astype(np.int64), rows.count) for rows in self.seeds]

    def pair(
        self,
        other: ConfusionRows,
        preset: Mapping[str, Any],
        names: Sequence[str],
        resamples: int,
        *,
        one_model: bool = False,
    ) -> Paired:
        """By a paired bootstrap over images; the parts are classes."""
        if self.counted != other.counted:
            raise ValueError("they average over different classes")
        if self.num_classes > LARGEST_CONFUSION:
            raise ValueError(f"{self.num_classes} classes are too many to resample")
        clustered = bool(self.labels.shape[1]) and preset.get("fit") is None
        return of_confusion(self, other, _absent(preset), names, resamples, one_model=one_model, clustered=clustered)


def _interval(value: float, error: Error) -> dict[str, float]:
    """As a record has it: ends, within 0 and 100, and the standard errors that it is made of, in points."""
    allowed = error.both.points
    low, high = max(0.0, value - allowed), min(100.0, value + allowed)
    return {"low": low, "high": high, "images": error.images, "seeds": error.seeds}


def _absent(preset: Mapping[str, Any]) -> str:
    return str(preset.get("absent", "zero"))
