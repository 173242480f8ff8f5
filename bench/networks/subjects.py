"""Subjects of a run: from what the user named to a network with its weights, and to samples on disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bench.base.errors import BadInput, Warn, WrongName
from bench.base.parallel import Progress
from bench.cards import catalogue
from bench.cards.card import as_id, require_model_id
from bench.cards.datasets import DatasetCard
from bench.cards.models import Architecture, ModelCard, Training
from bench.cards.presets import PRESETS, SaliencyPreset
from bench.cards.sources import FileWeights, RandomWeights
from bench.data.samples import Samples, open_split
from bench.data.sequences import open_videos
from bench.download.items import card_name, local_root, local_weights, weights_file
from bench.download.pins import Pins
from bench.networks.architectures import fold_batch_norm
from bench.networks.checkpoints import (
    Weights,
    build,
    check_fit,
    classifier_of,
    draw_random,
    hash_module,
    read_checkpoint,
    recognise,
)


class NoDataRoot(BadInput):
    """Nobody said where a data set lies."""


UNKNOWN = "not stated"
NOT_STATED = Training(initialisation=UNKNOWN, prior=UNKNOWN, supervision=UNKNOWN)
SHAPES_VERSION = 1
"""In the cache folder's name: raised when the generator draws other pixels."""


@dataclass(frozen=True)
class Subject:
    """A model ready to be observed."""

    id: str
    title: str
    weights_sha256: str
    weights_source: str
    initialisation: str
    prior: str
    supervision: str
    card: ModelCard | None
    network: Callable[[torch.device], nn.Module]
    """Builds the network on a device, prepared for inference."""
    architecture: Architecture | None = None
    """None for a module in memory."""
    classifier: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None
    """The linear classifier that came with the weights, if any: C×D and C."""
    cacheable: bool = True
    """False for a module in memory: its weights' hash does not tell what its `forward` does."""

    @property
    def what(self) -> str:
        """In words, what it is: `a bare backbone`."""
        return self.architecture.what if self.architecture else "a module"

    @property
    def has_embedding(self) -> bool:
        """Whether it gives what the protocols on prototypes need: an embedding and a saliency logit."""
        return self.architecture is None or self.architecture.embedding > 0

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that can measure it, on data that have what they need."""
        return tuple(
            name for name, preset in PRESETS.items() if self.has_embedding or not issubclass(preset, SaliencyPreset)
        )

    @property
    def features_are(self) -> str:
        """What a linear classifier stands on, for the record."""
        if self.architecture is None:
            return "what the module's `features` returns, else its embedding"
        return "the decoder's output" if self.architecture.decoder_width else "the backbone's last feature map"

    def features(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """B×3×H×W → B×D×h×w: what a linear classifier stands on (spec §4)."""
        features: Callable[[torch.Tensor], Any] | None = getattr(self.network(device), "features", None)
        return features if callable(features) else self.embedding(device)

    def embedding(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
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

    def pixels(self, device: torch.device) -> Callable[[torch.Tensor], Any]:
        """B×3×H×W → B×D×h×w: the pixel embedding of a network that has one, else its features (spec §7)."""
        if self.architecture is None or not self.architecture.embedding:
            return self.features(device)
        return self.embedding(device)


def find_model(model: str | Path | nn.Module, weights: Path | None, cache: Path, warn: Warn) -> Subject:
    """The subject of a card's id, a card's path, a checkpoint's path, or a module in memory."""
    if isinstance(model, nn.Module):
        return _from_module(model)
    if not isinstance(model, (str, Path)):
        raise WrongName(f"a {type(model).__name__} is no model", "Give a card's id, a path, or a torch.nn.Module.")
    name = str(model)
    if name not in catalogue.models() and not name.endswith(".toml"):
        path = Path(name).expanduser()
        if path.is_file() or catalogue.looks_like_path(name) or catalogue.looks_like_checkpoint(name):
            return _from_checkpoint(path)
    card = catalogue.model(name)
    if isinstance(card.weights, RandomWeights):
        if weights is not None:
            raise WrongName(
                f"{card.id} draws its weights from a seed", "Leave --weights out, or give the file as --model."
            )
        return _from_card(card, draw_random(card.architecture, card.weights))
    path = _weights_file(card, card.weights, weights, cache)
    read = read_checkpoint(path)
    _check_hash(card, card.weights, read, path, cache, warn)
    return _from_card(card, read)


def _check_hash(card: ModelCard, entry: FileWeights, weights: Weights, path: Path, cache: Path, warn: Warn) -> None:
    """Hold the file against the published hash, or a downloaded one against the hash that was seen first."""
    pin = Pins(cache).find(f"weights/{card.id}/{entry.file}") if path == _cached_file(card, entry, cache) else None
    expected = entry.sha256 or (pin.sha256 if pin else None)
    if expected and weights.sha256 != expected:
        raise BadInput(
            f"{weights.source} is not the file of {card.id}: SHA-256 {weights.sha256[:12]}… instead of "
            f"{expected[:12]}…" + ("" if entry.sha256 or not pin else f", seen first on {pin.date[:10]}"),
            "Download it again, or give your own file as --model FILE.",
        )
    if not entry.sha256:
        checked = f"this one is as first seen on {pin.date[:10]}" if pin else "the record keeps that of the file used"
        warn(f"no checksum was published for {card.id}; {checked}")


def _from_card(card: ModelCard, weights: Weights) -> Subject:
    # now, not when the network is built: a cache that is warm must not let a wrong file through
    check_fit(card.architecture, weights)
    return _from_weights(weights, card.architecture, card.id, card.title, card.training, card)


def _from_weights(
    weights: Weights, architecture: Architecture, name: str, title: str, training: Training, card: ModelCard | None
) -> Subject:
    return Subject(
        name,
        title,
        weights.sha256,
        weights.source,
        training.initialisation,
        training.prior,
        training.supervision,
        card,
        lambda device: _prepare(build(architecture, weights), device),
        architecture,
        classifier_of(weights) if architecture.classes else None,
    )


def _from_checkpoint(path: Path) -> Subject:
    weights = read_checkpoint(path)
    architecture = recognise(weights.state, path)
    stem = as_id(path.name.lower().split(".pth")[0].removesuffix(".safetensors")) or "checkpoint"
    check_fit(architecture, weights, recognised=True)
    return _from_weights(weights, architecture, f"{stem}-{weights.sha256[:8]}", path.name, NOT_STATED, None)


def _from_module(module: nn.Module) -> Subject:
    digest = hash_module(module)
    name = re.sub(r"[^a-z0-9]+", "-", type(module).__name__.lower()).strip("-") or "module"
    return Subject(
        f"{name}-{digest[:8]}",
        type(module).__name__,
        digest,
        "in memory",
        UNKNOWN,
        UNKNOWN,
        UNKNOWN,
        None,
        lambda device: module.to(device).eval(),
        cacheable=False,
    )


def _prepare(network: nn.Module, device: torch.device) -> nn.Module:
    """Fold batch norms and keep channels last in memory: the same function, in about half the time on a CPU."""
    return fold_batch_norm(network).to(device).to(memory_format=torch.channels_last)


def _weights_file(card: ModelCard, entry: FileWeights, given: Path | None, cache: Path) -> Path:
    if given is not None:
        return given.expanduser()
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


def find_samples(
    card: DatasetCard, split: str, root: Path | None, cache: Path, progress: Progress | None = None
) -> Samples:
    """The samples of a split: from `root`, the card's own root, or the cache, generated or downloaded."""
    if card.generator == "shapes" and root is None:
        root = _written_shapes(card, split, cache, progress)
    if root is None:
        root = local_root(card, cache)
    if root is None:
        fetch = f"`bench download {card_name(card)}` fetches it. Or g" if card.downloads else "G"
        raise NoDataRoot(
            f"no data root for {card.id}: {card.title} is not on this machine, as far as bench knows",
            f'{fetch}ive its folder with --data-root, or in bench.toml: [data_roots] {card.id} = "/path"',
        )
    find = open_videos if card.kind == "video" else open_split
    return find(card, split, Path(root).expanduser())


def _written_shapes(card: DatasetCard, split: str, cache: Path, progress: Progress | None) -> Path:
    """Write a split of the built-in data set if it is not there yet; returns its root."""
    from bench.data.shapes import write_split

    root = cache / "datasets" / f"{card.id}-v{SHAPES_VERSION}"
    entry = card.splits.get(split)
    if entry is not None and entry.images is not None:
        total = entry.images
        write_split(root, split, total, (lambda done: progress(done, total)) if progress else None)
    return root


def restate(subject: Subject, name: str | None, supervision: str | None) -> Subject:
    """The subject under its owner's id and title, and with the labels that its owner says it has seen.

    Raises WrongName for what cannot be an id, and for the model of a card, which says both.
    """
    if subject.card is not None:
        raise WrongName(
            f"{subject.id} is a card's model: its card has its name and the labels that it has seen",
            "Leave --name and --supervision out, or write a card of your own.",
        )
    if supervision is not None:
        subject = replace(subject, supervision=supervision)
    if name is None:
        return subject
    require_model_id(name)
    if name in catalogue.models():
        raise WrongName(f"'{name}' is a built-in card's id", "Give your model a name of its own.")
    return replace(subject, id=name, title=name)
