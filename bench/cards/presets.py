"""Presets: a protocol's parameters, and the fingerprint of those that define the figure.

The defaults are the paper's values on PASCAL VOC (docs/protocols.md#preprocessing, docs/protocols.md#clustering); a
data-set card changes what differs there, and `--set ENTRY=VALUE` changes both. An unknown entry is an error, so a
misspelt one never runs the default."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.base.errors import WrongName, unknown_name
from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.models import LAYER

FIRST_SEED = 1234
"""The first seed of MaskContrast's authors, and of every protocol whose reference has no other one."""

Positive = Annotated[int, Field(ge=1, le=10**6)]
Seeds = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Side = Annotated[int, Field(ge=1, le=8192)]
Unit = Annotated[float, Field(allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LayerName = Annotated[str, Field(pattern=f"^{LAYER}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Preset(BaseModel):
    """Entries that every protocol shares: how an image becomes the network's input."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    observed: ClassVar[tuple[str, ...]] = ("interpolation", "mean", "std")
    """Entries that decide the network's input: they are in the cache's key. The others decide how figures are
    counted."""
    later: ClassVar[tuple[str, ...]] = ()
    """Entries that earlier versions did not have."""
    needs_saliency: ClassVar[bool] = False
    """Whether the network must have an embedding and a saliency head."""
    first_seed: ClassVar[int] = FIRST_SEED
    """The seed from which `num_seeds` count up unless told otherwise: that of the reference."""

    interpolation: Literal["cubic", "linear", "area", "nearest"] = "cubic"
    """How the image is resized. Labels and masks are always resized with nearest."""
    mean: tuple[Unit, Unit, Unit] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in 0…1."""
    std: tuple[Unit, Unit, Unit] = (0.229, 0.224, 0.225)
    """RGB is divided by this, after `mean`."""

    @field_validator("std")
    @classmethod
    def _divides(cls, std: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(std) <= 0:
            raise ValueError("must be positive")
        return std

    def resolved(self) -> dict[str, Any]:
        """The entries that define the figure, as plain JSON values.

        An entry that came later is left out at its default, so older fingerprints stay the same.
        """
        entries = self.model_dump(mode="json", exclude={"seeds"})
        default = {key: type(self).model_fields[key].default for key in self.later}
        return {key: value for key, value in entries.items() if key not in default or value != default[key]}

    def unread(self) -> dict[str, str]:
        """Entries without effect on the figure, given the others; with the reason."""
        return {}

    @property
    def num_seeds(self) -> int:
        """How many seeds are run unless told otherwise; 0 for a protocol that draws nothing at random."""
        return 0

    def settled(self) -> dict[str, Any]:
        """Entries that follow from the others, where they are left open."""
        return {}

    def for_patch(self, patch: int) -> dict[str, Any]:
        """Entries by which the input of a network with patches of so many pixels is a multiple of them."""
        return {}

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """Entries by which published figures call the protocol by another name: a `Variant` in its registry entry.

        `default` is the data set's own preset, `classes` how many it has. Empty where the plain name fits.
        """
        return {}

    @classmethod
    def definition(cls, run: Counted) -> str:
        """How figures of a run with these entries are counted, in one line. It never raises, whatever they are."""
        defaults = {key: cls.model_fields[key].default for key in cls.later}
        told = run.with_defaults(defaults)
        return counting.sentence([*cls.counting(told), counting.unknown(run, cls.model_fields)])

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """The clauses of `definition`: only what the entries say. A protocol adds what is its own."""
        return [counting.drawn(run)]

    @classmethod
    def fallback(cls, presets: Presets) -> Preset | None:
        """The preset on a data set whose card has none, from those that it has; None where it cannot be run there."""
        return None


class ImagePreset(Preset):
    """Entries that the protocols on single images, counted in confusion rows, share."""

    observed: ClassVar[tuple[str, ...]] = (*Preset.observed, "input", "resizing")
    later: ClassVar[tuple[str, ...]] = ("resizing", "input_by_patch")

    input: tuple[Side, Side] = (512, 512)
    """Height and width, in pixels, to which each image is resized. The aspect ratio is not kept."""
    input_by_patch: dict[Positive, tuple[Side, Side]] = {}
    """Patch size of a network → its input, in place of `input`. A patch that is not named, and does not divide `input`,
    gets the nearest multiples."""
    resizing: Literal["opencv", "torch", "pillow"] = "opencv"
    """`opencv` and `pillow` resize the 8-bit image, Pillow with antialiasing. `torch` resizes the normalised image,
    without antialiasing and with corners not aligned. Labels are resized with the same library's nearest."""
    absent: Literal["zero", "skip"] = "zero"
    """A class that occurs nowhere counts as IoU 0 in the mean (`zero`), or is left out of the mean (`skip`)."""

    def for_patch(self, patch: int) -> dict[str, Any]:
        """The input, or the one by patch."""
        height, width = self.input_by_patch.get(patch, self.input)
        return {"input": (nearest_multiple(height, patch), nearest_multiple(width, patch))}

    def seen(self) -> tuple[int, int]:
        """Height and width, pixels, of what the network sees at once of a square image: for estimates."""
        return self.input

    @property
    def counts_boundaries(self) -> bool:
        """Whether a figure needs pixels told apart by the boundaries of label and prediction."""
        return False

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """What holds of every protocol on single images; where pixels are counted, and of what, each knows itself."""
        return [counting.absent(run), counting.drawn(run)]


class FeaturesPreset(ImagePreset):
    """Entries of the protocols that stand on the features of any network."""

    observed: ClassVar[tuple[str, ...]] = (*ImagePreset.observed, "features", "output_stride")
    later: ClassVar[tuple[str, ...]] = (*ImagePreset.later, "features", "output_stride")

    features: LayerName | None = None
    """What is read of the network: `last`, `last4`, `block9`, `key`, `stage3`, … (docs/models.md#layers). null: what
    the model's card says, else the last block's patch tokens after the final norm, or the last feature map."""
    output_stride: Literal[8, 16, 32] | None = None
    """Trade the last strides of a CNN for dilation, down to this output stride, where its library can do so. null: as
    the network is."""


class GeometryPreset(FeaturesPreset):
    """Entries of the protocols whose reference has a geometry of its own (docs/protocols.md#geometry)."""

    observed: ClassVar[tuple[str, ...]] = (
        *FeaturesPreset.observed,
        *("fit", "label_resizing", "pad", "multiple", "mirror", "scales"),
    )

    fit: Literal["squash", "crop", "shorter", "longer", "own"] = "squash"
    """How an image becomes the input. `squash`: resized to `input`, whatever its shape. `crop`: its shorter side to
    that of `input`, then the middle of it. `shorter`, `longer`: that side to the height in `input`, nothing is cut.
    `own`: as large as it is."""
    label_resizing: Literal["same", "opencv", "torch", "pillow"] = "same"
    """Whose nearest resizes labels; `same`: that of `resizing`."""
    pad: Literal["end", "centre"] = "end"
    """Where zeros are put to fill an input up to a multiple of `multiple`: right and bottom, or all around."""
    multiple: Side | None = None
    """What an input that is not squashed is filled up to, pixels; null: the network's patch, if it has one."""
    mirror: bool = False
    """Whether features are the mean of those of the image and of its mirror image."""
    scales: Annotated[tuple[Rate, ...], Field(min_length=1, max_length=16)] = (1.0,)
    """Features are the mean over the input resized by these factors (torch, bilinear), on the grid of the first."""

    def for_patch(self, patch: int) -> dict[str, Any]:
        """The input where the preset fixes it, and the multiple where a size follows from the image or a scale."""
        fixed = self.fit in ("squash", "crop")
        entries = super().for_patch(patch) if fixed else {}
        return entries if fixed and self.scales == (1,) else {**entries, "multiple": self.multiple or patch}

    def seen(self) -> tuple[int, int]:
        """The input, filled up to the multiple."""
        if self.fit == "squash":
            return self.input
        return filled(self.input[0], self.multiple), filled(self.input[1], self.multiple)


class WindowsPreset(GeometryPreset):
    """Entries of the protocols that classify pictures window by window, at the picture's own size
    (docs/protocols.md#sliding-window).

    Here `mirror` and `scales` ask for views of the whole picture. Class scores of views are averaged, no features."""

    observed: ClassVar[tuple[str, ...]] = (*GeometryPreset.observed, "window", "window_stride", "views_mean")
    unlike_training: ClassVar[tuple[str, ...]] = ("window", "window_stride", "views_mean", "mirror", "scales")
    """Entries of `observed` that only decide how the evaluated pictures are seen."""
    filled_up: ClassVar[tuple[str, ...]] = ("window",)
    """Sides, pixels, that are filled up with zeros where the network's patch does not divide them."""

    fit: Literal["squash", "shorter", "longer", "own"] = "shorter"
    """How an image becomes the input. `shorter`, `longer`: that side to the height in `input`. `squash`: resized to
    `input`, whatever its shape. `own`: as large as it is. Nothing is cut: figures are of the whole picture."""
    mirror: bool = False
    """Whether the mirror image is a view of the picture too."""
    scales: Annotated[tuple[Rate, ...], Field(min_length=1, max_length=16)] = (1.0,)
    """Views of the picture: the input resized by these factors (torch, bilinear)."""
    multiple: Side | None = None
    """What a window is filled up to, pixels; null: the network's patch, if it has one."""
    window: Side | None = 512
    """Height and width of a window, pixels; null: the whole input is seen at once."""
    window_stride: Side = 341
    """From one window to the next, pixels. The last one is moved back to end at the border."""
    views_mean: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the mirror image and the scales: logits, or probabilities (softmax)."""

    @model_validator(mode="after")
    def _leaves_no_gap(self) -> WindowsPreset:
        if self.window is not None and self.window_stride > self.window:
            raise ValueError(
                f"window_stride: {self.window_stride} is larger than the window of {self.window}: "
                "what lies between two windows would never be seen"
            )
        return self

    def for_patch(self, patch: int) -> dict[str, Any]:
        """The multiple to which windows are filled up, squashed or not."""
        return {"multiple": self.multiple or patch}

    def unread(self) -> dict[str, str]:
        """What only several windows or several views need."""
        found = {} if self.window else {"window_stride": "there are no windows"}
        one = len(self.scales) == 1 and not self.mirror
        return found | ({"views_mean": "there is one view of each picture"} if one else {})

    def seen(self) -> tuple[int, int]:
        """A window, filled up; the input where there are none."""
        height, width = (min(side, self.window or side) for side in self.input)
        return filled(height, self.multiple), filled(width, self.multiple)


class SaliencyPreset(ImagePreset):
    """Entries of the protocols that separate objects from background by the saliency head."""

    observed: ClassVar[tuple[str, ...]] = (*ImagePreset.observed, "saliency_threshold")
    needs_saliency: ClassVar[bool] = True

    saliency_threshold: Unit = 0.5
    """A pixel is salient where its saliency logit exceeds this. There is no sigmoid."""


Presets = Callable[[str], Preset | None]
"""Protocol id → its preset on a data set, as the data set's card has it."""


_LEARN_FROM = {"linear": "train", "distance-matching": "bank", "retrieval-21": "bank"}
"""Protocols whose preset names a split to learn from, and the entry that does."""


def learns_from(presets: Presets, part: Literal["bank", "train"]) -> str | None:
    """The split with labels that a data set's other protocols learn from; None where none names one.

    Those go first that have it as the same `part`: a bank may be smaller than what a classifier is trained on.
    """
    for protocol, entry in sorted(_LEARN_FROM.items(), key=lambda named: named[1] != part):
        if (known := presets(protocol)) is not None:
            return str(getattr(known, entry))
    return None


def fingerprint(protocol: str, resolved: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, of what defines a figure: the protocol and its resolved preset.

    Seeds, batch size, workers, device and library versions are not covered; they are in the record.
    """
    text = json.dumps([protocol, resolved], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def filled(side: int, multiple: int | None) -> int:
    """The smallest multiple that is no smaller, pixels."""
    return side if multiple is None else -(-side // multiple) * multiple


def nearest_multiple(side: int, patch: int) -> int:
    """Of a patch, in pixels; the larger of two that are as near, and never 0."""
    return max(1, (2 * side + patch) // (2 * patch)) * patch


def read_value(value: Any) -> Any:
    """The value after `--set ENTRY=`: text is read as JSON if it is JSON, within Python's bounds."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def override(preset: Preset, entries: dict[str, Any]) -> Preset:
    """`preset` with `--set ENTRY=VALUE` applied; text is read as JSON if it is JSON.

    Raises WrongName for an unknown entry or a value of the wrong type.
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
        said, where = first["msg"].removeprefix("Value error, "), ".".join(str(part) for part in first["loc"])
        if not where:  # entries that do not go together; the message names them
            raise WrongName(f"--set {said}", "`bench list protocols` shows what each entry takes.") from error
        raise WrongName(
            f"--set {where}: {said}", f"`{where}` takes: {describe(type(preset), str(first['loc'][0]))}"
        ) from error


def describe(kind: type[Preset], key: str) -> str:
    """The type and default of a preset entry, as text."""
    schema = _schemas(kind).get(key)
    if schema is None:
        return "see `bench list protocols`"
    return f"{_type_name(schema)} (default {json.dumps(schema.get('default'))})"


def meaning(description: str | None) -> str:
    """An entry's docstring on one line, without references to the documents."""
    return re.sub(r" \(docs/[^)]*\)", "", " ".join((description or "").split()))


@functools.cache
def _schemas(kind: type[Preset]) -> dict[str, Any]:
    """The JSON schema of each entry."""
    found: dict[str, Any] = kind.model_json_schema()["properties"]
    return found


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
