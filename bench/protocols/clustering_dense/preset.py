"""The preset of `clustering-dense`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bench.cards.presets import ImagePreset, Positive, Presets


class DensePreset(ImagePreset):
    """K-means on pixels, without a saliency background: every pixel belongs to a cluster
    (docs/protocols.md#clustering-dense)."""

    pixels: Positive = 64
    """So many random pixels of an image, at the features' resolution, are clustered."""
    pixel_seed: Annotated[int, Field(ge=0)] = 1234
    """Seed of that draw, which is the same for every seed of the K-means."""
    clusters: Annotated[int, Field(ge=2, le=32766)] = 21
    """K. Pixels and centres are L2-normalised; a pixel belongs to the centre of the largest dot product."""
    init: Literal["k-means++", "random"] = "k-means++"
    """Starting centres."""
    iterations: Positive = 50
    """At most this many Lloyd iterations."""
    restarts: Positive = 3
    """Restarts, the best objective kept."""
    matching: Literal["iou", "pixels"] = "iou"
    """What the one-to-one Hungarian matching maximises: summed IoU, or matched pixels."""
    grid: Literal["label", "input"] = "label"
    """Where pixels are counted: at the label's own size, or at the input size."""
    seeds: Positive = 5
    """How many seeds of the K-means are run, counting up from the first. Not part of the fingerprint."""

    @property
    def num_seeds(self) -> int:
        """As the preset says."""
        return self.seeds

    @classmethod
    def fallback(cls, presets: Presets) -> DensePreset | None:
        """On what `clustering` sees and counts, with a cluster more: the background, too, is then one to be found."""
        clustering = presets("clustering")
        if clustering is None:
            return None
        shared = {*ImagePreset.model_fields, "grid", "seeds"}
        entries = {name: value for name, value in clustering if name in shared}
        values = dict(clustering)
        if values["matching"] != "images":  # which clusters in every image are, says nothing of pixels
            entries["matching"] = values["matching"]
        return cls(**entries, clusters=values["clusters"] + 1)
