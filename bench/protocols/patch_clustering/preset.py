"""The preset of `patch-clustering`: all that defines its figure."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import GeometryPreset, ImagePreset, Positive, Preset, Presets, Seeds, Side
from bench.protocols.registry import PATCH_FIXED


class PatchPreset(GeometryPreset):
    """K-means on the patch tokens of all images (docs/protocols.md#patch-clustering)."""

    first_seed: ClassVar[int] = 0

    input: tuple[Side, Side] = (448, 448)
    """Height and width, in pixels, to which each image is resized. The aspect ratio is not kept."""
    resizing: Literal["opencv", "torch", "pillow"] = "pillow"
    """`opencv` and `pillow` resize the 8-bit image, Pillow with antialiasing. `torch` resizes the normalised image,
    without antialiasing and with corners not aligned. Labels are resized with the same library's nearest."""
    interpolation: Literal["cubic", "linear", "area", "nearest"] = "linear"
    """How the image is resized. Labels and masks are always resized with nearest."""
    standardise: bool = True
    """Whether every dimension of the tokens is brought to mean 0 and (population) deviation 1."""
    pca: Annotated[int, Field(ge=1, le=65535)] | None = 50
    """PCA, without whitening, to this many components, or to all where the tokens have fewer dimensions. null: none."""
    pca_sample: Positive | None = 1000
    """PCA is computed of at most so many tokens for each of their dimensions, drawn as faiss does. null: of all."""
    clusters: Annotated[int, Field(ge=2, le=32766)] | None = None
    """Number of K-means clusters, the background included. null: as many as there are classes."""
    points_per_cluster: Positive | None = 256
    """K-means is trained on at most so many tokens for each cluster, drawn as faiss does by the seed. All tokens then
    go to the nearest centre. null: trained on all."""
    iterations: Positive = 100
    """At most this many Lloyd iterations."""
    restarts: Positive = 5
    """Number of restarts from random tokens; the best objective is kept."""
    spherical: bool = False
    """Whether centres are L2-normalised in every iteration, and tokens go to the largest dot product."""
    matching: Literal["one-to-one", "precision", "many-iou"] | None = None
    """How clusters get classes. `one-to-one`: by the largest sum of IoU, clusters left over become class 0.
    `precision`: each takes the class that holds the largest share of its pixels. `many-iou`: each takes the class with
    the largest IoU. null: `one-to-one` with as many clusters as classes, else `precision`."""
    drop_last_batch: Annotated[int, Field(ge=0, le=10**6)] | None = 60
    """Batch size of the reference, whose loader drops the last, incomplete batch: those images, by id the last, are
    neither clustered nor scored. null or 0: none is dropped."""
    grid: Literal["100x100", "input", "label"] = "100x100"
    """Where pixels are counted: at 100×100 whatever the input, at the input size, or at the label's own size."""
    seeds: Seeds = 5
    """Number of seeds of K-means, counting up from the first. Not part of the fingerprint."""

    @field_validator("drop_last_batch")
    @classmethod
    def _zero_is_none(cls, batch: int | None) -> int | None:
        return batch or None  # a card has no null

    @model_validator(mode="after")
    def _is_consistent(self) -> PatchPreset:
        if self.grid == "label" and self.fit == "crop":
            raise ValueError("grid: with fit = crop the rest of an image has no tokens; set grid = input as well")
        return self

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`, without entries that have no effect."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """The sample of a PCA that is not done."""
        return {"pca_sample": "there is no PCA, pca is null"} if self.pca is None else {}

    def clusters_of(self, classes: int) -> int:
        """K, of a data set with so many classes."""
        return classes if self.clusters is None else self.clusters

    def matching_of(self, classes: int) -> str:
        """The matching, of a data set with so many classes."""
        return self.matching or ("one-to-one" if self.clusters_of(classes) == classes else "precision")

    def left_out(self, images: int) -> int:
        """How many of so many images are dropped, the last ones by their ids."""
        return images % self.drop_last_batch if self.drop_last_batch else 0

    @property
    def num_seeds(self) -> int:
        """As the preset says."""
        return self.seeds

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """Another number of clusters than of classes is `patch-overclustering-N`; without the surprises `+fixed`."""
        fixed = all(getattr(self, key) == value for key, value in PATCH_FIXED.items())
        number = {} if self.clusters_of(classes) == classes else {"clusters": self.clusters}
        return number | (PATCH_FIXED if fixed else {})

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """Clusters of tokens, what they were fitted on, and how they get classes."""
        classes = len(run.classes) or None
        clusters = classes if run.entries.get("clusters", 0) is None else run.number("clusters")
        into = f"one of {clusters} clusters" if clusters else "a cluster"
        batch, per_cluster = run.number("drop_last_batch"), run.number("points_per_cluster")
        dropped = f"the last, incomplete batch of {batch} images is neither clustered nor scored" if batch else ""
        trained = f", trained on {per_cluster} tokens a cluster" if per_cluster else ""
        return [
            counting.mean(run),
            counting.grid(run),
            counting.VOID,
            counting.absent(run),
            f"every token is in {into} by K-means on the tokens of the evaluated images{trained}",
            dropped,
            _matched(run, clusters, classes),
            counting.drawn(run, "K-means"),
        ]

    @classmethod
    def fallback(cls, presets: Presets) -> PatchPreset | None:
        """The reference's on any data set with classes, but no image is dropped; `absent` is the data set's."""
        for protocol in ("clustering-dense", "linear", "distance-matching"):
            known = presets(protocol)
            if isinstance(known, ImagePreset):
                return cls(drop_last_batch=None, absent=known.absent)
        return None


_MATCHED = {
    "one-to-one": "clusters get classes one to one by the largest sum of IoU on the evaluated labels, others class 0",
    "precision": "each cluster takes the class that holds most of its pixels on the evaluated labels",
    "many-iou": "each cluster takes the class with the largest IoU on the evaluated labels",
}


def _matched(run: Counted, clusters: int | None, classes: int | None) -> str:
    if run.entries.get("matching", "") is None:
        if clusters is None or classes is None:
            how = "one to one by the largest sum of IoU where they are as many, else by precision"
            return f"clusters get classes on the evaluated labels: {how}"
        return _MATCHED["one-to-one" if clusters == classes else "precision"]
    return run.word("matching", _MATCHED)
