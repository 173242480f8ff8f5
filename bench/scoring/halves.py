"""Halves: clusters that get their classes on one half of the images and are judged on the other.

Matching on the labels on which the figure is then counted flatters it: of all ways to name clusters it takes the one
that suits just these images. With halves no image is judged by a name that its own label had a part in. See
docs/certainty.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.scoring.mask_tables import predicted_ids
from bench.scoring.matching import Mapping as Classes
from bench.scoring.matching import Table, match
from bench.scoring.metrics import from_sums

if TYPE_CHECKING:
    from bench.scoring.confusion_rows import ConfusionRows

SPLITS = 4
"""Ways to split the images, over which optimism is averaged."""
_CELLS = 1 << 24
"""Of the tables of all seeds, at most."""
Mask = npt.NDArray[np.bool_]
Sums = npt.NDArray[np.int64]


def first_half(ids: Sequence[str], seed: int) -> Mask:
    """N, which images are in the first half: drawn by `seed` from the ids in their order, whatever order they have."""
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    half = np.zeros(len(ids), np.bool_)
    half[by_id[np.random.default_rng(seed).permutation(len(ids))[: len(ids) // 2]]] = True
    return half


def table_sums(table: Table, mapping: Classes) -> Sums:
    """3C true positives, predicted and labelled pixels of every class, of a P×C table whose ids have these classes."""
    classes = table.shape[1]
    sums = np.zeros(3 * classes, np.int64)
    named = np.flatnonzero(mapping >= 0)
    to = mapping[named]
    np.add.at(sums, to, table[named, to])
    np.add.at(sums, classes + to, table[named].sum(axis=1))
    sums[2 * classes :] = table.sum(axis=0)
    return sums


def crossed_sums(tables: tuple[Table, Table], objective: str) -> Sums:
    """As `table_sums`, of two halves' tables, each named by the other one."""
    one, other = tables
    return table_sums(one, match(other, objective)) + table_sums(other, match(one, objective))


def optimism(rows: ConfusionRows, preset: Mapping[str, Any]) -> dict[str, float]:
    """Metric → how many points it is higher for being matched on the evaluated labels, mean over seeds and splits.

    What is lost when each half of the images is judged by the names that the other half gives. Names from half as many
    images are a little worse than names from as many others would be, so it is rather too large than too small. Nothing
    for rows whose clusters are named otherwise, or that do not tell clusters apart.
    """
    objective, clusters = preset.get("matching"), preset.get("clusters")
    elsewhere = preset.get("matched_on") is not None or preset.get("classes_from", "all") != "all"
    if elsewhere or objective not in ("iou", "pixels") or not isinstance(clusters, int) or len(rows.ids) < 2:
        return {}
    absent = str(preset.get("absent", "zero"))
    lost: dict[str, list[float]] = {}
    for seed in range(len(rows.seeds)):
        tables_of = _tables(rows, seed, clusters)
        if tables_of is None:
            return {}
        crossed = np.stack([crossed_sums(tables_of(first_half(rows.ids, i)), objective) for i in range(SPLITS)])
        whole = from_sums(rows.sums(seed), absent, rows.counted)
        for name, values in from_sums(crossed, absent, rows.counted).items():
            lost.setdefault(name, []).append(float(whole[name] - values.mean()))
    return {name: float(np.mean(values)) for name, values in lost.items()}


def _tables(rows: ConfusionRows, seed: int, clusters: int) -> Callable[[Mask], tuple[Table, Table]] | None:
    """What makes (K+1)×C tables of both halves under a seed; None where rows do not tell, or they are too large."""
    ids, own = predicted_ids(rows, seed), rows.seeds[seed]
    cells = len(rows.seeds) * (clusters + 1) * rows.num_classes
    if ids is None or int(ids.max(initial=0)) > clusters or cells > _CELLS:
        return None

    def split(half: Mask) -> tuple[Table, Table]:
        tables = np.zeros((2, clusters + 1, rows.num_classes), np.int64)
        np.add.at(tables, (half[own.image].astype(np.int64), ids, own.true), own.count)
        return tables[1], tables[0]

    return split
