"""Module hash: what tells the state of a module in memory from any other."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bench.base.errors import BadInput


def hash_module(module: nn.Module) -> str:
    """SHA-256 of a module's state: its tensors, and whatever else its `state_dict` has.

    Raises BadInput for a module whose tensors have no values yet.
    """
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        for part in _parts(value, f"'{key}' of {type(module).__name__}"):
            digest.update(key.encode() + part)
    return digest.hexdigest()


def _parts(value: Any, what: str) -> Iterator[bytes]:
    """The bytes of a tensor; of what holds tensors, as the packed weights of quantised layers do, those of each."""
    if isinstance(value, Tensor):
        yield _values(value, what)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key).encode()
            yield from _parts(one, what)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _parts(one, what)
    else:
        yield _other(value)


def _values(tensor: Tensor, what: str) -> bytes:
    if is_lazy(tensor):
        raise BadInput(f"{what} has no shape yet", "Let the module see an image once, and load its weights.")
    if tensor.is_meta:
        raise BadInput(f"{what} is on torch's meta device, and has no values", "Load its weights.")
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def _other(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001  # of anybody's class
        return type(value).__qualname__.encode()
