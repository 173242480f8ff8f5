"""The preset of `linear-patches`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import Positive, Rate
from bench.protocols.bank_preset import BankPreset

_STRENGTHS = tuple(10 ** (-6 + 11 * step / 7) for step in range(8))
"""Eight values from 1e-6 to 1e5, as far from each other on a logarithmic scale."""


class LinearPatchesPreset(BankPreset):
    """A logistic regression from the features of a patch to the most frequent label in it
    (docs/protocols.md#linear-patches)."""

    absent: Literal["zero", "skip"] = "skip"
    """A class that occurs nowhere counts as IoU 0 in the mean (`zero`), or is left out of the mean (`skip`)."""
    strengths: Annotated[tuple[Rate, ...], Field(min_length=1, max_length=32)] = _STRENGTHS
    """Weights C of the data against the penalty, to choose from; of those with the same mIoU the first counts. What is
    minimised is C · the sum of the patches' cross-entropies + ½ · the sum of squared weights; the bias is free."""
    iterations: Positive = 1000
    """At most this many iterations of L-BFGS."""
    tolerance: Rate = 1e-12
    """L-BFGS stops where no entry of the gradient of the mean loss exceeds this, or where the loss falls by less than a
    hundredth of it, as a share."""
    history: Annotated[int, Field(ge=1, le=1000)] = 5
    """Steps that L-BFGS remembers."""
    grid: Literal["patch", "input"] = "patch"
    """What is counted: patches, each with its most frequent label (`patch`), or pixels at the input size (`input`)."""

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """What is learnt of which patches, and whether patches or pixels count."""
        bank = counting.shown(run.entries["bank"]) if "bank" in run.entries else "labelled images"
        patches = "patches are counted, each by its most frequent label, and those that are mostly void are left out"
        where = {"patch": patches, "input": f"{counting.grid(run)}; {counting.VOID}"}
        return [
            counting.mean(run),
            run.word("grid", where),
            counting.absent(run),
            f"a logistic regression on patches of {bank} gives each patch a class",
            cls.selection(run),
        ]
