"""Weights: reads checkpoints from unknown sources safely, recognises them, and loads them strictly.

See docs/models.md#tensors.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.base.errors import BadInput
from bench.base.files import printable_name, sha256_file
from bench.cards.files import RandomWeights
from bench.cards.models import Architecture
from bench.networks.architectures import FeatureNetwork, assemble
from bench.networks.checkpoint_files import as_tensor, open_checkpoint, require_bounded, unusual_tensor
from bench.networks.checkpoint_names import AnyTensor, choose_network
from bench.networks.other_networks import looks_like

State = dict[str, Tensor]

CLASSIFIER = "decoder.4.weight"
# tensors whose first dimension is a size of the architecture
_WIDTH = ("backbone.conv1.weight", "backbone.bn1.weight", "backbone.bn1.running_mean", "backbone.layer1.0.conv1.weight")
_DECODER_WIDTH = ("decoder.1.weight", "decoder.2.weight", "decoder.2.running_mean", "decoder.0.project.0.weight")
_EMBEDDING = ("head.weight", "head.bias")
_CLASSES = (CLASSIFIER, "decoder.4.bias")
_OTHERS = "Any other network can be evaluated from Python, with bench.evaluate."
_OF_LIBRARIES = f"A network of a library takes a file as --model timm:NAME --weights FILE. {_OTHERS}"
_COUNTER = "num_batches_tracked"
_MOST_TENSORS = 5_000
"""Ten times those of the largest network that is read."""
_REAL = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_WHOLE = (torch.int64, torch.int32)


@dataclass(frozen=True)
class Weights:
    """The state of a network and where it came from."""

    state: State
    sha256: str
    """Of the file's bytes; for generated weights, of their values."""
    source: str
    note: str = ""
    """What of the file was read and what was left out; empty where all of it was read."""
    routine: bool = True
    """Whether the note says nothing that a run need say."""


def read_checkpoint(path: Path, sha256: str | None = None) -> Weights:
    """Read the network's tensors from a checkpoint file, whatever its wrapping: floating ones as float32.

    `sha256` is the hash of its bytes, if it is known. Nothing in the file is ever executed. Raises BadInput for what
    is no checkpoint, or holds no network of ours.
    """
    chosen = choose_network(open_checkpoint(path), path)
    if other := looks_like({key: tuple(getattr(value, "shape", ())) for key, value in chosen.state.items()}):
        raise BadInput(f"{path} looks like {other}; of files, ResNet-18 and ResNet-50 are read", _OF_LIBRARIES)
    if len(chosen.state) > _MOST_TENSORS:
        raise BadInput(f"{path} holds a network of {len(chosen.state):,} tensors, and no ResNet", _OF_LIBRARIES)
    state = {key: weights_of(key, value, path) for key, value in chosen.state.items()}
    require_bounded((tensor.shape for tensor in state.values()), path)
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BadInput(f"{path}: NaN or infinity in '{key}'", "The training diverged or the file is damaged.")
    state = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    _add_counters(state)
    return Weights(state, sha256 or sha256_file(path), printable_name(path), chosen.note, chosen.routine)


def weights_of(key: str, value: AnyTensor, path: Path) -> Tensor:
    """A tensor of the file in memory. Raises BadInput for one of a kind that no network is computed with."""
    tensor: Tensor = as_tensor(value, key, path)
    if tensor.dtype in _REAL or (key.endswith(_COUNTER) and tensor.dtype in _WHOLE):
        return tensor
    raise unusual_tensor(path, key, str(tensor.dtype).removeprefix("torch."))


def _add_counters(state: State) -> None:
    """Counters of batches, where a file has none at all: torch before 0.4.1 had none. No figure depends on them."""
    if not any(key.endswith(_COUNTER) for key in state):
        norms = [key.removesuffix("running_var") for key in state if key.endswith(".running_var")]
        state.update({norm + _COUNTER: torch.zeros((), dtype=torch.int64) for norm in norms})


def recognise(state: State, path: Path) -> Architecture:
    """The architecture that a checkpoint's keys and shapes show. Raises BadInput if it is none of ours.

    Sizes are what most tensors say that depend on them, so that a single wrong tensor is found as that one.
    """
    bare = not any(key.startswith(("decoder.", "head.", "classification_head.")) for key in state)
    linear = any(key in state for key in _CLASSES)
    width = _size(state, _WIDTH)
    decoder_width = None if bare else _size(state, _DECODER_WIDTH)
    outputs = None if bare else _size(state, _CLASSES if linear else _EMBEDDING)
    sizes = {_WIDTH: width} | ({} if bare else {_DECODER_WIDTH: decoder_width, _EMBEDDING: outputs})
    missing = [keys[0] for keys, size in sizes.items() if size is None]
    if missing:
        raise BadInput(
            f"{path} is not a MaskContrast network: it lacks '{missing[0]}' (it holds {_groups(state)})",
            "Expected are `backbone.*`, `decoder.*`, `head.*` and `classification_head.*`, "
            "below any prefix; `decoder.4.*` in the heads' place; or a ResNet's keys alone.",
        )
    try:
        return Architecture(
            backbone="resnet50" if "backbone.layer1.0.conv3.weight" in state else "resnet18",
            width=width or 0,
            decoder_width=decoder_width or 0,
            embedding=0 if linear else outputs or 0,
            classes=outputs or 0 if linear else 0,
        )
    except ValueError as error:
        raise BadInput(f"{path}: the shapes of its tensors fit no MaskContrast network: {error}", _OTHERS) from error


def _size(state: State, keys: tuple[str, ...]) -> int | None:
    """The first dimension that most of these tensors have, the first of them in a tie; None where all are missing."""
    sizes = [state[key].shape[0] for key in keys if key in state and state[key].ndim]
    return Counter(sizes).most_common(1)[0][0] if sizes else None


def _groups(state: State) -> str:
    """How many tensors there are below each first part of a key, the largest groups first."""
    groups = Counter(key.partition(".")[0] for key in state).most_common()
    shown = ", ".join(f"{name}.* ({count})" for name, count in groups[:4])
    return shown + (f" and {len(groups) - 4} more groups" if len(groups) > 4 else "")


def build(architecture: Architecture, weights: Weights) -> FeatureNetwork:
    """A network in eval mode with these weights. Raises BadInput unless every key and shape fits."""
    check_fit(architecture, weights)
    with torch.device("meta"):
        network = assemble(architecture)
    network.load_state_dict(weights.state, assign=True)
    return network.eval().requires_grad_(False)


def check_fit(architecture: Architecture, weights: Weights, *, recognised: bool = False) -> None:
    """Raises BadInput unless the weights have every key and shape of the architecture, and no other key.

    With `recognised` the architecture is what the weights themselves looked like, else what a card says.
    """
    with torch.device("meta"):
        expected = assemble(architecture).state_dict()
    state = weights.state
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    complaints = [
        f"{len(keys)} {word} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for word, keys in (("missing", missing), ("unexpected", unexpected), ("of the wrong shape", wrong))
        if keys
    ]
    if complaints and recognised:
        raise BadInput(
            f"{weights.source}, read as {in_words(architecture)}, has tensors that do not fit: {'; '.join(complaints)}",
            f"Save the network's whole `state_dict()`. {_OTHERS}",
        )
    if complaints:
        raise BadInput(
            f"{weights.source} does not fit {in_words(architecture)}: {'; '.join(complaints)}",
            "Is it the file of this card? Give the path alone (`--model FILE`) to have it recognised.",
        )


def count_parameters(architecture: Architecture) -> int:
    """How many numbers training would change: all but the batch norms' running statistics."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in assemble(architecture).parameters())


def in_words(architecture: Architecture) -> str:
    """An architecture's sizes, as an error or a table shows them."""
    sizes = [f"width {architecture.width}"]
    if architecture.decoder_width:
        sizes.append(f"decoder {architecture.decoder_width}")
        ends = f"{architecture.classes} classes" if architecture.classes else f"embedding {architecture.embedding}"
        sizes.append(ends)
    else:
        sizes.append("no decoder")
    return f"{architecture.backbone} ({', '.join(sizes)})"


def classifier_of(weights: Weights) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A linear model's classifier: weight C×D and bias C, float32."""
    weight, bias = (weights.state[key].numpy() for key in (CLASSIFIER, CLASSIFIER.replace("weight", "bias")))
    return weight.reshape(len(weight), -1), bias


def draw_random(architecture: Architecture, random: RandomWeights) -> Weights:
    """Seeded weights: He-normal, zero-sum filters, batch norms at rest, a calibrated saliency head.

    numpy draws each tensor from a generator of its own, seeded by the key's name, so the values depend
    neither on torch's version nor on the order of modules.
    """
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in assemble(architecture).state_dict().items()}
    state = {key: torch.from_numpy(_draw(key, tuple(shape), random)) for key, shape in shapes.items()}
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].numpy().tobytes())
    return Weights(state, digest.hexdigest(), f"generated from seed {random.seed}")


def _draw(key: str, shape: tuple[int, ...], random: RandomWeights) -> np.ndarray[Any, Any]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) == 1:
        ones = key.endswith(("running_var", ".weight"))
        return np.full(shape, 1.0 if ones else 0.0, np.float32)
    words = np.frombuffer(hashlib.sha256(f"{random.seed}|{key}".encode()).digest(), np.uint32)
    values = np.random.Generator(np.random.PCG64(words.tolist())).standard_normal(shape)
    if key.startswith("classification_head"):
        return (random.saliency_scale * values + random.saliency_shift).astype(np.float32)
    values *= np.sqrt(2.0 / np.prod(shape[1:]))
    # Without a common mode the saliency map varies over the image instead of following its brightness.
    values -= values.mean(axis=(1, 2, 3), keepdims=True)
    return values.astype(np.float32)
