"""The preset of `discovery`."""

from __future__ import annotations

from typing import ClassVar

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.foreground import ForegroundPreset
from bench.cards.presets import Share


class DiscoveryPreset(ForegroundPreset):
    """The box around an image's foreground is held against the annotated ones (docs/protocols.md#discovery)."""

    figures: ClassVar[tuple[str, ...]] = ("overlap", "hard")
    """Entries that decide how boxes are scored, whoever made them."""

    overlap: Share = 0.5
    """An image's object is found where the IoU of its box with any annotated one is at least this."""
    hard: bool = True
    """Whether objects that are marked as difficult or truncated count. Without them an image can be left with no box,
    and is then not counted."""

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """When a box hits, and which count."""
        return [*cls.scored(run), cls.found(run), counting.drawn(run)]

    @classmethod
    def scored(cls, run: Counted) -> list[str]:
        """How boxes are scored, whoever made them."""
        overlap = run.entries.get("overlap")
        least = f" of at least {counting.shown(overlap)}" if overlap is not None else ""
        without = "difficult and truncated objects are left out, and images that have no other"
        return [
            f"an image counts where its one box has an IoU{least} with any annotated box",
            "images without an annotated box are not counted",
            run.word("hard", {True: "all objects count, difficult and truncated ones too", False: without}),
        ]
