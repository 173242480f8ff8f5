"""The presets of `stego-cluster`, `stego-kmeans` and `stego-linear`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import GeometryPreset, Positive, Preset, Presets, Seed, Seeds, Side, learns_from

Batch = Annotated[int, Field(ge=1, le=4096)]
StepSize = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class StegoPreset(GeometryPreset):
    """Entries of every probe of STEGO's evaluation (docs/protocols.md#stego). Pixels are counted at the input size."""

    later: ClassVar[tuple[str, ...]] = ()
    """None: every entry is told, and in the cache's key, at this protocol's own defaults too."""

    input: tuple[Side, Side] = (320, 320)
    """Height and width, in pixels, of the middle of the image that is seen."""
    fit: Literal["squash", "crop", "shorter", "longer", "own"] = "crop"
    """How an image becomes the input (docs/protocols.md#geometry)."""
    resizing: Literal["opencv", "torch", "pillow"] = "pillow"
    """Which library resizes."""
    interpolation: Literal["cubic", "linear", "area", "nearest"] = "nearest"
    """How the image is resized; STEGO resizes it as a label. PiCIE: `linear`."""
    mirror: bool = True
    """Whether the code is the mean of those of the image and of its mirror image, of the evaluated images alone."""
    absent: Literal["zero", "skip"] = "skip"
    """A class without pixels, labelled or predicted, counts as 0 (`zero`), or is left out of the mean (`skip`)."""
    train: str = "train"
    """The split that the probe is trained on."""
    train_images: Positive | None = None
    """Train on only this many images, the first of the split. null: all."""
    grid: Literal["input"] = "input"
    """Where pixels are counted: at the input size."""
    train_input: Side = 224
    """Side of the square in the middle of a training image that is seen; the nearest multiple of the network's patch.
    Training images are resized as the others, and not mirrored."""
    stored: Literal["float32", "float16"] = "float32"
    """As what the code is kept."""
    crf: bool = False
    """Refine the probe's scores with a dense CRF (`--crf`). The reference's published figures have it."""
    crf_image: Literal["recovered", "true"] = "recovered"
    """The picture that the CRF sees: as the reference recovers it from the network's input, up to one too low
    (`recovered`), or as it is (`true`)."""
    seeds: Seeds = 1
    """Number of probes, their seeds counting up from the first. Not part of the fingerprint."""

    @field_validator("crf_image", mode="before")
    @classmethod
    def _named(cls, crf_image: Any) -> Any:
        return "true" if crf_image is True else crf_image  # as `--set crf_image=true` is read

    @property
    def num_seeds(self) -> int:
        """As the preset says."""
        return self.seeds

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`, without entries that nothing reads."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """What the CRF sees, where there is none."""
        return {} if self.crf else {"crf_image": "there is no CRF"}

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """With the CRF it is `stego-…+crf`."""
        return {"crf": True} if self.crf else {}

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """The probe, how its predictions get classes, and whether a CRF refines them."""
        recovered = {"recovered": ", on the picture recovered from the network's input", "true": ""}
        refined = run.word("crf", {True: "a dense CRF refines the scores", False: ""})
        return [
            counting.mean(run),
            counting.grid(run),
            counting.VOID,
            counting.absent(run),
            *cls.probe(run),
            refined + (run.word("crf_image", recovered) if run.entries.get("crf") is True else ""),
            counting.drawn(run, "the probe"),
        ]

    @classmethod
    def probe(cls, run: Counted) -> list[str]:
        """The clauses of `counting` about the probe."""
        return []

    @classmethod
    def fallback(cls, presets: Presets) -> StegoPreset:
        """STEGO's own, smaller on images that are; trained on the split that another protocol trains on."""
        train = learns_from(presets, "train")
        entries: dict[str, Any] = {} if train is None else {"train": train}
        side = min([cls.model_fields["input"].default[0], *getattr(presets("clustering"), "input", ())])
        return cls(**entries, input=(side, side), train_input=7 * side // 10)


class StegoMatched(StegoPreset):
    """Entries of the probes whose clusters are matched to classes."""

    extra_clusters: Annotated[int, Field(ge=0, le=32000)] = 0
    """Clusters beside one for each class."""
    extra: Literal["dropped", "wrong", "merged"] = "dropped"
    """What becomes of pixels in extra clusters. `dropped`: those whose cluster's number is no class's count nowhere, as
    in the reference. Otherwise all clusters are matched, and one that stays without a class is `wrong` everywhere or
    `merged` with the class that it shares most pixels with."""
    matching: Literal["clusters", "classes"] = "clusters"
    """One-to-one matching by most pixels, with clusters as rows (STEGO) or with classes as rows (PiCIE): it decides
    where optima tie."""

    def unread(self) -> dict[str, str]:
        """What becomes of extra clusters, where there is none."""
        return super().unread() | ({} if self.extra_clusters else {"extra": "there are no extra clusters"})

    @classmethod
    def matched(cls, run: Counted) -> list[str]:
        """The clauses about how clusters get classes."""
        ways = {
            "dropped": "pixels in extra clusters count nowhere",
            "wrong": "pixels in clusters that stay without a class are wrong",
            "merged": "clusters that stay without a class join the one that they share most pixels with",
        }
        rows = run.word("matching", {"clusters": "clusters", "classes": "classes"})
        one_to_one = "clusters get classes one to one by the most pixels in common on the evaluated labels"
        return [
            f"{one_to_one} ({rows} as rows)" if rows else "",
            run.word("extra", ways) if run.number("extra_clusters") else "",
        ]


class StegoClusterPreset(StegoMatched):
    """The cluster probe: a centroid per class, learnt by gradient so that each pixel lies near one
    (docs/protocols.md#stego)."""

    steps: Positive = 5000
    """Steps of training."""
    batch: Batch = 16
    """Images in a step."""
    lr: StepSize = 5e-3
    """Learning rate of Adam; it stays as it is."""

    @classmethod
    def probe(cls, run: Counted) -> list[str]:
        """How the centroids are learnt."""
        return [f"every pixel is in the cluster of the nearest learnt centroid{_trained(run)}", *cls.matched(run)]


class StegoKmeansPreset(StegoMatched):
    """K-means on normalised features in place of the cluster probe: another quantity, with a name of its own
    (docs/protocols.md#stego)."""

    pixels: Positive = 64
    """Number of random cells of each training image that are clustered."""
    pixel_seed: Seed = 1234
    """Seed of that draw. It is the same for every seed of K-means."""
    init: Literal["k-means++", "random"] = "k-means++"
    """How the starting centres are chosen."""
    iterations: Positive = 50
    """At most this many Lloyd iterations."""
    restarts: Positive = 3
    """Number of restarts; the best objective is kept."""

    @classmethod
    def probe(cls, run: Counted) -> list[str]:
        """What K-means is fitted on."""
        fitted = _of(run, "train_images", "train")
        return [f"every pixel is in the cluster of the nearest centre of K-means, fitted{fitted}", *cls.matched(run)]


class StegoLinearPreset(StegoPreset):
    """The linear probe: a 1×1 convolution on the code (docs/protocols.md#stego)."""

    steps: Positive = 5000
    """Steps of training."""
    batch: Batch = 16
    """Images in a step."""
    lr: StepSize = 5e-3
    """Learning rate of Adam; it stays as it is."""

    @classmethod
    def probe(cls, run: Counted) -> list[str]:
        """How it is trained."""
        return [f"a linear classifier on the upsampled features is trained{_trained(run)}"]


def _trained(run: Counted) -> str:
    steps = run.number("steps")
    return (f" in {steps} steps" if steps else "") + _of(run, "train_images", "train")


def _of(run: Counted, images: str, split: str) -> str:
    """` on 64 images of train`, as far as it is known."""
    if split not in run.entries:
        return ""
    few = run.number(images)
    return f" on {f'{few} images of ' if few else ''}{counting.shown(run.entries[split])}"
