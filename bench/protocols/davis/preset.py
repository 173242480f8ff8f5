"""The preset of `davis`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import LayerName, Preset, Rate, Side, nearest_multiple


class DavisPreset(Preset):
    """The objects of the first frame are followed through a sequence by the similarity of features
    (docs/protocols.md#davis).

    The defaults are those of DINO's evaluation (Caron et al., ICCV 2021), which follows that of the space-time walk
    (Jabri et al., NeurIPS 2020).
    """

    later: ClassVar[tuple[str, ...]] = ("multiple", "output_stride")

    height: Side = 480
    """Height, in pixels, to which frames are resized. The width follows, rounded to a multiple of `multiple`."""
    multiple: Annotated[int, Field(ge=1, le=1024)] = 8
    """Both sides of the network's input are multiples of this. A transformer's patch takes its place."""
    features: LayerName | None = None
    """What is compared: the pixel `embedding`, the `decoder`'s output, or a layer of another network (`last`, `key`, …:
    docs/models.md#layers). null: the embedding if there is one, else the decoder's output, else `last`."""
    output_stride: Literal[8, 16, 32] | None = None
    """Trade the last strides of a CNN for dilation, down to this output stride, where its library can do so. null: as
    the network is."""
    context: Annotated[int, Field(ge=0, le=100)] = 7
    """Number of frames before the current one that are compared, besides the first."""
    top_k: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number of most similar cells, over all these frames, that say which object a cell belongs to."""
    temperature: Rate = 0.1
    """The weights of these cells are a softmax of cosine similarity divided by this."""
    neighbourhood: Annotated[int, Field(ge=1, le=1000)] = 12
    """A cell is compared with cells at most this many rows and columns away."""
    stretch: bool = True
    """Stretch each object's shares to 0…1 over the frame, as in DINO's evaluation, before the largest share of a pixel
    decides. Without it, an object with small shares loses to the background."""

    def for_patch(self, patch: int) -> dict[str, Any]:
        """The height; the width follows from it."""
        return {"height": nearest_multiple(self.height, patch), "multiple": patch}

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """What of a sequence is given, and what is counted; that is no entry, but the official toolboxes' way."""
        layer = run.entries.get("features")
        of = {"embedding": "the embedding", "decoder": "the decoder's output"}.get(str(layer), "features")
        by = f" by the similarity of {of}" if layer is not None else ""
        return [*counting.OF_VIDEO, f"the objects of the first frame are given, and followed{by}", counting.drawn(run)]
