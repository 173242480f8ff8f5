"""The preset of `davis`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bench.cards.presets import Preset, Rate, Side


class DavisPreset(Preset):
    """The first frame's objects carried through a sequence by the similarity of features (docs/protocols.md#davis).

    The defaults are the field's customary values: those of DINO's evaluation (Caron et al., ICCV 2021), which
    follows that of the space-time walk (Jabri et al., NeurIPS 2020).
    """

    height: Side = 480
    """Height, in pixels, that frames are resized to; the width follows and is rounded to a multiple of 8."""
    features: Literal["embedding", "decoder"] | None = None
    """What is compared: the pixel embedding, or what a linear classifier stands on. Unset: the embedding, if any."""
    context: Annotated[int, Field(ge=0, le=100)] = 7
    """How many frames before the current one are looked at, besides the first one."""
    top_k: Annotated[int, Field(ge=1, le=1000)] = 5
    """So many of the most similar feature cells, over all of the context, give a cell its label."""
    temperature: Rate = 0.1
    """Their weights are a softmax of cosine similarity divided by this."""
    neighbourhood: Annotated[int, Field(ge=1, le=1000)] = 12
    """A cell looks at those at most this many rows and columns away in each frame of the context."""
    stretch: bool = True
    """Before the largest share of a pixel wins, each object's shares are stretched to 0…1 over the frame, as in DINO's
    evaluation: what averaging has thinned out would else lose to the background."""
