"""The preset of `clustering-dense`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import NO_LABELS, Counted
from bench.cards.presets import FeaturesPreset, ImagePreset, Positive, Preset, Presets, Rate, Seed, Seeds


class DensePreset(FeaturesPreset):
    """K-means on pixels. Every pixel belongs to a cluster, those of the background too
    (docs/protocols.md#clustering-dense)."""

    later: ClassVar[tuple[str, ...]] = (*FeaturesPreset.later, "crf", "crf_scale")

    pixels: Positive = 64
    """Number of random pixels of each image that are clustered, at the resolution of the features."""
    pixel_seed: Seed = 1234
    """Seed of that draw. It is the same for every seed of K-means."""
    clusters: Annotated[int, Field(ge=2, le=32766)] = 21
    """Number of K-means clusters, the background included."""
    init: Literal["k-means++", "random"] = "k-means++"
    """How the starting centres are chosen."""
    iterations: Positive = 50
    """At most this many Lloyd iterations."""
    restarts: Positive = 3
    """Number of restarts; the best objective is kept."""
    matching: Literal["iou", "pixels"] = "iou"
    """What one-to-one matching maximises: summed IoU (`iou`) or matched pixels (`pixels`)."""
    grid: Literal["label", "input"] = "label"
    """Where pixels are counted: at the label's own size (`label`) or at the input size (`input`)."""
    crf: bool = False
    """Refine the clusters with a dense CRF on the grid where pixels are counted (`--crf`, docs/protocols.md#dense-crf).
    """
    crf_scale: Rate = 2.0
    """The CRF takes softmax(this·cosine) for the probabilities of clusters."""
    seeds: Seeds = 5
    """Number of seeds of K-means, counting up from the first. Not part of the fingerprint."""

    @property
    def num_seeds(self) -> int:
        """As the preset says."""
        return self.seeds

    def unread(self) -> dict[str, str]:
        """How sharp probabilities are, where there is no CRF."""
        return {} if self.crf else {"crf_scale": "there is no CRF"}

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`, without entries that nothing reads."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """With the CRF it is `clustering-dense+crf`."""
        return {"crf": True} if self.crf else {}

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """Clusters of pixels, among which the background is none of its own, and how they get classes."""
        clusters = run.number("clusters")
        into = f"one of {clusters} clusters" if clusters else "a cluster"
        grouped = f"every pixel, the background's too, is in {into} by K-means on pixels of the evaluated images"
        refined = run.word("crf", {True: "a dense CRF refines the clusters", False: ""})
        if not run.labelled:
            return [grouped, refined, NO_LABELS, counting.drawn(run, "K-means")]
        return [
            counting.mean(run),
            counting.grid(run),
            counting.VOID,
            counting.absent(run),
            grouped,
            refined,
            counting.matched(run, clusters, "clusters"),
            counting.drawn(run, "K-means"),
        ]

    @classmethod
    def fallback(cls, presets: Presets) -> DensePreset | None:
        """Input, counting and matching of `clustering`, with one cluster more, for the background."""
        clustering = presets("clustering")
        if clustering is None:
            return None
        shared = {*ImagePreset.model_fields, "grid", "seeds"}
        entries = {name: value for name, value in clustering if name in shared}
        values = dict(clustering)
        if values["matching"] != "images":  # which clusters in every image are, says nothing of pixels
            entries["matching"] = values["matching"]
        return cls(**entries, clusters=values["clusters"] + 1)
