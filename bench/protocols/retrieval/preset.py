"""The preset of `retrieval-21` and `retrieval-7`."""

from __future__ import annotations

from typing import Literal

from bench.cards.presets import SaliencyPreset


class RetrievalPreset(SaliencyPreset):
    """Each image takes the class of its nearest neighbour in a bank of prototypes (docs/protocols.md#retrieval)."""

    bank: str = "train"
    """The split whose images are the bank."""
    void_classes: tuple[str, ...] = ()
    """Classes that count as void, in the bank and in the evaluation."""
    averaged: Literal["all", "objects"] = "all"
    """The mean is over all classes that are not void (`all`), or without the background (`objects`)."""
    grid: Literal["input", "label"] = "input"
    """Where pixels are counted: at the input size (`input`) or at the label's own size (`label`)."""
