"""The preset of `in-context`: all that defines its figure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import (
    GeometryPreset,
    ImagePreset,
    Positive,
    Preset,
    Presets,
    Rate,
    Seeds,
    Share,
    Side,
    Unit,
    learns_from,
)
from bench.protocols.registry import IN_CONTEXT_FIXED

_OF_CROPS = ("jitter", "jitter_probability", "crop_area", "crop_aspect")
LARGEST_SHARE = 0.5
"""Of hues: half of their circle."""
Amount = Annotated[float, Field(ge=0, lt=1)]


class InContextPreset(GeometryPreset):
    """Each patch takes the labels of its nearest patches in a bank of labelled images, without training
    (docs/protocols.md#in-context)."""

    input_by_patch: dict[Positive, tuple[Side, Side]] = Field(default={14: (504, 504)})
    """Patch size of a network → its input, in place of `input`. A patch that is not named, and does not divide `input`,
    gets the nearest multiples."""
    resizing: Literal["opencv", "torch", "pillow"] = "pillow"
    """`opencv` and `pillow` resize the 8-bit image, Pillow with antialiasing. `torch` resizes the normalised image,
    without antialiasing and with corners not aligned."""
    interpolation: Literal["cubic", "linear", "area", "nearest"] = "linear"
    """How the image is resized. Labels are always resized with nearest."""
    label_resizing: Literal["same", "opencv", "torch", "pillow"] = "torch"
    """Whose nearest resizes labels; `same`: that of `resizing`."""
    std: tuple[Unit, Unit, Unit] = (0.229, 0.224, 0.255)
    """RGB is divided by this, after `mean`. The last is the reference's own: others have 0.225."""
    normalisation: Literal["protocol", "model"] = "protocol"
    """Whose mean and deviation the image is normalised by: the preset's, whatever the model states, as the reference
    does it; or those that the model states, if it does."""
    bank: str = "train"
    """The split whose labelled patches are the bank."""
    shots: Annotated[int, Field(ge=1, le=10**9)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    """Only so many images of that split, or such a share of them, drawn by the seed. null: all."""
    memory: Annotated[int, Field(ge=1, le=10**9)] | None = 102_400
    """How many patches the bank may hold: ⌊this / (images · passes)⌋ of each image in each pass, at least one. null or
    0: all patches."""
    sampling: Literal["rarity", "uniform"] = "rarity"
    """Which patches of an image are taken: those with the least of a uniform random number times the number of patches
    in the image that share their classes (`rarity`), or any (`uniform`)."""
    passes: Annotated[int, Field(ge=1, le=1000)] = 2
    """Number of passes over the bank's images."""
    augmentation: Literal["crops", "none"] = "crops"
    """How an image of the bank becomes the input in each pass: a jitter of its colours and a random crop, or as an
    evaluated image does."""
    jitter: tuple[Amount, Amount, Amount, Annotated[float, Field(ge=0, le=LARGEST_SHARE)]] = (0.1, 0.1, 0.1, 0.1)
    """Brightness, contrast and saturation are multiplied by 1 plus or minus at most this, hue is turned by at most this
    share of the circle, in this order, each uniform."""
    jitter_probability: Share = 0.5
    """Probability of each of the four."""
    crop_area: tuple[Rate, Rate] = (0.5, 2.0)
    """Share of the image's area, uniform between the two. A crop that does not fit is drawn again, ten times in all;
    then the middle of the image is taken."""
    crop_aspect: tuple[Rate, Rate] = (3 / 4, 4 / 3)
    """Width over height of a crop; its logarithm is uniform between theirs."""
    void: Literal["background", "drop"] = "background"
    """Void pixels in the bank are class 0 (`background`), or have no part in a patch's label; then a patch of nothing
    else is left out (`drop`)."""
    neighbours: Annotated[int, Field(ge=1, le=1024)] = 30
    """Number of nearest patches, by cosine."""
    beta: Rate = 0.02
    """Their weights are the softmax of cosine / this."""
    bank_type: Literal["float32", "float16", "quantised"] = "float32"
    """As what the bank's features are kept: float16 takes half of float32's memory; `quantised` is faiss's product
    quantisation, whose search is no longer exact."""
    code_bytes: Positive | None = None
    """Bytes for the features of a quantised patch, a divisor of their number. null: about one for eight of them."""
    ignored: Annotated[int, Field(ge=0, le=65534)] | None = None
    """A class whose pixels are not counted in the evaluated labels, as if they were void. It stays a class."""
    grid: Literal["input", "label"] = "input"
    """Where pixels are counted: at the input size (`input`) or at the label's own size (`label`)."""
    matching: Literal["iou", "none"] = "iou"
    """`iou`: although predictions are classes, they are matched to the classes, one to one by the largest sum of IoU.
    `none`: they are taken as they are."""
    crf: bool = False
    """Refine the classes with a dense CRF (`--crf`), at the input size. The reference has none."""
    seeds: Seeds = 1
    """Number of banks to draw, counting up from the first seed. Not part of the fingerprint."""

    @field_validator("memory", mode="before")
    @classmethod
    def _zero_is_none(cls, memory: Any) -> Any:
        return None if memory == 0 and not isinstance(memory, bool) else memory  # a card has no null

    @model_validator(mode="after")
    def _is_consistent(self) -> InContextPreset:
        if self.augmentation == "crops" and self.fit != "squash":
            raise ValueError("fit: crops are resized to the input; set augmentation = none as well")
        if self.crf and self.grid != "input":
            raise ValueError("crf: classes are refined at the input size; set grid = input as well")
        for key in ("crop_area", "crop_aspect"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: the first must not be larger than the second")
        return self

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`, without entries that have no effect."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """What only crops, a bound or quantisation read, and the seeds where nothing is drawn."""
        reasons = dict.fromkeys(_OF_CROPS, "augmentation is none") if self.augmentation == "none" else {}
        if self.memory is None:
            reasons["sampling"] = "the bank takes in all patches, memory is null"
        if self.bank_type != "quantised":
            reasons["code_bytes"] = f"the bank's features are kept as {self.bank_type}"
        if not self.num_seeds:
            reasons["seeds"] = "nothing is drawn at random"
        return reasons

    @property
    def num_seeds(self) -> int:
        """As the preset says; 0 where neither images, patches nor crops are drawn."""
        drawn = self.augmentation != "none" or self.memory is not None or self.shots is not None
        return self.seeds if drawn else 0

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """Without the reference's surprises it is `in-context+fixed`, with the CRF `…+crf`."""
        fixed = all(getattr(self, key) == value for key, value in IN_CONTEXT_FIXED.items())
        return (dict(IN_CONTEXT_FIXED) if fixed else {}) | ({"crf": True} if self.crf else {})

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """The bank and its votes, what is void in it, and whether predictions are matched."""
        neighbours, memory, ignored = run.number("neighbours"), run.number("memory"), run.number("ignored")
        nearest = f"its {neighbours} nearest patches" if neighbours else "its nearest patches"
        bank = f" of {counting.shown(run.entries['bank'])}" if "bank" in run.entries else ""
        few = f", {counting.shown(run.entries['shots'])} of its images" if run.entries.get("shots") else ""
        of = f", in a bank of at most {memory}" if memory else ""
        return [
            counting.mean(run),
            counting.grid(run),
            counting.VOID if ignored is None else f"{counting.VOID}, and so are those of class {ignored}",
            counting.absent(run),
            f"each patch takes the weighted mean label of {nearest}{bank}{few}{of}",
            run.word("void", {"background": "void in the bank is class 0", "drop": "void in the bank is left out"}),
            run.word("crf", {True: "a dense CRF refines the classes", False: ""}),
            run.word("matching", _MATCHED),
            counting.drawn(run, "the bank"),
        ]

    @classmethod
    def fallback(cls, presets: Presets) -> InContextPreset:
        """The reference's, with the input, absent classes and labelled images that other presets of the card name."""
        bank = learns_from(presets, "bank")
        entries: dict[str, Any] = {} if bank is None else {"bank": bank}
        clustering = presets("clustering")
        if isinstance(clustering, ImagePreset):
            entries["absent"] = clustering.absent
            if clustering.input != cls.model_fields["input"].default:
                entries |= {"input": clustering.input, "input_by_patch": clustering.input_by_patch}
        return cls(**entries)


_MATCHED = {
    "iou": "predicted classes are matched one to one to classes by the largest sum of IoU on the evaluated labels",
    "none": "predicted classes are taken as they are",
}
