"""Model cards: one checkpoint each, with its architecture, its weights and its supervision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from bench.cards.card import Card
from bench.cards.files import Entry, FileWeights, RandomWeights

LAYER = r"[A-Za-z0-9_.+-]{1,200}"
"""The name of what is read of a network (`bench.networks.reading.layers`)."""
Option = str | int | float | bool


class Architecture(Entry):
    """The shape of a network (docs/protocols.md#network)."""

    backbone: Literal["resnet18", "resnet50"]
    width: Annotated[int, Field(ge=4, le=256)] = 64
    """Channels of the first stage; 64 is the standard network."""
    decoder_width: Annotated[int, Field(ge=0, le=1024)] = 256
    """Channels inside the DeepLabV3 head; 0 for a bare backbone."""
    embedding: Annotated[int, Field(ge=0, le=1024)] = 32
    """Dimensions of a pixel embedding; 0 where there is no embedding head."""
    classes: Annotated[int, Field(ge=0, le=4096)] = 0
    """Outputs of a linear classifier in the embedding head's place; 0 where there is none."""

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Architecture:
        if 0 < self.decoder_width < 4 or self.embedding == 1 or self.classes == 1:
            raise ValueError("decoder_width must be at least 4, embedding and classes at least 2, or 0 for none")
        if self.embedding and self.classes:
            raise ValueError("a network has an embedding or a classifier: set embedding = 0 or classes = 0")
        if bool(self.decoder_width) != bool(self.embedding or self.classes):
            raise ValueError("a decoder needs an embedding or classes; a bare backbone (decoder_width = 0) has neither")
        return self

    @property
    def what(self) -> str:
        """The last part of the network, in words."""
        if not self.decoder_width:
            return "a bare backbone"
        return "a linear classifier" if self.classes else "an embedding"


class Network(Entry):
    """A network of another library: `SOURCE:NAME@REVISION?OPTION=VALUE` on the command line."""

    source: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]+$")]
    """The scheme of an adapter: `timm`, `torchvision`, `hf`, `hub`, `python`."""
    name: Annotated[str, Field(min_length=1, max_length=500)]
    """As the library has it."""
    revision: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Which weights, where there are several: a commit of a hub, or the name of torchvision's weights."""
    features: Annotated[str, Field(pattern=f"^{LAYER}$")] | None = None
    """What is read of it unless the preset says; left out: `last`."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Arguments for the library's constructor; `random = 0` draws the weights from that seed."""
    mean: tuple[float, float, float] | None = None
    """Of the input's normalisation, RGB in 0…1, in the place of what the library states."""
    std: tuple[float, float, float] | None = None
    channels: Literal["RGB", "BGR"] = "RGB"
    """The order of the input's channels; mean and std are of RGB either way."""
    licence: str = "not stated"
    """The terms of the weights that the library fetches."""

    @property
    def address(self) -> str:
        """What names it and its weights on the command line: `torchvision:resnet50@IMAGENET1K_V1`."""
        return f"{self.source}:{self.name}" + (f"@{self.revision}" if self.revision else "")


class Training(Entry):
    """How the weights were made, from which images, and with which labels."""

    initialisation: str
    prior: str
    """The pixel-grouping prior: where the object masks came from."""
    supervision: str
    """Every label that had a part in the weights, directly or through initialisation and prior."""
    images: str = "not stated"
    """The images that the weights have seen: `ImageNet-1k train`."""
    overlaps: dict[str, str] = Field(default_factory=dict)
    """Data sets, by id, whose images are among these or had a part in their choice; and what is known of it: which
    splits are, which are not."""


UNKNOWN = "not stated"
NOT_STATED = Training(initialisation=UNKNOWN, prior=UNKNOWN, supervision=UNKNOWN)
"""Of a model that nobody described."""
DRAWN = Training(
    initialisation="random", prior="none", supervision="none: the weights are drawn at random", images="none"
)
"""Of weights that are drawn from a seed."""


class Paper(Entry):
    """A reference."""

    title: str
    arxiv: str | None = None
    date: str | None = None
    venue: str | None = None


class ModelCard(Card):
    """One checkpoint: of this program's own architecture, or of another library's network."""

    architecture: Architecture | None = None
    network: Network | None = None
    weights: Annotated[RandomWeights | FileWeights, Field(discriminator="source")] | None = None
    """Left out where the library of the network has them."""
    training: Training
    paper: Paper | None = None

    @model_validator(mode="after")
    def _is_one_network(self) -> ModelCard:
        if (self.architecture is None) == (self.network is None):
            raise ValueError("a card has either [architecture] or [network]")
        if self.weights is None and self.network is None:
            raise ValueError("[architecture] needs [weights]")
        if self.network is not None and isinstance(self.weights, RandomWeights):
            raise ValueError("weights of a [network] are drawn with `random = SEED` among its options")
        return self

    @property
    def backbone(self) -> str:
        """What the network is called in lists."""
        return self.architecture.backbone if self.architecture else self.network.name if self.network else ""

    @property
    def drawn(self) -> bool:
        """Whether the weights are drawn from a seed, so that there is nothing to fetch."""
        drawn = self.network is not None and "random" in self.network.options and self.weights is None
        return drawn or isinstance(self.weights, RandomWeights)

    @property
    def origin(self) -> str:
        """Where the weights come from: the source of a file, `random`, or the library of the network."""
        if self.drawn:
            return "random"
        return self.weights.source if self.weights else self.network.source if self.network else ""

    @property
    def weights_sha256(self) -> str | None:
        """The hash of the file of weights; None where nobody published one, or there is no file."""
        return self.weights.sha256 if isinstance(self.weights, FileWeights) else None

    @property
    def licence(self) -> str:
        """The terms of the weights; empty for weights that are drawn."""
        if isinstance(self.weights, FileWeights):
            return self.weights.licence
        return self.network.licence if self.network else ""
