"""Find model: the model of a run, from the name that the user gave to a network with its weights.

If the cache knows the weights (`bench.networks.known_weights`), the model and its hash are known without torch. The
weights are then read when the network is built.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput, Warn, WrongName
from bench.base.files import is_ordinary_file, printable_name
from bench.base.paths import expand
from bench.cards import catalogue
from bench.cards.card import as_id, require_model_id
from bench.cards.files import FileWeights, RandomWeights
from bench.cards.local_files import card_name, local_weights, weights_file
from bench.cards.models import NOT_STATED, Architecture, ModelCard, Training
from bench.cards.pins import Pins
from bench.networks import known_weights
from bench.networks.adapters import adapted
from bench.networks.weights_file import WeightsFile
from bench.protocols import registry

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.networks.checkpoints import Weights

Classifier = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""C×D and C."""


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

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that can measure it, on data that have what they need."""
        every = sorted(registry.protocols().values(), key=lambda entry: entry.id)
        return tuple(entry.id for entry in every if self.has_embedding or not entry.preset_type.needs_saliency)

    @property
    def features_are(self) -> str:
        """What a linear classifier stands on, for the record."""
        if self.architecture is None:
            return "what the module's `features` returns, else its embedding"
        return "the decoder's output" if self.architecture.decoder_width else "the backbone's last feature map"

    def features(self, device: str) -> Callable[[torch.Tensor], Any]:
        """B×3×H×W → B×D×h×w: what a linear classifier stands on (docs/protocols.md#linear)."""
        features: Callable[[torch.Tensor], Any] | None = getattr(self.network(device), "features", None)
        return features if callable(features) else self.embedding(device)

    def embedding(self, device: str) -> Callable[[torch.Tensor], Any]:
        """B×3×H×W → B×D×h×w: the pixel embedding, without the saliency logit that may come with it."""
        network: Any = self.network(device)

        def embed(images: torch.Tensor) -> Any:
            output = network(images)
            return output[0] if isinstance(output, (tuple, list)) and output else output

        return embed

    @property
    def pixels_are(self) -> str:
        """What dense clustering groups, for the record."""
        return "the pixel embedding" if self.architecture and self.architecture.embedding else self.features_are

    def pixels(self, device: str) -> Callable[[torch.Tensor], Any]:
        """B×3×H×W → B×D×h×w: the pixel embedding of a network that has one, else its features.

        See docs/protocols.md#clustering-dense.
        """
        if self.architecture is None or not self.architecture.embedding:
            return self.features(device)
        return self.embedding(device)


def find_model(model: str | Path | nn.Module, weights: Path | None, cache: Path, warn: Warn) -> Subject:
    """The subject of a card's id, a card's path, a checkpoint's path, an adapter's name, or a module in memory."""
    if _is_module(model):
        return _from_module(model)  # type: ignore[arg-type]
    if not isinstance(model, (str, Path)):
        raise WrongName(f"a {type(model).__name__} is not a model", "Give a card's id, a path, or a torch.nn.Module.")
    name = str(model)
    if name not in catalogue.models() and not name.endswith(".toml"):
        path = expand(name)
        if is_ordinary_file(path) or catalogue.looks_like_path(name) or catalogue.looks_like_checkpoint(name):
            return _from_checkpoint(path, cache, warn)
        if (subject := adapted(name)) is not None:
            return subject
    card = catalogue.model(name)
    if isinstance(card.weights, RandomWeights):
        if weights is not None:
            raise WrongName(
                f"{card.id} draws its weights from a seed", "Leave --weights out, or give the file as --model."
            )
        return _drawn(card, card.weights, cache)
    return _from_card(card, card.weights, _weights_file(card, card.weights, weights, cache), cache, warn)


def _is_module(model: object) -> bool:
    torch = sys.modules.get("torch")  # whoever has a module has imported it
    return torch is not None and isinstance(model, torch.nn.Module)


# --- weights in a file ---


def _from_card(card: ModelCard, entry: FileWeights, path: Path, cache: Path, warn: Warn) -> Subject:
    file = WeightsFile(path, cache, card.architecture)
    known = file.known_architecture() is not None
    if not known:
        _ = file.weights  # what is wrong with the file itself is said first
    _check_hash(card, entry, file, cache, warn)
    # now, not when the network is built: a cache that is warm must not let a wrong file through
    if not known:
        from bench.networks.checkpoints import check_fit

        check_fit(card.architecture, file.weights)
        file.keep(card.architecture)
    about = {"id": card.id, "title": card.title, "training": card.training, "card": card, "note": file.note(warn)}
    return _of_weights(lambda: file.weights, file.sha256, printable_name(path), card.architecture, **about)


def _from_checkpoint(path: Path, cache: Path, warn: Warn) -> Subject:
    file = WeightsFile(path, cache, None)
    architecture = file.known_architecture()
    if architecture is None:
        from bench.networks.checkpoints import check_fit, recognise

        architecture = recognise(file.weights.state, path)
        check_fit(architecture, file.weights, recognised=True)
        file.keep(architecture)
    name = printable_name(path)
    stem = as_id(name.lower().split(".pth")[0].removesuffix(".safetensors")) or "checkpoint"
    about = {"id": f"{stem}-{file.sha256[:8]}", "title": name, "note": file.note(warn)}
    return _of_weights(lambda: file.weights, file.sha256, name, architecture, **about)


def _of_weights(
    read: Callable[[], Weights], sha256: str, source: str, architecture: Architecture, **about: Any
) -> Subject:
    def network(device: str) -> nn.Module:
        from bench.networks.checkpoints import build

        return _prepare(build(architecture, read()), device)

    def classifier() -> Classifier:
        from bench.networks.checkpoints import classifier_of

        return classifier_of(read())

    return Subject(
        weights_sha256=sha256,
        weights_source=source,
        network=network,
        architecture=architecture,
        what=architecture.what,
        has_embedding=architecture.embedding > 0,
        outputs=architecture.classes or None,
        classifier=classifier if architecture.classes else None,
        **about,
    )


def _prepare(network: nn.Module, device: str) -> nn.Module:
    """Fold batch norms and keep channels last in memory: the same function, in about half the time on a CPU."""
    import torch

    from bench.networks.architectures import fold_batch_norm

    return fold_batch_norm(network).to(device).to(memory_format=torch.channels_last)


def _check_hash(card: ModelCard, entry: FileWeights, file: WeightsFile, cache: Path, warn: Warn) -> None:
    """Hold the file against the published hash, or a downloaded one against the hash that was seen first."""
    pin = Pins(cache).find(f"weights/{card.id}/{entry.file}") if file.path == _cached_file(card, entry, cache) else None
    expected = entry.sha256 or (pin.sha256 if pin else None)
    if expected and file.sha256 != expected:
        raise BadInput(
            f"{file.path.name} is not the file of {card.id}: SHA-256 {file.sha256[:12]}… instead of "
            f"{expected[:12]}…" + ("" if entry.sha256 or not pin else f", pinned on {pin.date[:10]}"),
            "Download it again, or give your own file as --model FILE.",
        )
    if not entry.sha256:
        checked = (
            f"this file has the hash pinned on {pin.date[:10]}" if pin else "the record has the hash of the file used"
        )
        warn(f"no checksum was published for {card.id}; {checked}")


def _weights_file(card: ModelCard, entry: FileWeights, given: Path | None, cache: Path) -> Path:
    if given is not None:
        return expand(given)
    found = local_weights(card, cache)
    if found is not None:
        return found
    cached = _cached_file(card, entry, cache)
    if entry.source == "file":
        raise BadInput(
            f"the weights of {card.id} are not at {(card.path.parent if card.path else Path()) / entry.file}",
            "Correct `weights.file` in the card, or give --weights FILE.",
        )
    raise BadInput(
        f"the weights of {card.id} are not on this machine",
        f"`bench download {card_name(card)}` fetches them (licence: {entry.licence}). By hand: open {entry.address} "
        f"in a browser, and give --weights FILE or save it as {cached}",
    )


def _cached_file(card: ModelCard, entry: FileWeights, cache: Path) -> Path:
    return weights_file(cache, card.id, entry.file)


# --- other weights ---


def _drawn(card: ModelCard, entry: RandomWeights, cache: Path) -> Subject:
    """The subject of weights that are drawn from a seed."""

    @functools.cache
    def draw() -> Weights:
        from bench.networks.checkpoints import draw_random

        return draw_random(card.architecture, entry)

    drawing = {"random": entry.model_dump(), "architecture": card.architecture.model_dump(), "numpy": np.__version__}
    sha256 = (known_weights.find(cache, drawing) or {}).get("weights_sha256")
    if not isinstance(sha256, str):
        sha256 = draw().sha256
        known_weights.keep(cache, drawing, {"weights_sha256": sha256})
    about = {"id": card.id, "title": card.title, "training": card.training, "card": card}
    return _of_weights(draw, sha256, f"generated from seed {entry.seed}", card.architecture, **about)


def _from_module(module: nn.Module) -> Subject:
    from bench.networks.checkpoints import hash_module

    digest = hash_module(module)
    name = re.sub(r"[^a-z0-9]+", "-", type(module).__name__.lower()).strip("-") or "module"
    return Subject(
        id=f"{name}-{digest[:8]}",
        title=type(module).__name__,
        weights_sha256=digest,
        weights_source="in memory",
        network=lambda device: module.to(device).eval(),
        cacheable=False,
    )


def restate(subject: Subject, name: str | None, supervision: str | None) -> Subject:
    """The subject under its owner's id and title, and with the labels that its owner says it has seen.

    Raises WrongName for what cannot be an id, and for the model of a card, which says both.
    """
    if subject.card is not None:
        raise WrongName(
            f"{subject.id} is a card's model: its card has its name and its supervision",
            "Leave --name and --supervision out, or write a card of your own.",
        )
    if supervision is not None:
        training = subject.training.model_copy(update={"supervision": supervision})
        subject = replace(subject, training=training)
    if name is None:
        return subject
    require_model_id(name)
    if name in catalogue.models():
        raise WrongName(f"'{name}' is a built-in card's id", "Give your model another name.")
    return replace(subject, id=name, title=name)
