"""Find model: the model of a run, from the name that the user gave to a network with its weights.

If the cache knows the weights (`bench.networks.known_weights`), the model and its hash are known without torch. The
weights are then read when the network is built.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.base.errors import BadInput, Warn, WrongName
from bench.base.files import is_ordinary_file, printable_name, sha256_file
from bench.base.paths import expand
from bench.cards import catalogue
from bench.cards.card import as_id, require_model_id
from bench.cards.files import FileWeights, RandomWeights
from bench.cards.local_files import card_name, local_weights, weights_file
from bench.cards.models import Architecture, ModelCard
from bench.cards.pins import Pins
from bench.networks import adapters, known_weights
from bench.networks.checkpoint_files import require_file
from bench.networks.libraries.nearest import network_meant
from bench.networks.reading.reader import PLAIN, Read
from bench.networks.subject import DEFAULTS, Classifier, Subject, Triple
from bench.networks.weights_file import WeightsFile

if TYPE_CHECKING:
    from torch import nn

    from bench.networks.checkpoints import Weights
Normalisation = tuple[Triple, Triple]
"""Mean and standard deviation, RGB in 0…1."""


def find_model(
    model: str | Path | nn.Module, weights: Path | None, cache: Path, warn: Warn, *, trust_code: bool = False
) -> Subject:
    """The subject of a card's id, a card's path, a checkpoint's path, an adapter's name, or a module in memory.

    `trust_code` lets code of a hub run.
    """
    if is_module(model):
        return from_module(model)  # type: ignore[arg-type]
    name = str(model)
    asked: dict[str, Any] = {"weights": expand(weights) if weights else None, "trust_code": trust_code, "warn": warn}
    if adapters.split(name) is not None:
        subject = adapters.adapted(name, cache, **asked)
        assert subject is not None
        return subject
    if name not in catalogue.models() and not name.endswith(".toml"):
        path = expand(name)
        if is_ordinary_file(path) or catalogue.looks_like_path(name) or catalogue.looks_like_checkpoint(name):
            return _from_checkpoint(path, cache, warn)
    card = catalogue.model(name)
    if card.network is not None:
        asked["weights"] = _file_for(card, expand(weights) if weights else None, cache, warn)
        return adapters.of_card(card, card.network, cache, **asked)
    assert card.architecture is not None and card.weights is not None  # as the card's form has it
    if isinstance(card.weights, RandomWeights):
        if weights is not None:
            raise WrongName(
                f"{card.id} draws its weights from a seed", "Leave --weights out, or give the file as --model."
            )
        return _drawn(card, card.weights, cache)
    return _from_card(card, card.weights, _weights_file(card, card.weights, weights, cache), cache, warn)


def require_known(model: str | Path | nn.Module, cache: Path) -> None:
    """Raises WrongName for a name that nothing can be; the rest is left to `find_model`."""
    if not is_module(model) and not isinstance(model, (str, Path)):
        kind = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        made = "an instance of it" if isinstance(model, type) else "a card's id, a path, or a torch.nn.Module"
        raise WrongName(f"{kind} is not a model", f"Give {made}.")
    name = str(model)
    if is_module(model) or name in catalogue.models() or name.endswith(".toml"):
        return
    if adapters.split(name):
        adapters.require_known(name, cache)
        return
    if not (catalogue.looks_like_path(name) or catalogue.looks_like_checkpoint(name) or is_ordinary_file(expand(name))):
        if (error := network_meant(name, cache)) is not None:
            raise error
        catalogue.model(name)


def is_module(model: object) -> bool:
    """Whether it is a torch.nn.Module, which is asked without importing torch."""
    torch = sys.modules.get("torch")  # whoever has a module has imported it
    return torch is not None and isinstance(model, torch.nn.Module)


# --- weights in a file ---


def _from_card(card: ModelCard, entry: FileWeights, path: Path, cache: Path, warn: Warn) -> Subject:
    assert card.architecture is not None
    file = WeightsFile(path, cache, card.architecture)
    known = file.known_architecture() is not None
    if not known:
        _ = file.weights  # what is wrong with the file itself is said first
    _check_hash(card, entry, file.path, file.sha256, cache, warn)
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


def _file_for(card: ModelCard, given: Path | None, cache: Path, warn: Warn) -> Path | None:
    """The file for a network of another library: the card's, or a given one in its place, held to the card's hash.

    None where the library has the weights.
    """
    if not isinstance(card.weights, FileWeights):
        if given is not None:
            warn(f"the weights of {card.id} are read from {printable_name(given)}: they are not those of its card")
        return given
    path = _weights_file(card, card.weights, given, cache)
    require_file(path)
    _check_hash(card, card.weights, path, sha256_file(path), cache, warn)
    return path


def _check_hash(card: ModelCard, entry: FileWeights, path: Path, sha256: str, cache: Path, warn: Warn) -> None:
    """Hold the file against the published hash, or a downloaded one against the hash that was seen first."""
    pin = Pins(cache).find(f"weights/{card.id}/{entry.file}") if path == _cached_file(card, entry, cache) else None
    expected = entry.sha256 or (pin.sha256 if pin else None)
    if expected and sha256 != expected:
        raise BadInput(
            f"{path.name} is not the file of {card.id}: SHA-256 {sha256[:12]}… instead of "
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

    shape = card.architecture
    assert shape is not None

    @functools.cache
    def draw() -> Weights:
        from bench.networks.checkpoints import draw_random

        return draw_random(shape, entry)

    drawing = {"random": entry.model_dump(), "architecture": shape.model_dump(), "numpy": np.__version__}
    sha256 = (known_weights.find(cache, drawing) or {}).get("weights_sha256")
    if not isinstance(sha256, str):
        sha256 = draw().sha256
        known_weights.keep(cache, drawing, {"weights_sha256": sha256})
    about = {"id": card.id, "title": card.title, "training": card.training, "card": card}
    return _of_weights(draw, sha256, f"generated from seed {entry.seed}", shape, **about)


def from_module(
    module: nn.Module, *, features: Read | None = None, normalisation: Normalisation | None = None, cache_key: str = ""
) -> Subject:
    """The subject of a module in memory.

    `features` (B×3×H×W → B×D×h×w) is read in place of what `forward` returns; `normalisation` is the mean and the
    standard deviation that the module was trained with, RGB in 0…1. `cache_key` is the caller's word that what is
    computed under it with these weights never changes: then it is cached.
    """
    from bench.networks.module_hash import hash_module
    from bench.networks.reading.reader import reader_of

    digest = hash_module(module)
    structure = reader_of(module).structure
    if normalisation is not None:
        mean, std = _triples(normalisation)
        structure = replace(structure, mean=mean, std=std)
    if features is not None:
        structure = replace(structure, grid=None)  # nobody knows what the function does with positions
    plain = structure.family == PLAIN
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    function = _name_of(features) if features is not None else ""
    told = json.dumps([digest, cache_key, kind, function])
    identity = hashlib.sha256(told.encode()).hexdigest() if cache_key else ""
    name = re.sub(r"[^a-z0-9]+", "-", type(module).__name__.lower()).strip("-")[:60] or "module"
    return Subject(
        id=f"{name}-{digest[:8]}",
        title=type(module).__name__,
        weights_sha256=digest,
        weights_source="in memory",
        network=lambda device: module.to(device).eval(),
        structure=structure,
        origin={"class": kind},
        reads=functools.partial(_given, module, features) if features else None,
        given="a function" if features else "",
        what="a module" if plain else f"a network of {structure.family}",
        has_embedding=plain,
        cacheable=bool(cache_key),
        identity=identity,
    )


def _triples(normalisation: Any) -> tuple[Triple, Triple]:
    """Mean and standard deviation, of any sequences of numbers."""
    try:
        (r, g, b), (s, t, u) = ([float(one) for one in values] for values in normalisation)
    except (TypeError, ValueError) as error:
        raise WrongName(
            "normalisation is not a mean and a standard deviation of three channels",
            "Give ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), or the like.",
        ) from error
    return (r, g, b), (s, t, u)


def _name_of(function: Any) -> str:
    """A function's, or that of the class of something else that can be called."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def _given(module: nn.Module, features: Read, device: str, layer: str | None, stride: int | None) -> Read:
    if layer not in (None, *DEFAULTS):
        raise WrongName(f"features is a function, and a layer is asked for: '{layer}'", "Give one of the two.")
    if stride is not None:
        raise WrongName("features is a function, which takes no output stride", "Leave the entry `output_stride` out.")
    module.to(device).eval()
    return features


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
    if name in (None, subject.id):
        return subject
    require_model_id(name)
    if name in catalogue.models():
        raise WrongName(f"'{name}' is a built-in card's id", "Give your model another name.")
    return replace(subject, id=name, title=name)
