"""Foreground presets: the entries of the protocols that separate one object from the rest of an image."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench.cards.counting import Counted
from bench.cards.presets import LayerName, Preset, Rate, Share, Side

_OF_CUT = ("features", "output_stride", "similarity", "weak")


class ForegroundPreset(Preset):
    """How an image's foreground is found. Images have their own size, and so have all figures.

    The defaults are those of TokenCut (Wang et al., CVPR 2022); see docs/protocols.md#discovery.
    """

    observed: ClassVar[tuple[str, ...]] = (
        *Preset.observed,
        *("longer_side", "multiple", "mask", "features", "output_stride", "similarity", "weak"),
    )

    longer_side: Side | None = None
    """An image whose longer side has more pixels is resized to this, in its proportions, before the network sees it.
    null: every image at its own size."""
    multiple: Annotated[int, Field(ge=1, le=1024)] = 16
    """The normalised image is padded with zeros at right and bottom to a multiple of this. A transformer's patch takes
    its place."""
    mask: Literal["normalised-cut", "saliency-head"] = "normalised-cut"
    """`normalised-cut`: a cut of the network's patches in two, of which the part around the seed is kept.
    `saliency-head`: the sigmoid of the network's own saliency logit, in 8 bits."""
    features: LayerName | None = None
    """What is cut: `key` (of the last attention), `last`, … (docs/models.md#layers). null: `key` of a transformer, the
    embedding or the decoder's output of a network of this program's own, else `last`."""
    output_stride: Literal[8, 16, 32] | None = None
    """Trade the last strides of a CNN for dilation, down to this output stride, where its library can do so. null: as
    the network is."""
    similarity: Share = 0.2
    """Two patches are joined with weight 1 where the cosine of their features is above this."""
    weak: Rate = 1e-5
    """The weight of all other pairs."""

    def for_patch(self, patch: int) -> dict[str, Any]:
        """The multiple."""
        return {"multiple": patch}

    def resolved(self) -> dict[str, Any]:
        """Only the entries that have an effect."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """What only a cut reads, and how an image is resized that is not."""
        unread = {} if self.longer_side else {"interpolation": "images keep their own size without longer_side"}
        if self.mask == "saliency-head":
            unread |= dict.fromkeys(_OF_CUT, "mask is saliency-head, which cuts nothing")
        return unread

    @classmethod
    def found(cls, run: Counted) -> str:
        """How the foreground is found, as a clause of `counting`."""
        if run.entries.get("mask") == "saliency-head":
            return "the map is the sigmoid of the saliency head"
        return "the part of a normalised cut of the patches that holds the seed is the object"
