"""STEGO's counting: clusters in classes, their matching, and the figures (docs/protocols.md#stego)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.base.packed_arrays import Ragged
from bench.protocols.stego.preset import StegoMatched
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.id_counts import Painted, matched_classes
from bench.scoring.matching import UNMATCHED, Mapping
from bench.scoring.metrics import class_iou, from_sums, mean_present

Table = npt.NDArray[np.int64]
_MOST = 1 << 24
"""Pairs of clusters and classes whose ties are looked at."""


def statistics(
    clusters: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    num_classes: int,
    extra_clusters: int = 0,
    *,
    drop: bool = True,
) -> Table:
    """(n + extra)×n: how many pixels of each cluster (rows) are of each class (columns), from maps of one shape.

    Pixels with a label outside of 0…n−1 count nowhere. With `drop` neither do those of clusters n and above, as in the
    reference.
    """
    rows = num_classes + extra_clusters
    known = num_classes if drop else rows
    counted = (labels >= 0) & (labels < num_classes) & (clusters >= 0) & (clusters < known)
    pairs = clusters[counted].astype(np.int64) * num_classes + labels[counted]
    return np.bincount(pairs, minlength=rows * num_classes).reshape(rows, num_classes)


def class_of_cluster(stats: Table) -> Mapping:
    """Cluster → class, or −1: the one-to-one assignment of most pixels, with clusters as rows.

    Where optima tie, scipy's call decides.
    """
    mapping = np.full(len(stats), UNMATCHED, np.int64)
    clusters, classes = scipy.optimize.linear_sum_assignment(stats, maximize=True)
    mapping[clusters] = classes
    return mapping


def cluster_of_class(stats: Table) -> Mapping:
    """Class → cluster: the assignment of the transposed table, which the reference takes where there are extra ones."""
    chosen: Mapping = scipy.optimize.linear_sum_assignment(stats.T, maximize=True)[1]
    return chosen


def histogram(stats: Table) -> Table:
    """Clusters in the order of the classes that they got × classes, n×n; with extra clusters (n+1)×(n+1).

    Then a further row holds the pixels of the clusters that `class_of_cluster` leaves out, and a column of zeros.
    """
    clusters, classes = stats.shape
    if clusters == classes:
        return stats[np.argsort(class_of_cluster(stats))]
    whole = np.zeros((classes + 1, classes + 1), np.int64)
    whole[:classes, :classes] = stats[cluster_of_class(stats)]
    whole[classes, :classes] = stats[class_of_cluster(stats) == UNMATCHED].sum(axis=0)
    return whole


def figures(table: Table) -> dict[str, float | None]:
    """`mIoU` and `pixel_accuracy`, percent, of predicted × true pixels; None where no pixel counts.

    The mean leaves out classes without pixels, labelled or predicted. A class that is never found counts as 0.
    """
    if not table.sum():
        return {"mIoU": None, "pixel_accuracy": None}
    hit, predicted, labelled = (np.asarray(part, np.float64) for part in (np.diag(table), table.sum(1), table.sum(0)))
    sums = np.concatenate([hit, predicted, labelled])
    return {name: float(from_sums(sums, "skip")[name]) for name in ("mIoU", "pixel_accuracy")}


def tie_extremes(stats: Table) -> list[tuple[int, float]]:
    """Over all assignments of most pixels: the largest and the smallest number of classes left out, and mIoU with each.

    A class is left out that has no pixel and got a cluster without any. So ties move the mean.
    """
    empty = (stats.sum(axis=1) == 0)[:, None] & (stats.sum(axis=0) == 0)[None]
    found = []
    for sign in (1, -1):
        # whole numbers: one more matched pixel always outweighs all classes that are left out
        score = stats.astype(np.int64) * (stats.shape[1] + 1) + sign * empty
        clusters, classes = scipy.optimize.linear_sum_assignment(score, maximize=True)
        hit = stats[clusters, classes].astype(np.float64)
        iou = class_iou(hit, stats.sum(axis=1)[clusters].astype(np.float64), stats.sum(axis=0)[classes].astype(float))
        found.append((int(empty[clusters, classes].sum()), float(mean_present(iou, axis=0))))
    return found


def assign(stats: Table, preset: StegoMatched) -> Mapping:
    """Cluster → class, or −1, as the preset says; rows are all clusters, the extra ones too."""
    clusters, classes = stats.shape
    if preset.matching == "classes":
        mapping = _by_class(stats)
    elif clusters > classes and preset.extra == "dropped":
        mapping = np.full(clusters, UNMATCHED, np.int64)
        mapping[cluster_of_class(stats)] = np.arange(classes)
        mapping[classes:] = UNMATCHED
    else:
        mapping = class_of_cluster(stats)
    if preset.extra == "merged":
        mapping = np.where(mapping == UNMATCHED, stats.argmax(axis=1), mapping)
    return mapping


def _by_class(stats: Table) -> Mapping:
    """PiCIE's call, and that of `bench.scoring.matching.match`: missed pixels as costs, classes as rows."""
    mapping = np.full(len(stats), UNMATCHED, np.int64)
    classes, clusters = scipy.optimize.linear_sum_assignment((stats.max(initial=0) - stats).T)
    mapping[clusters] = classes
    return mapping


def score(
    painted: Sequence[Painted], preset: StegoMatched, num_classes: int
) -> tuple[ConfusionRows, tuple[Mapping, ...], dict[str, Any]]:
    """Rows of the classes that each seed's clusters got, cluster → class, and what the record says of the matching."""
    clusters = num_classes + preset.extra_clusters
    if preset.extra == "dropped":
        painted = [_without_extra(one, num_classes) for one in painted]
    rows, mappings = matched_classes(painted, lambda stats: assign(stats, preset), num_classes, clusters)
    said: dict[str, Any] = {
        "solver": f"scipy {scipy.__version__}, linear_sum_assignment",
        "ties": f"as the solver leaves them, {preset.matching} as rows, in ascending order",
    }
    if num_classes * clusters <= _MOST and preset.extra != "merged":
        ties = [tie_extremes(_whole(one, clusters, num_classes)) for one in painted]
        said["mIoU_over_optima"] = [sorted(miou for _, miou in both) for both in ties]
    return rows, mappings, {"matching": said}


def _whole(painted: Painted, clusters: int, num_classes: int) -> Table:
    table = np.zeros((clusters, num_classes), np.int64)
    used, found = painted.table(num_classes)
    table[used] = found
    return table


def _without_extra(painted: Painted, num_classes: int) -> Painted:
    counts = Ragged.of(painted.counts)
    return replace(painted, counts=counts.where(counts.flat[:, 0] < num_classes))
