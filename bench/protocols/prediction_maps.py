"""Painting: a run's predictions as maps of class ids, one image at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.preprocessing import resize_nearest
from bench.scoring.matching import UNMATCHED, Mapping

Map = npt.NDArray[Any]
"""Class ids, H×W."""


def paint_masks(
    packed: Iterable[npt.NDArray[np.uint8]],
    size: tuple[int, int],
    sizes: npt.NDArray[np.int32],
    classes: npt.NDArray[np.int64],
    ignore: int,
) -> Iterator[Map]:
    """Every image's map from its packed mask of `size`: N×2 classes inside and outside of it.

    A cluster without a class is painted with the ignore id, which counts as a wrong prediction everywhere.
    """
    shown = np.where(classes == UNMATCHED, ignore, classes).astype(np.uint16)
    for bits, own, (inside, outside) in zip(packed, sizes, shown, strict=True):
        mask = np.unpackbits(bits, count=size[0] * size[1]).reshape(size)
        yield np.where(resize_nearest(mask, (int(own[0]), int(own[1]))), inside, outside)


def paint_clusters(maps: Iterable[Map], mapping: Mapping, ignore: int) -> Iterator[Map]:
    """Maps of cluster ids as maps of classes; a cluster without a class is painted with the ignore id."""
    shown = np.where(mapping == UNMATCHED, ignore, mapping).astype(np.uint16)
    return (shown[ids] for ids in maps)
