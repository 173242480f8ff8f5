"""The preset of `retrieval-21` and `retrieval-7`."""

from __future__ import annotations

from typing import Literal

from bench.cards import counting
from bench.cards.counting import Counted
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

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """The bank, its void classes, and which classes are averaged."""
        void = run.entries.get("void_classes")
        void = [str(name) for name in void] if isinstance(void, (list, tuple)) else []
        objects = run.entries.get("averaged") == "objects"
        bank = f"the prototypes of {counting.shown(run.entries['bank'])}" if "bank" in run.entries else "a bank"
        return [
            counting.mean(run, void, objects=objects),
            "" if objects else run.word("averaged", {"all": ""}),
            counting.grid(run),
            counting.VOID + (f", and so are {len(void)} classes, in the bank too" if void else ""),
            counting.absent(run),
            f"the salient pixels of an image take the class of its nearest neighbour (k = 1) among {bank}, "
            "the others are background",
            counting.drawn(run),
        ]
