"""Checkpoints in the authors' training format, every value drawn by numpy from its key's name.

`values` reproduces the ones that the golden figures were measured with; their hashes are in test_weights.py.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

from bench.cards import catalogue
from bench.cards.models import Architecture
from bench.networks.architectures import FeatureNetwork, MaskContrastNetwork, fold_batch_norm
from bench.networks.checkpoints import build, draw_random, read_checkpoint, recognise

QUERY, KEY = "module.model_q.", "module.model_k."
SALIENCY = {"resnet18": (201, -0.01413, 0.004631), "resnet50": (162, 0.002645, 0.005488)}
"""Candidate, scale and shift of the saliency head, chosen so that about 40 % of the pixels are salient."""


def generator(name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"0|{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(np.frombuffer(digest, "<u4").tolist()))


def is_norm(key: str) -> bool:
    """Whether a one-dimensional tensor belongs to a batch norm (the only other one is the head's bias)."""
    return not key.startswith("head")


def value(key: str, shape: tuple[int, ...], backbone: str) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.array(1000, np.int64)
    noise = generator(key).standard_normal(shape)
    if key == "classification_head.weight":
        candidate, scale, shift = SALIENCY[backbone]
        drawn = scale * generator(f"{key}/cand{candidate}").standard_normal(shape) + shift
    elif len(shape) == 4:
        drawn = noise * np.sqrt(2.0 / np.prod(shape[1:]))
        drawn = drawn - drawn.mean(axis=(1, 2, 3), keepdims=True)
    elif key.endswith("running_mean") or key == "head.bias":
        drawn = 0.05 * noise
    elif key.endswith("running_var"):
        drawn = np.exp(0.1 * noise)
    elif key.endswith("bias"):
        drawn = 0.2 * noise
    elif ends_block(key, backbone):
        drawn = 0.6 + 0.06 * noise
    else:
        drawn = 1.0 + 0.1 * noise
    return drawn.astype(np.float32)


def ends_block(key: str, backbone: str) -> bool:
    last = "bn2" if backbone == "resnet18" else "bn3"
    return key.startswith("backbone.layer") and key.endswith(f"{last}.weight")


def momentum_value(key: str, query: np.ndarray) -> np.ndarray:
    """The momentum network differs from the query network on purpose."""
    if query.dtype != np.float32:
        return query.copy()
    noise = generator("model_k/" + key).standard_normal(query.shape).astype(np.float32)
    moved = (query + np.float32(0.01) * noise * np.float32(query.std() + 1e-3)).astype(np.float32)
    return np.maximum(moved, np.float32(0.05)) if key.endswith("running_var") else moved


def values(backbone: str, queue: int = 256) -> dict[str, np.ndarray]:
    """All entries of the file's `model`."""
    with torch.device("meta"):
        state = MaskContrastNetwork(Architecture(backbone=backbone)).state_dict()
    columns = generator("queue").standard_normal((32, queue))
    columns /= np.sqrt((columns * columns).sum(0, keepdims=True))
    query = {key: value(key, tuple(tensor.shape), backbone) for key, tensor in state.items()}
    return (
        {"module.queue": columns.astype(np.float32), "module.queue_ptr": np.array([0], np.int64)}
        | {QUERY + key: array for key, array in query.items()}
        | {KEY + key: momentum_value(key, array) for key, array in query.items()}
    )


def value_hash(entries: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(entries):
        digest.update(key.encode() + np.ascontiguousarray(entries[key]).tobytes())
    return digest.hexdigest()[:16]


def network_of(path: Path) -> FeatureNetwork:
    """A file's network, as it is built for inference."""
    weights = read_checkpoint(path)
    return fold_batch_norm(build(recognise(weights.state, path), weights)).to(memory_format=torch.channels_last)


def write_checkpoint(path: Path, backbone: str) -> Path:
    model = {key: torch.from_numpy(np.array(array)) for key, array in values(backbone).items()}
    torch.save({"model": model, "optimizer": {"state": {}, "param_groups": [{"lr": 0.004}]}, "epoch": 40}, path)
    return path


def small_state(moved: float = 0.0) -> dict[str, torch.Tensor]:
    """Of the random network; with its heads `moved` by so much noise."""
    card = catalogue.model("random-shapes")
    state = draw_random(card.architecture, card.weights).state
    draw = torch.Generator().manual_seed(1)
    heads = {key: state[key] for key in ("head.weight", "classification_head.weight")}
    return state | {
        key: value + moved * value.std() * torch.randn(value.shape, generator=draw) for key, value in heads.items()
    }


def write_small_checkpoint(path: Path, moved: float = 0.0) -> Path:
    state = small_state(moved)
    model = {QUERY + k: v for k, v in state.items()} | {KEY + k: v for k, v in state.items()}
    model |= {"module.queue": torch.zeros(32, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    torch.save({"model": model, "optimizer": {}, "epoch": 1}, path)
    return path


def write_linear_checkpoint(path: Path, classes: int = 21, seed: int = 4) -> Path:
    """A linear-finetuned file: the linear model's own keys, `decoder.4` the classifier, no prefix."""
    state = {key: value for key, value in small_state().items() if not key.startswith(("head", "classification"))}
    drawn = np.random.default_rng(seed).standard_normal((classes, 64, 1, 1)).astype(np.float32)
    state |= {"decoder.4.weight": torch.from_numpy(drawn), "decoder.4.bias": torch.zeros(classes)}
    torch.save(state, path)
    return path


def resnet_state(width: int = 4, depths: tuple[int, int, int, int] = (2, 2, 2, 2)) -> dict[str, torch.Tensor]:
    """The names and shapes of a narrow ResNet with basic blocks, as torchvision has them; values from a seed."""
    draw = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def layer(convolution: str, norm: str, outputs: int, inputs: int, size: int) -> None:
        state[f"{convolution}.weight"] = torch.randn(outputs, inputs, size, size, generator=draw) / size
        state[f"{norm}.weight"], state[f"{norm}.bias"] = torch.ones(outputs), torch.zeros(outputs)
        state[f"{norm}.running_mean"], state[f"{norm}.running_var"] = torch.zeros(outputs), torch.ones(outputs)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1000)

    layer("conv1", "bn1", width, 3, 7)
    last = width
    for stage, depth in enumerate(depths):
        planes = width << stage
        for number in range(depth):
            block = f"layer{stage + 1}.{number}"
            layer(f"{block}.conv1", f"{block}.bn1", planes, last, 3)
            layer(f"{block}.conv2", f"{block}.bn2", planes, planes, 3)
            if last != planes:
                layer(f"{block}.downsample.0", f"{block}.downsample.1", planes, last, 1)
            last = planes
    return state
