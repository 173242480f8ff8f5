"""Matching: finds the class of each cluster.

See docs/protocols.md#clustering, docs/protocols.md#coco-stuff-81, docs/protocols.md#imagenet-s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

Table = npt.NDArray[np.int64]
"""P×C: the pixels of each predicted id (rows) in each class (columns)."""
Mapping = npt.NDArray[np.int64]

UNMATCHED = -1
"""A cluster that one-to-one matching left without a class."""
BY_IMAGES = {
    "solver": f"scipy {scipy.__version__}, linear_sum_assignment",
    "ties": "as the solver leaves them, clusters as rows, classes as columns, in ascending order",
}
"""Optimal assignments tie, and ties move the figure by points: so the record says who broke them.

See docs/protocols.md#imagenet-s.
"""


def iou_table(table: Table) -> npt.NDArray[np.float64]:
    """P×C intersection over union of every predicted id with every class, from their P×C pixel counts.

    Where the union is empty the IoU is 0.
    """
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    return np.divide(table, union, out=np.zeros(table.shape), where=union > 0)


def match(table: Table, objective: str = "iou") -> Mapping:
    """Predicted id → class, from a P×C pixel table whose row 0 is the background prediction.

    As many ids as classes or fewer: the one-to-one assignment with the largest summed IoU (`iou`) or the most matched
    pixels (`pixels`, docs/protocols.md#coco-stuff-81). More ids than classes: each goes to the class it overlaps best,
    by IoU. The rules of `RULES` are for any number of ids: each gets a class.
    """
    if objective in RULES:
        return RULES[objective](table)
    if len(table) > table.shape[1]:
        return best_class(table)
    mapping = np.full(len(table), UNMATCHED, np.int64)
    if objective == "pixels":
        # classes as rows, missed pixels as costs: where assignments tie, the call decides (parity/metrics/coco81)
        classes, ids = scipy.optimize.linear_sum_assignment((table.max(initial=0) - table).T)
    else:
        ids, classes = scipy.optimize.linear_sum_assignment(iou_table(table), maximize=True)
    mapping[ids] = classes
    return mapping


def best_class(table: Table) -> Mapping:
    """Each predicted id → the class with which its IoU is largest, the first at a tie."""
    return iou_table(table).argmax(axis=1).astype(np.int64)


def precision_class(table: Table) -> Mapping:
    """Each predicted id → the class that holds the largest share of its pixels, of a P×C pixel table.

    The lowest class at a tie, and so class 0 for an id without a pixel (docs/protocols.md#in-context).
    """
    return table.argmax(axis=1).astype(np.int64)


def one_to_one_class(table: Table) -> Mapping:
    """Predicted id → class by the one-to-one assignment of least summed 1 − IoU; ids left over become class 0.

    `table` is P×C, of any P. Classes are the rows that the solver sees: where assignments tie, the call decides
    (docs/protocols.md#in-context).
    """
    classes, ids = scipy.optimize.linear_sum_assignment(1 - iou_table(table).T)
    mapping = np.zeros(len(table), np.int64)
    mapping[ids] = classes
    return mapping


RULES: dict[str, Callable[[Table], Mapping]] = {
    "one-to-one": one_to_one_class,
    "precision": precision_class,
    "many-iou": best_class,
}
"""Objective of `match` → what gives every predicted id a class, whether there are more ids than classes or fewer."""


def match_images(shared: Table) -> Mapping:
    """Predicted id → class from K×(C−1) numbers of images that hold both cluster and class.

    See docs/protocols.md#imagenet-s.

    The one-to-one assignment with the largest sum; background stays background. With more clusters than classes each
    goes to the class it shares most images with, the first at a tie.
    """
    if len(shared) > shared.shape[1]:
        return np.concatenate([[0], shared.argmax(axis=1) + 1]).astype(np.int64)
    clusters, classes = scipy.optimize.linear_sum_assignment(shared, maximize=True)
    mapping = np.zeros(len(shared) + 1, np.int64)
    mapping[clusters + 1] = classes + 1
    return mapping


def count_unique(shared: Table) -> int | None:
    """How many of the clusters that occur have one class in every best assignment of `match_images`.

    None with more clusters than classes, where none is one-to-one.
    """
    if len(shared) > shared.shape[1]:
        return None
    return int(unique_optima(shared)[shared.any(axis=1)].sum())


def say_by_images(unique: Sequence[int | None]) -> dict[str, Any]:
    """The record's entry about matching by images; `unique` as `count_unique` gives it, one a seed."""
    return BY_IMAGES | {"clusters_with_a_unique_optimum": [count for count in unique if count is not None]}


def unique_optima(score: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Per row of an R×C table, R ≤ C: whether every assignment with the largest sum gives it the same column.

    `score` must be whole numbers. Another optimum exists for a row exactly where it lies on a cycle of swaps that cost
    nothing. With shortest distances as potentials, those swaps are edges of length 0, and the cycles their strongly
    connected components.
    """
    rows, columns = score.shape
    square = np.zeros((columns, columns), np.int64)
    square[:rows] = score
    _, chosen = scipy.optimize.linear_sum_assignment(square, maximize=True)
    loss = square[np.arange(columns), chosen][:, None] - square[:, chosen]  # row i gives its column up for that of k
    potential = np.zeros(columns, np.int64)
    for _ in range(columns):
        nearer = np.minimum(potential, (potential[:, None] + loss).min(axis=0))
        if (nearer == potential).all():
            break
        potential = nearer
    free = potential[:, None] + loss == potential
    _, component = scipy.sparse.csgraph.connected_components(
        scipy.sparse.csr_array(free), directed=True, connection="strong"
    )
    return np.asarray(np.bincount(component)[component[:rows]] == 1)
