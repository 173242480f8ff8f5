"""The preset of `saliency`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.foreground import ForegroundPreset
from bench.cards.presets import Rate
from bench.scoring.saliency_figures import DEFINITIONS


class MapsPreset(ForegroundPreset):
    """An image's foreground is held against the annotated one (docs/protocols.md#saliency)."""

    figures: ClassVar[tuple[str, ...]] = ("rules", "foreground", "beta2", "aggregation", "undefined")
    """Entries that decide how masks are scored, whoever made them."""

    rules: Literal["tokencut", "selfmask", "pysodmetrics"] = "tokencut"
    """Whose figures: thresholds, what is added to denominators, and which figures there are."""
    foreground: Annotated[int, Field(ge=0, le=254)] | None = None
    """A pixel of a grey annotation is foreground above this value. null: that of the rules: 0, of pysodmetrics 128.
    Where annotations hold classes, all but class 0 are foreground."""
    beta2: Rate | None = None
    """β² of F. null: that of the rules: 0.3, of SelfMask 0.09, which is what its release computes."""
    aggregation: Literal["mean-then-max", "max-then-mean"] | None = None
    """What max F is: the maximum of the mean curve, or the mean of every image's maximum. null: that of the rules,
    of SelfMask the latter."""
    undefined: Literal["carry", "skip"] = "carry"
    """An image with neither annotated nor predicted foreground has no IoU by TokenCut: the mean over images is then
    undefined as well (`carry`), or the image is left out of it (`skip`)."""

    def settled(self) -> dict[str, Any]:
        """The entries that the rules decide, where they are null."""
        own = DEFINITIONS[self.rules]
        said = {key: getattr(own, key) for key in ("foreground", "beta2", "aggregation")}
        return {key: value for key, value in said.items() if getattr(self, key) is None}

    def unread(self) -> dict[str, str]:
        """What becomes of an undefined IoU, where none is."""
        defined = {} if self.rules == "tokencut" else {"undefined": f"{self.rules} has no undefined IoU"}
        return super().unread() | defined

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """The rules and their entries."""
        return [*cls.scored(run), cls.found(run), counting.drawn(run)]

    @classmethod
    def scored(cls, run: Counted) -> list[str]:
        """How masks are scored, whoever made them."""
        above, beta2 = run.number("foreground"), run.entries.get("beta2")
        maximum = {
            "mean-then-max": "max F is the maximum of the mean curve over images",
            "max-then-mean": "max F is the mean over images of each one's maximum",
        }
        carried = "an image without any foreground makes the mean IoU undefined"
        undefined = {"carry": carried, "skip": "an image without any foreground is left out of the mean IoU"}
        return [
            run.word("rules", {name: f"masks are scored as {_RELEASE[name]} does" for name in DEFINITIONS}),
            "figures are means over images, at each one's own size",
            f"grey values above {above} are foreground" if above is not None else "",
            f"β² of F is {counting.shown(beta2)}" if beta2 is not None else "",
            run.word("aggregation", maximum),
            run.word("undefined", undefined) if run.entries.get("rules") == "tokencut" else "",
        ]


_RELEASE = {"tokencut": "TokenCut", "selfmask": "SelfMask", "pysodmetrics": "the package pysodmetrics"}
