"""Label warnings: says where labels, or what was predicted, are hardly what they are taken for."""

from __future__ import annotations

import numpy as np

from bench.base.errors import Warn
from bench.cards.datasets import DatasetCard
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.rows import Rows


def warn_of_lone_class(rows: Rows, card: DatasetCard, warn: Warn) -> None:
    """Say where 0 and the ignore id are all that was labelled: masks of 0 and 255 have no object that counts."""
    if not isinstance(rows, ConfusionRows):
        return
    true = [seed.true[seed.count > 0] for seed in rows.seeds]
    if any(len(column) for column in true) and not any(column.any() for column in true):
        ignore = card.labels.ignore
        free = ignore - 1 if ignore > len(card.classes) else ignore + 1
        zero = "class 0" if card.labels.map else "0"
        objects = f"map = [{{ ids = [0, 0], classes = [0, 0] }}, {{ ids = [{ignore}, {ignore}], classes = [1, 1] }}]"
        warn(
            f"all labels hold only {zero} and {ignore}, or {zero} alone: are they foreground masks? Here {ignore} is "
            f"ignored, so '{card.classes[0]}' is all that counts. For objects that are {ignore} set [labels] "
            f"ignore = {free}, {objects} in the card"
        )


def warn_of_lone_prediction(rows: Rows, card: DatasetCard, warn: Warn) -> None:
    """Say where a single class was predicted for every pixel under a seed: such a figure is of no skill."""
    if not isinstance(rows, ConfusionRows):
        return
    counted = [seed.count > 0 for seed in rows.seeds]
    predicted = [np.unique(seed.predicted[some]) for seed, some in zip(rows.seeds, counted, strict=True)]
    true = [np.unique(seed.true[some]) for seed, some in zip(rows.seeds, counted, strict=True)]
    lone = [ids for ids, classes in zip(predicted, true, strict=True) if len(ids) == 1 and len(classes) > 1]
    if lone:
        name = card.classes[int(lone[0][0])] if int(lone[0][0]) < len(card.classes) else "unmatched"
        seeds = f" under {len(lone)} of {len(predicted)} seeds" if len(predicted) > 1 else ""
        warn(f"every pixel was predicted as '{name}'{seeds}: the figure shows no skill of the features")
