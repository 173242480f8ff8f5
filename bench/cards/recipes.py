"""Recipes: the parameters of pre-training, as cards that are validated on load.

The defaults are the published values (docs/pre-training.md#the-method); a card states what differs, and `--set
ENTRY=VALUE` changes both. An unknown entry is an error, so a misspelt one never trains the default."""

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
    """First weights of the backbone. `imagenet` and `moco` need a file, given with `--init`."""
    zero_sum: bool = False
    """Start with an embedding head whose rows sum to zero and whose bias is zero. First filters sum to zero if they are
    random. Otherwise the part that all features share would make all embeddings alike."""
    frozen: tuple[Literal["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], ...] = ()
    """Parts of the backbone that are not trained. Their batch norms stay in eval mode, in both networks."""
    split: Annotated[str, Field(coerce_numbers_to_str=True)]
    """The data set's split to train on."""

    # views
    crop: Annotated[int, Field(ge=16, le=2048)] = 224
    """Height and width of a view, in pixels."""
    area: Range = (0.2, 1.0)
    """Share of the image that a random resized crop covers: from the first number to the second."""
    aspect: Range = (3 / 4, 4 / 3)
    """Width of a crop over its height: from the first number to the second."""
    extent: Range | None = None
    """Centre crops on the object: the longer side of its box is this share of the view's side. `area` then has no
    effect. Objects then have similar sizes in all views. null: random resized crops."""
    shift: Share = 0.1
    """Largest distance of a crop's centre from the object's, as a share of the crop; only with `extent`."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation of a crop in either direction, in degrees; only with `extent`."""
    jitter: tuple[NotNegative, NotNegative, NotNegative, Annotated[float, Field(ge=0, le=0.5)]] = (0.4, 0.4, 0.4, 0.1)
    """Largest change of brightness, contrast, saturation and hue."""
    jitter_share: Share = 0.8
    """Share of views whose colours are changed by `jitter`."""
    grey_share: Share = 0.2
    """Share of views that are made grey."""
    flip_share: Share = 0.5
    """Share of views that are mirrored."""
    colour_matrix: bool = False
    """Mix the colour channels by a random 3×3 matrix, so that colour cannot tell which views are alike."""
    spread: Range = (1.0, 1.0)
    """With `colour_matrix`: each channel's standard deviation in the network's input, between these."""
    level: NotNegative = 0.0
    """With `colour_matrix`: the standard deviation of each channel's mean in the network's input."""
    foreground: tuple[Share, Share] = (0.01, 0.99)
    """Smallest and largest share of a view that the mask may cover; other pairs of views are drawn again."""

    # losses
    temperature: Positive = 0.5
    """The contrastive loss divides similarities by this."""
    queue: Count = 128
    """Number of earlier prototypes that serve as negatives; a multiple of `batch`."""
    momentum: Share = 0.999
    """Share of the momentum network's weights that stays in each step."""
    contrast_stride: Annotated[int, Field(ge=1, le=64)] = 1
    """The contrastive loss takes the pixels of every n-th row and column of a view; 1 takes all."""
    contrast_weight: NotNegative = 1.0
    """Weight of the contrastive loss in the sum of losses."""
    saliency_weight: NotNegative = 1.0
    """Weight of the saliency loss in the sum of losses."""

    # optimisation
    batch: Annotated[Count, Field(ge=2)] = 64
    """Images in a step, over all ranks together; each rank needs two, for its batch norms."""
    epochs: Count = 40
    """Number of epochs."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum 0.9, or AdamW."""
    lr: Positive = 0.004
    """Learning rate at the start."""
    weight_decay: NotNegative = 1e-4
    """Weight decay of the optimiser."""
    schedule: Literal["poly", "cosine"] = "poly"
    """How the learning rate falls: `poly` is lr × (1 − epoch / epochs)^0.9, once per epoch; `cosine` is half a cosine
    down to 0, step by step."""
    warmup: NotNegative = 0.0
    """Number of first epochs in which `cosine` rises linearly from 0."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` is mixed precision: losses, weights and optimiser stay in float32."""

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
    """`recipe` with `--set ENTRY=VALUE` applied; text is read as JSON if it is JSON.

    `architecture.NAME` is an entry of the architecture. Raises WrongName for an unknown entry, a value of the wrong
    type, or entries that contradict each other.
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
