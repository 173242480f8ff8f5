"""Prediction warnings: says where a folder of predictions is hardly what `bench score` takes it for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.base.errors import Warn
from bench.base.packed_arrays import Ragged
from bench.cards.datasets import DatasetCard
from bench.data.label_palettes import colours_in
from bench.data.listings import evenly
from bench.data.samples import Samples
from bench.scoring.id_counts import Painted

LOOKED_AT = 100
"""The palettes of so many predictions are compared, spread evenly."""


def warn_of_others(folders: Iterable[Path], samples: Samples, warn: Warn) -> None:
    """Say how many files are predictions of no image: a wrong split or a stale folder looks like that.

    Hidden files are none: macOS leaves a `._x.png` beside each file on foreign disks.
    """
    wanted = {_composed(name) for sample in samples for name in sample.ids}
    for below in folders:
        pictures = sorted(path for path in below.rglob("*.png") if not path.name.startswith("."))
        others = [p for p in pictures if _composed(p.relative_to(below).with_suffix("").as_posix()) not in wanted]
        if others:
            warn(
                f"{below} holds {len(others)} files that belong to no image of {samples.split}, {others[0].name} first"
            )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def warn_of_palettes(paths: Sequence[Path], card: DatasetCard, *, as_classes: bool, warn: Warn) -> None:
    """Say where the colours of palettes tell another story than the indices, which are what is scored.

    A picture of colours that is made indexed gets a palette of its own: its colours in any order. `as_classes` says
    that indices are classes, which the card's palette has colours for.
    """
    colours = colours_in([paths[place] for place in evenly(len(paths), LOOKED_AT)])
    remedy = "indices are what is scored, whatever their colours. Save ids, not a picture of colours"
    if differing := colours.differing():
        warn(f"the predictions have different palettes ({differing}): {remedy}")
    elif as_classes and (exchanged := colours.exchanged(card)):
        warn(f"the predictions have the colours of the classes in another order ({exchanged}): {remedy}")


def warn_of_masks(painted: Sequence[Painted], card: DatasetCard, warn: Warn) -> None:
    """Say where two values are all that was predicted, 0 and 1 or 0 and the ignore id: a mask is no map of classes."""
    tables = [Ragged.of(one.counts).flat for one in painted]
    predicted, labelled = (
        {int(value) for table in tables for value in np.flatnonzero(np.bincount(table[:, column]))} for column in (0, 1)
    )
    ignore = card.labels.ignore
    if predicted == {len(card.classes)}:
        warn(f"all predictions hold only {ignore}, the id of ignored pixels: here it counts as wrong")
    if labelled <= {0, 1}:
        return
    if predicted == {0, 1}:
        warn(f"all predictions hold only 0 and 1: are they foreground masks? Here 1 is '{card.classes[1]}'")
    elif predicted == {0, len(card.classes)}:
        warn(f"all predictions hold only 0 and {ignore}: are they foreground masks? Here {ignore} counts as wrong")


def warn_of_background(painted: Painted, warn: Warn) -> None:
    """Say where 0, which is not matched but stays background, is not what most of the background was painted as."""
    table = Ragged.of(painted.counts).flat
    background = table[table[:, 1] == 0]
    pixels = np.bincount(background[:, 0], background[:, 2])
    if len(pixels) and (most := int(pixels.argmax())):
        warn(
            f"most of the background is predicted as {most}, but with --match images 0 is always the background: "
            "predict the background as 0, or use --match iou or pixels"
        )
