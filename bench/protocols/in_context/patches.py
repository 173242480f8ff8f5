"""Patches of labelled images: what classes each holds, and which of them a bounded bank takes in.

See docs/protocols.md#in-context.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.data.decoding import Label
from bench.data.placement import Placement

NOTHING = -1
"""Of a pixel that has no part in any patch's label."""
Ints = npt.NDArray[np.int64]


def bank_label(label: Label, ignore: int, void: str, placed: Placement | None = None) -> npt.NDArray[np.int32]:
    """A label H×W at the input size as the bank reads it: void is class 0 (`background`) or `NOTHING` (`drop`).

    With `placed` it is filled up to what the network sees; there is `NOTHING` in what is added.
    """
    read = label.astype(np.int32)
    read[label == ignore] = 0 if void == "background" else NOTHING
    return read if placed is None else placed.filled_up(read, NOTHING)


def patch_counts(label: npt.NDArray[np.int32], grid: tuple[int, int], classes: int) -> Ints:
    """N×C pixels of each class in each of the h×w cells of `grid`, row by row, of a label H×W by `bank_label`.

    A pixel is in the cell that holds its upper left corner, so that with a patch network cells are its patches.
    """
    rows, columns = (np.arange(side) * cells // side for side, cells in zip(label.shape, grid, strict=True))
    cell = rows[:, None] * grid[1] + columns
    inside = label >= 0
    pairs = cell[inside] * classes + label[inside]
    return np.bincount(pairs, minlength=grid[0] * grid[1] * classes).reshape(-1, classes)


def patch_scores(counts: Ints, sampling: str = "rarity") -> Ints:
    """N scores of an image's patches, of N×C `patch_counts`: the patches of the image that hold a class of the patch.

    One that holds several of its classes counts for each. With `uniform` sampling all scores are 1.
    """
    held = counts > 0
    if sampling == "uniform":
        return np.asarray(held.any(axis=1), np.int64)
    return np.asarray(held.astype(np.int64) @ held.sum(axis=0), np.int64)


def patches_per_image(memory: int | None, images: int, passes: int) -> int | None:
    """How many patches of each image are taken in each pass: ⌊memory / (images · passes)⌋, at least one; None: all."""
    return None if memory is None else max(1, memory // (images * passes))


def choose(scores: Ints, uniform: npt.NDArray[np.float32], keep: int | None) -> Ints:
    """The numbers of the patches that are taken of an image with N `scores`: those of least score × `uniform` [0, 1).

    Ascending in that product, which is of float32. A score of 0 is of a patch without a label: it is never taken. With
    `keep` None all others are, in their order.
    """
    labelled = np.flatnonzero(scores)
    if keep is None:
        return labelled
    products = scores[labelled].astype(np.float32) * uniform[labelled]
    return labelled[np.argsort(products, kind="stable")[:keep]]
