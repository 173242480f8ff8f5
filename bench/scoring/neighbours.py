"""Neighbours: exact search in a bank of vectors that comes in parts, and the scaling of its dimensions.

See docs/protocols.md#knn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Distance = Literal["cosine", "l2"]


@dataclass(frozen=True)
class Scaling:
    """Each dimension's mean and population deviation, both D float64."""

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, parts: Iterable[npt.NDArray[Any]]) -> Scaling:
        """Of all rows of these N×D parts, one of them in memory at a time (Chan's update of mean and squares)."""
        count, mean, squares = 0, np.zeros(1), np.zeros(1)
        for part in parts:
            if not len(part):
                continue
            own = part.astype(np.float64)
            middle = own.mean(axis=0)
            apart = middle - mean
            total = count + len(own)
            squares = squares + ((own - middle) ** 2).sum(axis=0) + apart**2 * (count * len(own) / total)
            mean, count = mean + apart * (len(own) / total), total
        return cls(mean, np.sqrt(squares / max(count, 1)))

    def __call__(self, rows: npt.NDArray[Any]) -> Float32:
        """N×D rows with mean 0 and deviation 1 in each dimension; one that never varies becomes 0."""
        divisor = np.where(self.deviation > 0, self.deviation, 1.0)
        return ((rows - self.mean) / divisor).astype(np.float32)


def search(
    queries: Float32, parts: Iterable[Float32], neighbours: int, distance: Distance, *, gpu: bool = False
) -> tuple[Float32, Int64]:
    """The nearest rows of a bank that comes in parts, of each of Q×D queries: their distances and numbers, both Q×k.

    The nearest comes first; `k` is the number of neighbours, or of rows where these are fewer. `cosine` is 1 − cosine
    of the rows divided by their norms, `l2` the squared distance. The search is exact, and parts are of any size.
    """
    best = np.empty((len(queries), 0), np.float32)
    numbers = np.empty((len(queries), 0), np.int64)
    asked, start = _prepared(queries, distance), 0
    for part in parts:
        near, found = _nearest(asked, _prepared(part, distance), min(neighbours, len(part)), distance, gpu=gpu)
        best, numbers = smallest((best, numbers), (near, found + start), neighbours)
        start += len(part)
    return best, numbers


def smallest(one: tuple[Float32, Int64], other: tuple[Float32, Int64], k: int) -> tuple[Float32, Int64]:
    """The k smallest of Q×a and Q×b values in each row, ascending, and their numbers; of equal ones those of `one`."""
    values, numbers = np.concatenate([one[0], other[0]], axis=1), np.concatenate([one[1], other[1]], axis=1)
    order = np.argsort(values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(numbers, order, axis=1)


def _prepared(rows: Float32, distance: Distance) -> Float32:
    if distance == "l2":
        return np.ascontiguousarray(rows, np.float32)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, 1), np.float32)


def _nearest(queries: Float32, rows: Float32, count: int, distance: Distance, *, gpu: bool) -> tuple[Float32, Int64]:
    import faiss

    metric = faiss.METRIC_L2 if distance == "l2" else faiss.METRIC_INNER_PRODUCT
    if gpu:
        near, found = faiss.knn_gpu(faiss.StandardGpuResources(), queries, rows, count, metric=metric)
    else:
        near, found = faiss.knn(queries, rows, count, metric=metric)
    return (near if distance == "l2" else 1 - near), found.astype(np.int64)
