"""Further figures: those that protocols count beside the rows (`Context.extra`), counted from confusion rows again.

Not all can be: a figure of boundaries, of another epoch or without a refinement is in no row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.scoring.class_areas import areas_of_sums, figures
from bench.scoring.imagenet_s_figures import SIZES, BandRows, beside_miou
from bench.scoring.mask_tables import table_of
from bench.scoring.matching import Table
from bench.scoring.metrics import ari, nmi

if TYPE_CHECKING:
    from bench.scoring.confusion_rows import ConfusionRows

_AGREEMENT = {"nmi": nmi, "ari": ari}
_OF_PIXELS = ("f_measure", "image_accuracy", *(f"mIoU_{size}" for size in SIZES))
"""ImageNet-S's figures that no boundary has a part in."""
_OF_AREAS = ("mDice", "mFscore")
"""mmsegmentation's further figures."""
_CELLS = 1 << 24
"""Of the tables of all seeds, at most."""


def further_figures(rows: ConfusionRows, preset: Mapping[str, Any], names: Collection[str]) -> dict[str, list[float]]:
    """Metric → its value under each seed, percent, of those `names` that these rows give."""
    found = {}
    if wanted := [name for name in _AGREEMENT if name in names]:
        tables = _tables(rows, preset)
        found = {name: [_AGREEMENT[name](table) for table in tables] for name in wanted if tables}
    if wanted := [name for name in _OF_AREAS if name in names]:
        of_seeds = [figures(areas_of_sums(rows.sums(seed))) for seed in range(len(rows.seeds))]
        # where no class is ever right, its F-score is nowhere defined
        found |= {name: [float(np.nan_to_num(one[name])) for one in of_seeds] for name in wanted}
    if set(_OF_PIXELS) & set(names) and preset.get("grid", "label") == "label":
        found |= _pixel_figures(rows)
    return found


def _tables(rows: ConfusionRows, preset: Mapping[str, Any]) -> list[Table]:
    """Per seed the pixels of every cluster in every class; none where some clusters cannot be told apart."""
    if rows.labels.shape[1]:
        found = [table_of(rows, seed) for seed in range(len(rows.seeds))]
        tables = [table for table in found if table is not None]
        return tables if len(tables) == len(found) else []
    # where there are no more clusters than classes, no two share a class: the rows are the clusters under other names
    clusters = preset.get("clusters")
    known = isinstance(clusters, int) and clusters <= rows.num_classes
    fits = len(rows.seeds) * rows.num_classes**2 <= _CELLS
    return [rows.confusion(seed) for seed in range(len(rows.seeds))] if known and fits else []


def _pixel_figures(rows: ConfusionRows) -> dict[str, list[float]]:
    per_seed = []
    for own in rows.seeds:
        image, predicted, true = (column.astype(np.int64) for column in (own.image, own.predicted, own.true))
        nowhere = np.zeros(len(image), np.bool_)
        bands = BandRows(image, predicted, true, nowhere, nowhere, own.count)
        per_seed.append(beside_miou(bands, len(rows.ids), rows.num_classes))
    return {name: [found[name] for found in per_seed] for name in _OF_PIXELS if all(name in one for one in per_seed)}
