"""The preset of `clustering`: all that defines its figure."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bench.cards import counting
from bench.cards.counting import NO_LABELS, Counted
from bench.cards.presets import Positive, Preset, SaliencyPreset, Seeds


class ClusteringPreset(SaliencyPreset):
    """K-means on one prototype per image, matched to the classes (docs/protocols.md#clustering)."""

    observed: ClassVar[tuple[str, ...]] = (*SaliencyPreset.observed, "figures")
    later: ClassVar[tuple[str, ...]] = (*SaliencyPreset.later, "fit", "matched_on", "classes_from", "figures")

    whiten: Annotated[int, Field(ge=0, le=65535)] = 32
    """PCA with whitening to this many components, fewer if the rank is lower. 0 leaves it out."""
    clusters: Annotated[int, Field(ge=2, le=32766)] = 20
    """Number of K-means clusters, without the background."""
    solver: Literal["faiss", "minibatch"] = "faiss"
    """`faiss` runs Lloyd iterations, `minibatch` the authors' scikit-learn MiniBatchKMeans."""
    init: Literal["k-means++", "random"] = "k-means++"
    """How the starting centres are chosen."""
    iterations: Positive = 100
    """At most this many Lloyd iterations (`faiss`) or passes over the data (`minibatch`)."""
    restarts: Positive | None = None
    """Number of restarts; the best objective is kept. null: 20 with `faiss`, 3 with `minibatch`, as the authors had."""
    batch: Positive = 1000
    """Size of a mini-batch; for `minibatch` only."""
    fit: str | None = None
    """The split whose prototypes are clustered. Each evaluated image then joins the nearest centre. null: the evaluated
    split."""
    matched_on: str | None = None
    """The split on whose labels clusters are matched to classes. The evaluated split then needs no labels. null: the
    evaluated split."""
    matching: Literal["iou", "pixels", "images"] = "iou"
    """What one-to-one matching maximises: summed IoU (`iou`), matched pixels (`pixels`), or images that have both
    cluster and class (`images`; background then stays background)."""
    classes_from: Literal["all", "halves"] = "all"
    """On which images clusters are matched. `halves`: a half of them, drawn by the seed, gives the other half its
    classes, so no image is judged by a class that its own label had a part in (docs/certainty.md)."""
    grid: Literal["label", "input"] = "label"
    """Where pixels are counted: at the label's own size (`label`) or at the input size (`input`)."""
    figures: Literal["classes", "imagenet-s"] = "classes"
    """`imagenet-s` adds boundary mIoU, F-measure, image accuracy and mIoU by object size
    (docs/protocols.md#imagenet-s)."""
    seeds: Seeds = 5
    """Number of seeds, counting up from the first. Not part of the fingerprint."""

    @model_validator(mode="after")
    def _is_consistent(self) -> ClusteringPreset:
        if self.fit is not None and self.whiten:
            raise ValueError("fit: whitening holds only for the images that it is computed on; set whiten = 0 as well")
        if self.matched_on is not None and self.fit is None:
            raise ValueError("matched_on: each split would have clusters of its own; set fit to one split as well")
        if self.classes_from == "halves" and (
            self.matched_on or self.matching == "images" or self.figures != "classes"
        ):
            raise ValueError(
                "classes_from: halves goes with matching = iou or pixels on the evaluated split, and figures = classes"
            )
        if self.figures == "imagenet-s" and self.grid != "label":
            raise ValueError("figures: imagenet-s counts at the label's own size; set grid = label as well")
        return self

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`, with `restarts` settled and entries of the other solver left out."""
        entries = super().resolved()
        if entries["restarts"] is None:
            entries["restarts"] = 20 if self.solver == "faiss" else 3
        return {key: value for key, value in entries.items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """The mini-batch size, where the solver is faiss."""
        return {"batch": "the solver is faiss"} if self.solver == "faiss" else {}

    @property
    def num_seeds(self) -> int:
        """As the preset says."""
        return self.seeds

    @property
    def counts_boundaries(self) -> bool:
        """ImageNet-S's figures do."""
        return self.figures == "imagenet-s"

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """Clusters of prototypes, the background beside them, and how the two get classes."""
        clusters = run.number("clusters")
        fitted = f"fitted on {run.split_of('fit')}" if run.split_of("fit") else "fitted on the evaluated images"
        into = f"one of {clusters} clusters" if clusters else "a cluster"
        grouped = f"the salient pixels of an image go to {into} by K-means on one prototype an image, {fitted}"
        if not run.labelled:
            return [grouped, NO_LABELS, counting.drawn(run, "K-means")]
        labels = f"the labels of {run.split_of('matched_on')}" if run.split_of("matched_on") else "the evaluated labels"
        if run.entries.get("classes_from", "all") != "all":
            labels = run.word("classes_from", {"halves": "the labels of the other half of the images"})
        ids = clusters + 1 if clusters else None
        return [
            counting.mean(run),
            counting.grid(run),
            counting.VOID,
            counting.absent(run),
            grouped,
            counting.matched(run, ids, "clusters and background", labels),
            counting.drawn(run, "K-means"),
        ]

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """More clusters than there are classes, the background among them, are `overclustering-N`."""
        overclusters = self.clusters + 1 > classes and self.clusters != getattr(default, "clusters", None)
        return {"clusters": self.clusters} if overclusters else {}
