"""The preset of `distance-matching`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bench.cards.presets import ImagePreset, Rate


class DistancePreset(ImagePreset):
    """Every pixel takes the class that its nearest neighbours among labelled instances vote for.

    See docs/protocols.md#distance-matching.

    An instance is what one image has of one class. Its entry in the bank is the mean, over its pixels at the label's
    own size, of the embedding upsampled to that size, L2-normalised; a pixel that asks is L2-normalised too. A
    saliency head has no part in it.
    """

    observed: ClassVar[tuple[str, ...]] = (*ImagePreset.observed, "figures")
    later: ClassVar[tuple[str, ...]] = (*ImagePreset.later, "figures")

    bank: str = "train"
    """The split whose labelled instances fill the bank."""
    background: bool = False
    """Whether class 0 (background, other) has instances as well; without them no pixel is ever class 0."""
    neighbours: Annotated[int, Field(ge=1, le=1024)] = 10
    """So many entries of the largest dot product vote, or all where the bank has fewer."""
    temperature: Rate = 0.07
    """The weight of a vote is exp(dot product / this)."""
    upsample: Annotated[int, Field(ge=1, le=32)] = 4
    """Features are upsampled by this factor (bilinear) before their pixels ask; the classes found are resized to the
    image with nearest."""
    figures: Literal["classes", "imagenet-s"] = "classes"
    """`imagenet-s` reports also boundary mIoU, F-measure, image accuracy and mIoU by object size
    (docs/protocols.md#distance-matching)."""

    @property
    def counts_boundaries(self) -> bool:
        """ImageNet-S's figures do."""
        return self.figures == "imagenet-s"
