"""Segment retrieval: each image takes the class of its nearest neighbour among labelled ones.

See docs/protocols.md#retrieval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.passes.observations import Observations, rows_of_masks
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.whitening import require_variety

BACKGROUND = 0
Classes = npt.NDArray[np.int64]


def score(
    bank: Observations, queries: Observations, preset: dict[str, Any], classes: Sequence[str]
) -> tuple[ConfusionRows, Classes, dict[str, Any]]:
    """Rows from a bank of one split and the queries of another. `preset` is a resolved retrieval preset.

    Also returns what each query is painted in, N×2 inside its mask and outside of it, and what the record says.

    Raises BadInput for a bank without a labelled object, prototypes that are all equal, or a void class that is none of
    the classes.
    """
    valid = valid_classes(classes, preset["void_classes"])
    labels = bank_labels(bank, valid)
    kept = np.flatnonzero(labels)
    if not kept.size:
        raise BadInput(
            f"none of the {len(bank)} images of the bank has an object under its mask",
            "Name another split with --set bank=…; retrieval needs a labelled bank.",
        )
    require_variety(bank.prototypes[kept], "prototypes of the bank")
    nearest = kept[neighbours(bank.prototypes[kept], queries.prototypes)]
    rows = paint(queries, labels[nearest], valid, preset["averaged"], preset["grid"])
    painted = np.stack([labels[nearest], np.zeros_like(nearest)], axis=1)
    detail = {
        "bank": {"split": preset["bank"], "images": len(bank), "entries": len(kept), "manifest": bank.manifest},
        "neighbours": [bank.ids[i] for i in nearest],
    }
    return rows, painted, detail


def valid_classes(classes: Sequence[str], void: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which classes count; the void ones are ignored wherever they occur."""
    if unknown := [name for name in void if name not in classes]:
        raise BadInput(
            f"void_classes: '{unknown[0]}' is not one of the classes", f"The classes are {', '.join(classes)}."
        )
    return np.array([name not in void for name in classes])


def bank_labels(bank: Observations, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The most frequent object class under each mask on the input grid, the larger id at a tie; 0 for none."""
    inside, _ = bank.histograms("input", len(valid))
    counts = inside.toarray() * valid
    counts[:, BACKGROUND] = 0
    last = counts.shape[1] - 1
    largest = last - counts[:, ::-1].argmax(axis=1)
    return np.where(counts.max(axis=1) > 0, largest, 0)


def neighbours(bank: npt.NDArray[np.float32], queries: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Index of the bank entry with the largest dot product; entry 0 for a zero prototype."""
    import faiss

    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(np.ascontiguousarray(bank))
    _, nearest = index.search(np.ascontiguousarray(queries), 1)
    return np.where(queries.any(axis=1), nearest[:, 0], 0)


def paint(
    queries: Observations,
    predicted: npt.NDArray[np.int64],
    valid: npt.NDArray[np.bool_],
    averaged: str,
    grid: str = "input",
) -> ConfusionRows:
    """Rows on one grid: each mask as its class, the rest as background; void classes left out."""
    painted = np.stack([predicted, np.full(len(predicted), BACKGROUND)], axis=1)
    rows = rows_of_masks(queries, painted, grid, len(valid), valid)
    first = 0 if averaged == "all" else 1
    counted = tuple(int(c) for c in np.flatnonzero(valid) if c >= first)
    every = len(counted) == len(valid)
    return ConfusionRows(queries.ids, len(valid), (rows,), np.empty((1, 0), np.int32), None if every else counted)
