"""Matching: which class a cluster stands for (spec §3, step 7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Table = npt.NDArray[np.int64]
Mapping = npt.NDArray[np.int64]

UNMATCHED = -1
"""A cluster that one-to-one matching left without a class."""


def iou_table(table: Table) -> npt.NDArray[np.float64]:
    """P×C intersection over union of every predicted id with every class, from their P×C pixel counts.

    Where the union is empty the IoU is 0.
    """
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    return np.divide(table, union, out=np.zeros(table.shape), where=union > 0)


def match(table: Table, objective: str = "iou") -> Mapping:
    """Predicted id → class, from a P×C pixel table whose row 0 is the background prediction.

    As many ids as classes or fewer: the one-to-one assignment with the largest summed IoU (`iou`) or the
    most matched pixels (`pixels`, spec §7). More ids than classes: each goes to the class it overlaps best, by IoU.
    """
    if len(table) > table.shape[1]:
        return best_class(table)
    mapping = np.full(len(table), UNMATCHED, np.int64)
    if objective == "pixels":
        # classes as rows, missed pixels as costs: where assignments tie, the call decides (parity/metrics/coco81)
        classes, ids = linear_sum_assignment((table.max(initial=0) - table).T)
    else:
        ids, classes = linear_sum_assignment(iou_table(table), maximize=True)
    mapping[ids] = classes
    return mapping


def best_class(table: Table) -> Mapping:
    """Each predicted id → the class with which its IoU is largest, the first at a tie."""
    return iou_table(table).argmax(axis=1).astype(np.int64)
