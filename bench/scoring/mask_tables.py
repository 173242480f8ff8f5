"""Mask tables: what was counted by cluster, counted again from confusion rows of images that have one cluster each.

Such rows stand in two stretches of the same order (image, then true class): what lies inside the images' masks, which
is painted with their cluster's class, and what lies outside, which is painted as background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.scoring.matching import UNMATCHED, Table

if TYPE_CHECKING:
    from bench.scoring.confusion_rows import ConfusionRows

_CELLS = 1 << 24
"""Of the tables of all seeds, at most."""
UNKNOWN = -2
"""Stands for the class of an id that no row has."""


def predicted_ids(rows: ConfusionRows, seed: int) -> npt.NDArray[np.int64] | None:
    """Per row of a seed the predicted id: 0 is background, cluster k is k + 1. None where the rows do not tell."""
    if not rows.labels.shape[1]:
        return None
    own = rows.seeds[seed]
    places = own.image.astype(np.int64) * rows.num_classes + own.true
    turns = np.flatnonzero(np.diff(places) <= 0)
    if len(turns) != 1:
        return None
    inside = np.arange(len(places)) <= turns[0]
    return np.where(inside, rows.labels[seed].astype(np.int64)[own.image] + 1, 0)


def table_of(rows: ConfusionRows, seed: int) -> Table | None:
    """(K+1)×C pixels of every predicted id in every class; None where the rows do not tell, or it is too large."""
    ids, own = predicted_ids(rows, seed), rows.seeds[seed]
    if ids is None or len(rows.seeds) * (int(ids.max()) + 1) * rows.num_classes > _CELLS:
        return None
    table = np.zeros((int(ids.max()) + 1, rows.num_classes), np.int64)
    np.add.at(table, (ids, own.true), own.count)
    return table


def mapping_of(rows: ConfusionRows, seed: int) -> npt.NDArray[np.int64] | None:
    """Predicted id → class, −1 for none, `UNKNOWN` where no row has it; None where the rows do not tell ids
    apart, or there are too many."""
    ids, own = predicted_ids(rows, seed), rows.seeds[seed]
    if ids is None or len(rows.seeds) * (int(ids.max()) + 1) > _CELLS:
        return None
    classes = np.where(own.predicted == rows.num_classes, UNMATCHED, own.predicted.astype(np.int64))
    mapping = np.full(int(ids.max()) + 1, UNKNOWN, np.int64)
    mapping[ids] = classes
    return mapping if (mapping[ids] == classes).all() else None
