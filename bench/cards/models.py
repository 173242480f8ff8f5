"""Model cards: one checkpoint each, with its architecture, its weights and its supervision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from bench.cards.card import Card
from bench.cards.files import Entry, FileWeights, RandomWeights


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


class Training(Entry):
    """How the weights were made, and with which labels."""

    initialisation: str
    prior: str
    """The pixel-grouping prior: where the object masks came from."""
    supervision: str
    """Every label that had a part in the weights, directly or through initialisation and prior."""


UNKNOWN = "not stated"
NOT_STATED = Training(initialisation=UNKNOWN, prior=UNKNOWN, supervision=UNKNOWN)
"""Of a model that nobody described."""


class Paper(Entry):
    """A reference."""

    title: str
    arxiv: str | None = None
    date: str | None = None
    venue: str | None = None


class ModelCard(Card):
    """One checkpoint."""

    architecture: Architecture
    weights: Annotated[RandomWeights | FileWeights, Field(discriminator="source")]
    training: Training
    paper: Paper | None = None
