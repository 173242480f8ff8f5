"""Presets: a protocol's parameters, and the fingerprint of those that define the figure.

The defaults are the paper's values on PASCAL VOC (spec §§2-3); a data-set card overrides what differs
there, and `--set KEY=VALUE` overrides both. Unknown keys are errors, so a typo never runs the default.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.base.errors import WrongName, unknown_name

FIRST_SEED = 1234
"""The authors' first seed."""

Positive = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=8192)]
Unit = Annotated[float, Field(allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Preset(BaseModel):
    """Entries that every protocol shares: how an image becomes the network's input."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    interpolation: Literal["cubic", "linear", "area"] = "cubic"
    """Interpolation of the image. Labels and masks are always resized with nearest."""
    mean: tuple[Unit, Unit, Unit] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in 0..1."""
    std: tuple[Unit, Unit, Unit] = (0.229, 0.224, 0.225)
    """Divides what `mean` left."""

    @field_validator("std")
    @classmethod
    def _divides(cls, std: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(std) <= 0:
            raise ValueError("must be positive")
        return std

    def resolved(self) -> dict[str, Any]:
        """The entries that define the figure, as plain JSON values.

        An entry that came later is left out at its default: that is what the recipe has always been.
        """
        entries = self.model_dump(mode="json", exclude={"seeds"})
        default = {key: type(self).model_fields[key].default for key in LATER_ENTRIES if key in entries}
        return {key: value for key, value in entries.items() if key not in default or value != default[key]}

    def unread(self) -> dict[str, str]:
        """Entries that have no part in the figure as the others stand, with the reason."""
        return {}

    @property
    def num_seeds(self) -> int:
        """How many seeds are run unless told otherwise; 0 for a protocol that draws nothing at random."""
        return 0


LATER_ENTRIES = ("resizing", "fit", "matched_on", "figures")
"""Entries that earlier versions did not have."""


class ImagePreset(Preset):
    """Entries that the protocols on single images, counted in confusion rows, share."""

    input: tuple[Side, Side] = (512, 512)
    """Height and width, in pixels, that every image is resized to; the aspect ratio is not kept."""
    resizing: Literal["opencv", "torch"] = "opencv"
    """`opencv` resizes the 8-bit image, labels with OpenCV's nearest; `torch` the normalised image without
    antialiasing, corners not aligned, labels with torch's nearest."""
    absent: Literal["zero", "skip"] = "zero"
    """A class that occurs nowhere counts as IoU 0 in the mean, or is left out of it."""


class SaliencyPreset(ImagePreset):
    """Entries of the protocols that tell objects from background by the saliency head."""

    saliency_threshold: Unit = 0.5
    """A pixel is salient where the saliency *logit* exceeds this (no sigmoid)."""


INPUT_ENTRIES = ("input", "interpolation", "resizing", "mean", "std", "saliency_threshold", "figures")
"""What of a preset decides how an image is observed; the rest only decides how it is scored."""


class ClusteringPreset(SaliencyPreset):
    """K-means on one prototype per image, matched to the classes (spec §3)."""

    whiten: Annotated[int, Field(ge=0)] = 32
    """PCA with whitening to this many components (fewer where the rank is lower); 0 leaves it out."""
    clusters: Annotated[int, Field(ge=2, le=32766)] = 20
    """K. Each image's salient pixels get one of K cluster ids; the rest is id 0, background."""
    solver: Literal["faiss", "minibatch"] = "faiss"
    """faiss Lloyd iterations, or the authors' scikit-learn MiniBatchKMeans."""
    init: Literal["k-means++", "random"] = "k-means++"
    """Starting centres."""
    iterations: Positive = 100
    """At most this many Lloyd iterations (faiss) or passes over the data (minibatch)."""
    restarts: Positive | None = None
    """Restarts, the best objective kept. Unset: 20 with faiss, 3 with minibatch as the authors ran it."""
    batch: Positive = 1000
    """Mini-batch size; `minibatch` only."""
    fit: str | None = None
    """The split whose prototypes are clustered; each evaluated image then joins the nearest centre. Unset: the
    evaluated split itself."""
    matched_on: str | None = None
    """The split on whose labels the clusters are matched; their classes are then those of any evaluated split, one
    without labels as well. Unset: the evaluated split itself."""
    matching: Literal["iou", "pixels", "images"] = "iou"
    """What the one-to-one Hungarian matching maximises: summed IoU, matched pixels, or the images that hold cluster
    and class (background then stays background)."""
    grid: Literal["label", "input"] = "label"
    """Where pixels are counted: at the label's own size, or at the input size."""
    figures: Literal["classes", "imagenet-s"] = "classes"
    """`imagenet-s` reports also boundary mIoU, F-measure, image accuracy and mIoU by object size (spec §8)."""
    seeds: Positive = 5
    """How many seeds are run, counting up from the first. Not part of the fingerprint."""

    @model_validator(mode="after")
    def _is_consistent(self) -> ClusteringPreset:
        if self.fit is not None and self.whiten:
            raise ValueError("fit: whitening belongs to the images that it is computed on; set whiten = 0 as well")
        if self.matched_on is not None and self.fit is None:
            raise ValueError("matched_on: each split would have clusters of its own; set fit to one split as well")
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


class DensePreset(ImagePreset):
    """K-means on pixels, without a saliency background: every pixel belongs to a cluster (spec §7)."""

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


class DistancePreset(ImagePreset):
    """Every pixel takes the class that its nearest neighbours among labelled instances vote for (spec §8).

    An instance is what one image has of one class. Its entry in the bank is the mean, over its pixels at the label's
    own size, of the embedding upsampled to that size, L2-normalised; a pixel that asks is L2-normalised too. A
    saliency head has no part in it.
    """

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
    """`imagenet-s` reports also boundary mIoU, F-measure, image accuracy and mIoU by object size (spec §8)."""


class RetrievalPreset(SaliencyPreset):
    """Each image takes the class of its nearest neighbour in a bank of prototypes (spec §5)."""

    bank: str = "train"
    """The split whose images fill the bank."""
    void_classes: tuple[str, ...] = ()
    """Classes that count as ignored, in the bank and in the evaluation."""
    averaged: Literal["all", "objects"] = "all"
    """The mean is over all classes that are not void, or leaves the background out as well."""
    grid: Literal["input", "label"] = "input"
    """Where pixels are counted: at the input size, or at the label's own size."""


class LinearPreset(ImagePreset):
    """A 1×1 convolution on frozen features: trained here by this recipe, or released by its authors (spec §4)."""

    classifier: Literal["trained", "released"] = "trained"
    """Set by the model: a checkpoint with a classifier in it is evaluated as it is, without training."""
    train: str = "trainaug"
    """The split to train on."""
    train_images: Positive | None = None
    """Only its first so many images; all if unset."""
    epochs: Positive = 60
    batch: Positive = 16
    """Images per step; the last, incomplete batch of an epoch is dropped."""
    lr: Rate = 0.1
    """SGD's learning rate."""
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    lr_decay: Rate = 0.1
    """The learning rate is multiplied by this in every epoch whose index exceeds `lr_decay_after`."""
    lr_decay_after: Annotated[int, Field(ge=0)] = 25
    init_std: Rate = 0.01
    """Standard deviation of the initial weights; the bias starts at 0."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 5.0
    """Degrees: uniform between minus this and this, about the image's centre."""
    scale: tuple[Rate, Rate] = (0.75, 1.25)
    """Uniform between the two, in the same warp; what lies outside the image becomes black background."""
    selection: Literal["best on val", "last"] = "best on val"
    """Which epoch is reported: the best by the mIoU on the evaluated split at the input size, or the last."""
    crf: bool = False
    """Refine the logits with a dense CRF (`--crf`)."""
    seeds: Positive = 1
    """How many classifiers are trained, seeds counting up from the first. Not part of the fingerprint."""

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`; a released classifier has no training recipe."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """The training recipe and the seeds, where the classifier is released."""
        if self.classifier == "trained":
            return {}
        return dict.fromkeys((*TRAINING_ENTRIES, "seeds"), "the checkpoint's own classifier is measured")

    @property
    def num_seeds(self) -> int:
        """As the preset says; 0 for a released classifier."""
        return self.seeds if self.classifier == "trained" else 0


TRAINING_ENTRIES = (
    "train", "train_images", "epochs", "batch", "lr", "momentum", "weight_decay", "lr_decay", "lr_decay_after",
    "init_std", "flip", "rotation", "scale", "selection",
)  # fmt: skip
"""The linear preset's entries that only training reads."""


class DavisPreset(Preset):
    """The first frame's objects carried through a sequence by the similarity of features (spec §9).

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


PRESETS: dict[str, type[Preset]] = {
    "clustering": ClusteringPreset,
    "clustering-dense": DensePreset,
    "davis": DavisPreset,
    "distance-matching": DistancePreset,
    "linear": LinearPreset,
    "retrieval-21": RetrievalPreset,
    "retrieval-7": RetrievalPreset,
}
"""Protocol id → the type of its preset."""

GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(PRESETS),
    "retrieval": ("retrieval-21", "retrieval-7"),
}
"""A name that stands for several protocols, each with a record of its own."""


OVERCLUSTERING = re.compile(r"overclustering-(\d{1,5})")
"""The id of `clustering` with so many clusters, more than there are classes."""


def base_protocol(protocol: str) -> tuple[str, dict[str, Any]]:
    """The protocol whose preset applies, and the entries that its name adds, as `linear+crf` does.

    Raises WrongName for an unknown id, and for one that stands for several.
    """
    if protocol in GROUPS:
        raise WrongName(
            f"'{protocol}' stands for several protocols, and there is one record of each",
            f"Call it once for each: {', '.join(GROUPS[protocol])}.",
        )
    if match := OVERCLUSTERING.fullmatch(protocol):
        return "clustering", {"clusters": int(match[1])}
    base, plus, suffix = protocol.partition("+")
    if base not in PRESETS or (plus and (base, suffix) != ("linear", "crf")):
        raise unknown_name("protocol", protocol, [*PRESETS, "linear+crf"], "bench list protocols")
    return base, {"crf": True} if plus else {}


def fingerprint(protocol: str, resolved: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, of what defines a figure: the protocol and its resolved preset.

    Seeds, batch size, workers, device and library versions are not covered; they are in the record.
    """
    text = json.dumps([protocol, resolved], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_value(value: Any) -> Any:
    """The value after `--set KEY=`: text is read as JSON where it is JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def override(preset: Preset, entries: dict[str, Any]) -> Preset:
    """`preset` with `--set KEY=VALUE` entries applied; text is read as JSON where it is JSON.

    Raises WrongName for an unknown key or a value of the wrong type.
    """
    known = type(preset).model_fields
    values: dict[str, Any] = preset.model_dump()
    for key, text in entries.items():
        if key not in known:
            raise unknown_name("preset entry", key, known, "bench list protocols")
        values[key] = read_value(text)
    try:
        return type(preset).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "preset"
        raise WrongName(
            f"--set {where}: {first['msg'].removeprefix('Value error, ')}",
            f"`{where}` takes: {describe(type(preset), str(first['loc'][0]) if first['loc'] else '')}",
        ) from error


def describe(kind: type[Preset], key: str) -> str:
    """The type and default of a preset entry, as a reader wants it."""
    schema = kind.model_json_schema()["properties"].get(key)
    if schema is None:
        return "see `bench list protocols`"
    return f"{_type_name(schema)} (default {json.dumps(schema.get('default'))})"


def _type_name(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words: `cubic | linear`, `[number, number]`, `integer ≥ 1`."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type_name(choice) for choice in schema["anyOf"])
    if "prefixItems" in schema:
        return f"[{', '.join(_type_name(item) for item in schema['prefixItems'])}]"
    if schema.get("type") == "array":
        return f"[{_type_name(schema['items'])}, …]"
    least = f" ≥ {schema['minimum']}" if "minimum" in schema else ""
    return f"{schema.get('type', 'value')}{least}"
