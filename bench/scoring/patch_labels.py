"""Patch labels: a label map cut into the patches of a transformer, and the most frequent ids in and among them.

Ids are small whole numbers; at a tie the smallest one wins (docs/protocols.md#knn).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[Any]
"""uint8 or uint16."""
_AT_ONCE = 1 << 20
"""Positions that are voted on at once: the arrays of a part stay in the processor's cache, or near it."""


def split_patches(label: Ids, grid: tuple[int, int]) -> Ids:
    """An H×W map as the pixels of each cell of an h×w grid, row by row: h·w × P, with P = H/h · W/w.

    Raises ValueError where the grid's cells are no whole numbers of pixels.
    """
    (height, width), (rows, columns) = label.shape, grid
    if height % rows or width % columns:
        raise ValueError(f"{height}×{width} pixels are no whole patches of a {rows}×{columns} grid")
    cells = label.reshape(rows, height // rows, columns, width // columns).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(cells).reshape(rows * columns, -1)


def join_patches(patches: Ids, grid: tuple[int, int], size: tuple[int, int]) -> Ids:
    """What `split_patches` split, as a map of this size again. N×1 paints each patch in one id."""
    (rows, columns), (height, width) = grid, size
    pixels = (height // rows, width // columns)
    cells = np.broadcast_to(patches, (len(patches), pixels[0] * pixels[1])).reshape(rows, columns, *pixels)
    return np.ascontiguousarray(cells.transpose(0, 2, 1, 3)).reshape(size)


def majority(patches: Ids) -> npt.NDArray[np.int64]:
    """The most frequent id in each of N patches, N×P → N; the smallest one where several are as frequent."""
    values = int(patches.max(initial=0)) + 1
    cells = np.arange(len(patches))[:, None] * values + patches
    counts = np.bincount(cells.reshape(-1), minlength=len(patches) * values)
    return counts.reshape(len(patches), values).argmax(axis=1)


def vote(labels: Ids, left_out: int | None = None) -> Ids:
    """The most frequent of k ids at each of M positions, k×M → M; the smallest one where several are as frequent.

    The id `left_out` has no vote; it stays only where nothing else was voted for.
    """
    found = np.empty(labels.shape[1], labels.dtype)
    for start in range(0, labels.shape[1], _AT_ONCE):
        found[start : start + _AT_ONCE] = _vote(labels[:, start : start + _AT_ONCE], left_out)
    return found


def _vote(labels: Ids, left_out: int | None) -> Ids:
    found = labels[0].copy()
    unclear = np.flatnonzero((labels != labels[0]).any(axis=0))  # most positions lie within an object
    if not len(unclear):
        return found
    ascending = np.ascontiguousarray(np.sort(labels[:, unclear].T, axis=1).T)
    kind: Any = np.uint8 if len(labels) < 256 else np.uint16
    run: npt.NDArray[Any] = np.zeros(len(unclear), kind)
    most: npt.NDArray[Any] = np.zeros(len(unclear), kind)
    best = before = ascending[0]
    for one in ascending:  # the longest run of equal ids; of those as long the first, which is of the smallest id
        run = np.where(one == before, run + kind(1), kind(1))
        counted = run if left_out is None else np.where(one == left_out, kind(0), run)
        longer = counted > most
        most, best, before = np.where(longer, counted, most), np.where(longer, one, best), one
    if left_out is not None:
        best[most == 0] = left_out
    found[unclear] = best
    return found
