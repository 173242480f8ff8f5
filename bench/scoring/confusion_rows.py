"""Confusion rows: what every protocol ends in, and what every metric, interval and comparison reads.

A row says: in this image (and under this seed) so many pixels of class `true` were predicted as `predicted`.
Rows are sparse; an image has a handful.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bench.base.errors import BadInput
from bench.base.files import load_npz, save_npz

Confusion = npt.NDArray[np.int64]
Seed = TypeVar("Seed")


class Rows(Protocol):
    """What a protocol's figures are computed from, kept beside the record."""

    @property
    def ids(self) -> Sequence[str]:
        """The images that were predicted, in order."""
        ...

    def write(self, path: Path) -> None:
        """Write to an .npz file, atomically."""
        ...


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

    def class_sums(self, seed: int) -> sparse.csr_array:
        """N×3C per image: true positives, predicted pixels and labelled pixels of every class."""
        rows, classes = self.seeds[seed], self.num_classes
        hit = rows.predicted == rows.true
        matched = rows.predicted < classes
        image = np.concatenate([rows.image[hit], rows.image[matched], rows.image])
        column = np.concatenate([rows.true[hit], rows.predicted[matched] + classes, rows.true + 2 * classes])
        count = np.concatenate([rows.count[hit], rows.count[matched], rows.count])
        return sparse.coo_array((count, (image, column)), shape=(len(self.ids), 3 * classes)).tocsr()

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
            seeds = by_seed(arrays, SeedRows)
            counted = tuple(arrays["counted"].tolist()) if "counted" in arrays else None
            ids, classes = tuple(arrays["ids"].tolist()), int(arrays["num_classes"])
            for rows in seeds:
                rows.require(len(ids), classes)
            return cls(ids, classes, seeds, arrays["labels"], counted)


@contextmanager
def rows_file(path: Path) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The arrays of a rows file. Raises BadInput where it is missing or damaged, or what is read in here not as it was.

    KeyError, ValueError and TypeError inside of the `with` count as damage.
    """
    try:
        arrays = load_npz(path)
        if arrays is None:
            raise KeyError("no .npz archive")
        yield arrays
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{path} is missing or damaged ({error})", "Run the evaluation again.") from error


def by_seed(arrays: Mapping[str, npt.NDArray[Any]], kind: type[Seed]) -> tuple[Seed, ...]:
    """The columns of a rows file cut into one `kind` per seed; `lengths` says how many rows each has."""
    ends = np.cumsum(arrays["lengths"])[:-1]
    columns = (np.split(arrays[name], ends) for name in kind.__annotations__)
    return tuple(kind(*parts) for parts in zip(*columns, strict=True))
