"""The preset of `distance-matching`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import FeaturesPreset, Rate


class DistancePreset(FeaturesPreset):
    """Each pixel takes the class that its nearest labelled instances vote for.

    See docs/protocols.md#distance-matching.

    An instance is all pixels of one class in one image. Its vector in the bank is the mean of the embedding over these
    pixels, at the label's own size, L2-normalised. The pixels to classify are L2-normalised too. No saliency head is
    needed.
    """

    observed: ClassVar[tuple[str, ...]] = (*FeaturesPreset.observed, "figures")
    later: ClassVar[tuple[str, ...]] = (*FeaturesPreset.later, "figures")

    bank: str = "train"
    """The split whose labelled instances are the bank."""
    background: bool = False
    """Whether class 0 (background, other) has instances too. Without them no pixel is class 0."""
    neighbours: Annotated[int, Field(ge=1, le=1024)] = 10
    """Number of instances that vote: those with the largest dot product, or all if the bank has fewer."""
    temperature: Rate = 0.07
    """The weight of a vote is exp(dot product / this)."""
    upsample: Annotated[int, Field(ge=1, le=32)] = 4
    """Features are upsampled by this factor (bilinear) before the vote. The classes are then resized to the image with
    nearest."""
    figures: Literal["classes", "imagenet-s"] = "classes"
    """`imagenet-s` adds boundary mIoU, F-measure, image accuracy and mIoU by object size
    (docs/protocols.md#distance-matching)."""

    @property
    def counts_boundaries(self) -> bool:
        """ImageNet-S's figures do."""
        return self.figures == "imagenet-s"

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """The bank, its votes, and whether class 0 can be predicted at all."""
        neighbours = run.number("neighbours")
        nearest = f"its {neighbours} nearest labelled instances" if neighbours else "its nearest labelled instances"
        bank = f" of {counting.shown(run.entries['bank'])}" if "bank" in run.entries else ""
        never = f"class 0{f' ({run.classes[0]})' if run.classes else ''} is never predicted, and its pixels count"
        return [
            counting.mean(run),
            counting.OWN_SIZE,
            counting.VOID,
            counting.absent(run),
            f"each pixel takes the class that {nearest}{bank} vote for",
            run.word("background", {False: never, True: ""}),
            counting.drawn(run),
        ]
