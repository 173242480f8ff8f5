"""Tables: per-image counts of predicted ids in classes, and how they become confusion rows.

Whoever paints pixels (a classifier, a program of somebody else's) ends here: its predicted ids are class ids, or
cluster ids that a matching turns into classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.base.packed_arrays import Ragged
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.matching import UNMATCHED, Mapping, count_unique, match, match_images, say_by_images

Counts = npt.NDArray[np.int64]
"""k×3: predicted id, class, pixels."""
Bands = npt.NDArray[np.int64]
"""k×5: predicted id, class, whether on the boundary of either (1 or 0), pixels."""

_BINS = 1 << 22
"""Pairs of ids beyond this are sorted instead of binned: maps of 16 bits hold few of many."""


def contingency(predicted: npt.NDArray[Any], label: npt.NDArray[Any], ignore: int) -> Counts:
    """How often each predicted id meets each class, k×3, from two H×W maps; ignored pixels count nowhere."""
    values = 256 if label.dtype == np.uint8 else int(label.max(initial=0)) + 1
    pairs = predicted.reshape(-1).astype(np.int64) * values + label.reshape(-1)
    if pairs.max(initial=0) < _BINS:
        joint = np.bincount(pairs)
        found = np.flatnonzero(joint)
        pixels = joint[found]
    else:
        found, pixels = np.unique(pairs, return_counts=True)
    kept = found % values != ignore
    return np.stack([found // values, found % values, pixels], axis=1)[kept]


@dataclass(frozen=True)
class Painted:
    """What was painted on the images of one split: predicted ids counted in classes, per image."""

    ids: Sequence[str]
    counts: Sequence[Counts]
    """One table per image."""
    manifest: str
    """SHA-256 over ids and contents of images and labels: what data this was."""
    meta: dict[str, Any] = field(default_factory=dict)
    """How the pass went: device, images per second, and how many images were not in the cache."""
    bands: Sequence[Bands] = ()
    """Beside `counts`, the same pixels told apart by boundaries; none where no figure needs them."""

    def rows(self) -> SeedRows:
        """All tables as one, with the image's number; predicted ids are as they were painted."""
        tables = Ragged.of(self.counts)
        image = np.repeat(np.arange(len(tables), dtype=np.int32), tables.lengths)
        predicted, true, count = tables.flat.reshape(-1, 3).T
        return SeedRows(image, predicted.astype(np.int32), true.astype(np.int32), count.astype(np.int64))

    def table(self, num_classes: int) -> tuple[npt.NDArray[np.int64], Counts]:
        """The predicted ids that occur, and the pixels of each (rows) in each class (columns)."""
        rows = self.rows()
        used, index = np.unique(rows.predicted, return_inverse=True)
        table = np.zeros((len(used), num_classes), np.int64)
        np.add.at(table, (index, rows.true), rows.count)
        return used.astype(np.int64), table


def given_classes(painted: Sequence[Painted], num_classes: int) -> ConfusionRows:
    """Confusion rows of predictions that are class ids already, one `Painted` per seed."""
    return _confusion(painted, [rows.rows() for rows in painted], num_classes)


def matched_classes(
    painted: Sequence[Painted],
    objective: str | Callable[[Counts], Mapping],
    num_classes: int,
    clusters: int | None = None,
) -> tuple[ConfusionRows, tuple[Mapping, ...]]:
    """Confusion rows of cluster ids, each seed's matched to the classes on all its pixels; and the mappings.

    `objective` is one of `bench.scoring.matching.match`, or what takes that function's place: K×C pixels → K classes.

    With `clusters`, ids up to that number take part in the matching even where nobody painted them: an absent class
    matched to an empty cluster is another thing to a mean than one matched to a painted one.
    """
    seeds, mappings = [], []
    for one in painted:
        used, table = one.table(num_classes)
        if clusters is not None:
            everything = np.zeros((clusters, num_classes), np.int64)
            everything[used] = table
            used, table = np.arange(clusters), everything
        mapping = np.full(int(used.max(initial=0)) + 1, UNMATCHED, np.int64)
        mapping[used] = match(table, objective) if isinstance(objective, str) else objective(table)
        seeds.append(_with_classes(one.rows(), mapping, num_classes))
        mappings.append(mapping)
    return _confusion(painted, seeds, num_classes), tuple(mappings)


def matched_by_images(
    painted: Sequence[Painted], num_classes: int
) -> tuple[ConfusionRows, tuple[Mapping, ...], dict[str, Any]]:
    """Confusion rows of cluster ids, each seed's matched on the images that hold both cluster and class.

    See docs/protocols.md#imagenet-s.

    Id 0 is background and stays it. Also returns the mappings, and what the record says of the matching.
    """
    mappings, unique = [], []
    for one in painted:
        ids, shared = _shared_images(one.rows(), len(one.ids), num_classes)
        mapping = np.full(int(ids.max(initial=0)) + 1, UNMATCHED, np.int64)
        mapping[np.concatenate([[0], ids])] = match_images(shared)
        mappings.append(mapping)
        unique.append(count_unique(shared))
    seeds = [_with_classes(one.rows(), mapping, num_classes) for one, mapping in zip(painted, mappings, strict=True)]
    return _confusion(painted, seeds, num_classes), tuple(mappings), {"matching": say_by_images(unique)}


def _shared_images(rows: SeedRows, images: int, num_classes: int) -> tuple[Mapping, Counts]:
    """Cluster ids, and the images that each (rows) shares with each class but 0 (columns).

    The ids are those of the classes where no other one occurs, even if some have no pixel: as the benchmark has it.
    """
    used = np.unique(rows.predicted[rows.predicted > 0]).astype(np.int64)
    ids = used if used.max(initial=0) >= num_classes else np.arange(1, num_classes)
    cluster, object_ = rows.predicted > 0, rows.true > 0
    held = [
        scipy.sparse.coo_array(
            (np.ones(kept.sum(), np.int64), (rows.image[kept], column)), shape=(images, width)
        ).tocsr()
        > 0
        for kept, column, width in (
            (cluster, np.searchsorted(ids, rows.predicted[cluster]), len(ids)),
            (object_, rows.true[object_] - 1, num_classes - 1),
        )
    ]
    return ids, (held[0].astype(np.int64).T @ held[1].astype(np.int64)).toarray()


def _with_classes(rows: SeedRows, mapping: Mapping, num_classes: int) -> SeedRows:
    """Rows of cluster ids as rows of the classes that they stand for."""
    classes = mapping[rows.predicted]
    predicted = np.where(classes == UNMATCHED, num_classes, classes).astype(np.int32)
    return replace(rows, predicted=predicted)


def _confusion(painted: Sequence[Painted], seeds: Sequence[SeedRows], num_classes: int) -> ConfusionRows:
    return ConfusionRows(painted[0].ids, num_classes, tuple(seeds), np.empty((len(seeds), 0), np.int32))
