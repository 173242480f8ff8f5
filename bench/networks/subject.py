"""Subject: the model of a run, ready to be observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import WrongName
from bench.cards.models import NOT_STATED, Architecture, ModelCard, Training
from bench.networks.reading import layers
from bench.networks.reading.reader import Read, Structure
from bench.protocols import registry

if TYPE_CHECKING:
    import torch
    from torch import nn

Classifier = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""C×D and C."""
NATIVE_STRIDE = 8
"""Output stride of this program's own architecture."""
DEFAULTS = ("embedding", "last")
"""What a protocol calls the features of a module where nobody names a layer."""
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Subject:
    """A model ready to be observed."""

    id: str
    title: str
    weights_sha256: str
    weights_source: str
    network: Callable[[str], nn.Module]
    """Builds the network on a device, prepared for inference."""
    training: Training = NOT_STATED
    """How the weights came to be, and which labels they have seen."""
    card: ModelCard | None = None
    architecture: Architecture | None = None
    """None for a module in memory, or of another library."""
    structure: Structure | None = None
    """What a network of another library says of itself; None for this program's own, and for a module whose output
    alone tells."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Library, version, name, revision and options of such a network, as plain JSON values."""
    reads: Callable[[str, str | None, int | None], Read] | None = None
    """Device, layer and output stride → what gives the features of a network that can be built with several strides."""
    layer: str | None = None
    """What is read of such a network unless the preset says; None: `last`."""
    given: str = ""
    """In words, what of the user's gives the features in place of a layer; empty where nothing does."""
    what: str = "a module"
    """In words: `a bare backbone`."""
    has_embedding: bool = True
    """Whether it gives what the protocols on prototypes need: an embedding and a saliency logit."""
    outputs: int | None = None
    """How many classes the linear classifier tells apart that came with the weights; None where none did."""
    classifier: Callable[[], Classifier] | None = None
    """Reads that classifier."""
    note: str = ""
    """What was left out of the file that the weights are in."""
    cacheable: bool = True
    """False for a module in memory: its weights' hash does not tell what its `forward` does."""
    identity: str = ""
    """What tells it from any other network, for the cache; empty where the hash of the weights does."""

    @property
    def key(self) -> str:
        """What stands for the network in the cache's keys."""
        return self.identity or self.weights_sha256

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that can measure it, on data that have what they need."""
        return registry.that_measure(embeddings=self.has_embedding)

    @property
    def normalisation(self) -> tuple[Triple | None, Triple | None]:
        """Mean and standard deviation, RGB in 0…1, where the model states them."""
        return (self.structure.mean, self.structure.std) if self.structure else (None, None)

    # --- what is read ---

    def features(self, device: str, layer: str | None = None, output_stride: int | None = None) -> Read:
        """B×3×H×W → B×D×h×w: what a linear classifier stands on (docs/protocols.md#linear), or the layer named."""
        return self._read(device, layer, output_stride, _features_of)

    def pixels(self, device: str, layer: str | None = None, output_stride: int | None = None) -> Read:
        """B×3×H×W → B×D×h×w: the pixel embedding of a network that has one, else its features; or the layer named.

        See docs/protocols.md#clustering-dense.
        """
        embeds = self.architecture is None or self.architecture.embedding > 0
        return self._read(device, layer, output_stride, _embedding_of if embeds else _features_of)

    def _read(self, device: str, layer: str | None, stride: int | None, default: Callable[[Any], Read]) -> Read:
        if self.reads is not None:
            return self.reads(device, layer or self.layer, stride)
        if stride not in (None, NATIVE_STRIDE if self.architecture else None):
            raise WrongName(
                f"the output stride of {self.id} cannot be {stride}", "Leave the entry `output_stride` out."
            )
        network = self.network(device)
        if self.architecture is not None and layer is None:
            return default(network)
        name = layers.parse(layer or self.layer or "last")
        if name.kind == "part" and self.architecture is not None:
            return self._part(network, name.name)
        from bench.networks.reading.reader import reader_of

        # what a module returns is its embedding
        own = name.name == "embedding" and self.has_embedding
        return reader_of(network).read(layers.parse("last") if own else name)

    def _part(self, network: Any, name: str) -> Read:
        assert self.architecture is not None
        decodes = self.architecture.decoder_width > 0
        has = {"backbone": True, "decoder": decodes, "embedding": self.has_embedding}
        if not has[name]:
            known = ", ".join(key for key, there in has.items() if there)
            raise WrongName(f"{self.id} is {self.what}: it has no {name}", f"Use --set features=… with {known}.")
        if name == "backbone":
            read: Read = network.backbone
            return read
        return _features_of(network) if name == "decoder" else _embedding_of(network)

    def features_are(self, layer: str | None = None) -> str:
        """What `features` gives, for the record."""
        return self._are(layer, pixels=False)

    def pixels_are(self, layer: str | None = None) -> str:
        """What `pixels` gives, for the record."""
        return self._are(layer, pixels=True)

    def _are(self, layer: str | None, *, pixels: bool) -> str:
        if self.given:
            return f"what {self.given} of the user's returns"
        if self.architecture is None:
            own = layer == "embedding" and self.has_embedding
            return layers.described(layers.parse("last" if own else layer or self.layer or "last"), self.structure)
        if layer is not None:
            parts = {"embedding": "the pixel embedding", "decoder": "the decoder's output"}
            return parts.get(layer) or layers.described(layers.parse(layer), None)
        if pixels and self.architecture.embedding:
            return "the pixel embedding"
        return "the decoder's output" if self.architecture.decoder_width else "the backbone's last feature map"


def _features_of(network: Any) -> Read:
    read: Read = network.features
    return read


def _embedding_of(network: Any) -> Read:
    """Without the saliency logit that may come with it."""

    def embed(images: torch.Tensor) -> Any:
        output = network(images)
        return output[0]

    return embed
