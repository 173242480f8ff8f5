"""Recipes: all that decides what pre-training makes of images and masks, as cards that are validated on load.

The defaults are the published values (docs/pre-training.md#the-method); a card states what differs, and `--set
KEY=VALUE` overrides both. Unknown keys are errors, so a typo never trains the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.base.errors import WrongName, unknown_name
from bench.cards.card import Card, first_problem
from bench.cards.models import Architecture
from bench.cards.presets import read_value

Share = Annotated[float, Field(ge=0, le=1)]
LARGEST = 1e6
"""Far above what is of use, and far below where float32 overflows."""
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Range = tuple[Positive, Positive]


class Recipe(Card):
    """One recipe of contrastive pre-training."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    architecture: Architecture
    dropout: Share = 0.5
    """Dropout of the ASPP's projection, in both networks."""
    initialisation: Literal["random", "imagenet", "moco"]
    """What the backbone starts from; all but `random` need a file, given with `--init`."""
    zero_sum: bool = False
    """Begin with an embedding head whose rows sum to zero and whose bias is zero, and with first filters that sum to
    zero where they are random: what all features have in common would make all embeddings alike."""
    frozen: tuple[Literal["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], ...] = ()
    """Parts of the backbone that are not trained; their batch norms stay in eval mode in both networks."""
    split: Annotated[str, Field(coerce_numbers_to_str=True)]
    """The data set's split to train on."""

    # views
    crop: Annotated[int, Field(ge=16, le=2048)] = 224
    """Height and width of a view, in pixels."""
    area: Range = (0.2, 1.0)
    """Of a random resized crop: its share of the image."""
    aspect: Range = (3 / 4, 4 / 3)
    """Of a crop: its width over its height."""
    extent: Range | None = None
    """Crops centred on the object instead, the longer side of its box being such a share of the view's; `area` has
    then no part. Objects are then alike in size, whatever they were in their images."""
    shift: Share = 0.1
    """Of an object-centred crop: how far its centre may lie from the object's, as a share of the crop."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Of an object-centred crop: how far it may be turned either way, in degrees."""
    jitter: tuple[NotNegative, NotNegative, NotNegative, Annotated[float, Field(ge=0, le=0.5)]] = (0.4, 0.4, 0.4, 0.1)
    """Largest change of brightness, contrast, saturation and hue."""
    jitter_share: Share = 0.8
    """The share of views whose colours are jittered."""
    grey_share: Share = 0.2
    """The share of views turned to grey."""
    flip_share: Share = 0.5
    """The share of views that are mirrored."""
    colour_matrix: bool = False
    """Mix the colour channels by a random 3×3 matrix, so that colour says nothing about what is alike."""
    spread: Range = (1.0, 1.0)
    """With `colour_matrix`: the range of each channel's deviation, in the network's normalised input."""
    level: NotNegative = 0.0
    """With `colour_matrix`: the deviation of each channel's mean, in the network's normalised input."""
    foreground: tuple[Share, Share] = (0.01, 0.99)
    """A pair of views is redrawn while either mask's share is not between these."""

    # losses
    temperature: Positive = 0.5
    queue: Count = 128
    """K, the number of earlier prototypes that serve as negatives; a multiple of `batch`."""
    momentum: Share = 0.999
    """How much of f_k stays in each step."""
    contrast_stride: Annotated[int, Field(ge=1, le=64)] = 1
    """Contrast the pixels of every n-th row and column of a view; 1 is all of them."""
    contrast_weight: NotNegative = 1.0
    saliency_weight: NotNegative = 1.0

    # optimisation
    batch: Annotated[Count, Field(ge=2)] = 64
    """Images in a step, over all ranks together; each needs two, for its batch norms."""
    epochs: Count = 40
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum 0.9, or AdamW."""
    lr: Positive = 0.004
    weight_decay: NotNegative = 1e-4
    schedule: Literal["poly", "cosine"] = "poly"
    """lr × (1 − epoch / epochs)^0.9, once per epoch; or half a cosine down to 0, step by step."""
    warmup: NotNegative = 0.0
    """Epochs over which `cosine` first rises linearly from 0."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is autocast; losses, weights and optimiser stay in float32."""

    @field_validator("area", "aspect", "extent", "spread", "foreground")
    @classmethod
    def _ascends(cls, values: tuple[float, float] | None) -> tuple[float, float] | None:
        if values is not None and values[0] > values[1]:
            raise ValueError("the first number must not exceed the second")
        return values

    @model_validator(mode="after")
    def _is_consistent(self) -> Recipe:
        if self.queue % self.batch:
            raise ValueError(f"queue: {self.queue} is no multiple of batch = {self.batch}")
        if self.contrast_stride // 2 >= self.crop:
            raise ValueError(f"contrast_stride: {self.contrast_stride} leaves no pixel of a crop of {self.crop}")
        if self.area[1] > 1:
            raise ValueError("area: a crop cannot be larger than its image")
        return self

    def entries(self) -> dict[str, Any]:
        """The recipe as plain JSON values, without its name: what a checkpoint keeps."""
        return self.model_dump(mode="json", exclude={"schema_", "id", "title", "description"})


def settable() -> list[str]:
    """The entries that `--set` takes."""
    fields = [name for name in Recipe.model_fields if name not in (*Card.model_fields, "architecture")]
    return fields + [f"architecture.{name}" for name in Architecture.model_fields]


def override(recipe: Recipe, entries: Mapping[str, Any]) -> Recipe:
    """`recipe` with `--set KEY=VALUE` entries applied; text is read as JSON where it is JSON.

    `architecture.KEY` reaches into the architecture. Raises WrongName for an unknown key, a value of the
    wrong type, or entries that do not go together.
    """
    values: dict[str, Any] = recipe.model_dump(by_alias=True)
    for key, value in entries.items():
        table, name = (values["architecture"], key.partition(".")[2]) if "." in key else (values, key)
        if key not in (known := settable()):
            raise unknown_name("recipe entry", key, known, "bench list recipes")
        table[name] = read_value(value)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise WrongName(f"--set {first_problem(error)}", "`bench list recipes` shows every entry.") from error
