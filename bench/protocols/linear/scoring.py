"""Linear classifier: which epoch counts, and what is said beside its figure (docs/protocols.md#linear)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.protocols.linear.preset import LinearPreset
from bench.protocols.linear.training import told_timing
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.id_counts import Painted, given_classes
from bench.scoring.metrics import seed_metrics

if TYPE_CHECKING:
    from bench.passes.classify import Classifiers
    from bench.protocols.linear.training import Training


@dataclass(frozen=True)
class Chosen:
    """One seed's classifier: the epoch that counts, beside the last one."""

    epoch: int
    """Counted from 0; 0 for a released classifier."""
    classifier: Classifiers
    painted: Painted
    """On the label's grid."""
    last: Painted
    online: tuple[float, ...]
    """mIoU on the input's grid after each epoch, percent; what the selection goes by."""
    training: Training | None


def choose(
    classifiers: Classifiers,
    epochs: Sequence[dict[str, Painted]],
    training: Training | None,
    preset: LinearPreset,
    num_classes: int,
) -> Chosen:
    """The epoch that the preset's selection takes, the earliest at a tie, from what each epoch's classifier painted."""
    rows = given_classes([epoch["input"] for epoch in epochs], num_classes)
    online = tuple(metrics["mIoU"] for metrics in seed_metrics(rows, preset.absent))
    epoch = len(epochs) - 1 if preset.selection == "last" else int(np.argmax(online))
    return Chosen(epoch, classifiers.only(epoch), epochs[epoch]["label"], epochs[-1]["label"], online, training)


def score(
    seeds: Sequence[Chosen], refined: Sequence[Painted] | None, preset: LinearPreset, num_classes: int, split: str
) -> tuple[ConfusionRows, dict[str, list[float]], dict[str, Any]]:
    """Rows of the chosen classifiers on `split`, after the CRF where there was one (`refined`).

    Beside them further metrics, and what the record says: the last epoch's mIoU, since the published training
    chooses its epoch on the images it reports, and the mIoU without the CRF.
    """
    chosen = [one.painted for one in seeds]
    beside = {}
    if refined is not None:
        beside["mIoU_without_crf"] = _miou(chosen, preset, num_classes)
    training = [_history(one, preset, split) for one in seeds if one.training is not None]
    if training:
        beside["mIoU_last_epoch"] = _miou([one.last for one in seeds], preset, num_classes)
    rows = given_classes(chosen if refined is None else refined, num_classes)
    return rows, beside, {"training": training} if training else {}


def _miou(painted: Sequence[Painted], preset: LinearPreset, num_classes: int) -> list[float]:
    return [metrics["mIoU"] for metrics in seed_metrics(given_classes(painted, num_classes), preset.absent)]


def _history(one: Chosen, preset: LinearPreset, split: str) -> dict[str, Any]:
    """How a training went, for the record: per epoch its mean loss, learning rate and mIoU."""
    assert one.training is not None
    return {
        "selection": "last" if preset.selection == "last" else f"best on {split}",
        "epoch": one.epoch + 1,
        "epochs": len(one.training),
        "steps": one.training.losses.shape[1],
        "loss": one.training.losses.mean(axis=1).tolist(),
        "learning_rate": one.training.rates.tolist(),
        "online_mIoU": list(one.online),
        **told_timing(one.training.timing.sum(axis=0)),
    }
