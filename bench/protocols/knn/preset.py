"""The preset of `knn`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import Positive, Preset
from bench.protocols.bank_preset import BankPreset

_FIXED: dict[str, Any] = {"void_votes": False, "absent": "skip"}


class KnnPreset(BankPreset):
    """Each pixel takes the most frequent label that the nearest labelled patches have at its position
    (docs/protocols.md#knn)."""

    absent: Literal["zero", "skip", "skip+void"] = "skip+void"  # type: ignore[assignment]
    """A class that occurs nowhere counts as IoU 0 in the mean (`zero`), or is left out of the mean (`skip`).
    `skip+void`: left out, and where a labelled pixel is predicted void, void is a class more, of IoU 0."""
    neighbours: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, max_length=16)] = (
        *(1, 3, 10, 30),
    )
    """Numbers of nearest patches that vote, to choose from."""
    distances: Annotated[tuple[Literal["cosine", "l2"], ...], Field(min_length=1, max_length=2)] = ("cosine", "l2")
    """Distances to choose from. Of settings with the same mIoU the first counts: the fewest neighbours first, and for
    each number the distances in this order."""
    every: Positive = 1
    """Only every so many-th patch of the bank, counted over all its images before patches without a class leave it."""
    void_votes: bool = True
    """Whether void pixels of the bank's patches vote. Where they do, a pixel can be predicted void."""
    grid: Literal["input"] = "input"
    """Where pixels are counted: at the input size."""

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """Where void has no vote it is `knn+fixed`."""
        fixed = all(getattr(self, key) == value for key, value in _FIXED.items())
        return dict(_FIXED) if fixed else {}

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """The bank, its votes, and what becomes of void in it."""
        bank = f" of {counting.shown(run.entries['bank'])}" if "bank" in run.entries else ""
        votes = {True: "void pixels of the bank vote too", False: "void pixels of the bank have no vote"}
        return [
            counting.mean(run),
            counting.grid(run),
            counting.VOID,
            counting.absent(run),
            f"each pixel takes the most frequent label at its position in the nearest patches{bank}",
            run.word("void_votes", votes),
            cls.selection(run),
        ]
