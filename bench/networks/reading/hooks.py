"""Hooks: what passes through one part of a module while the whole runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName

if TYPE_CHECKING:
    from torch import Tensor, nn

Run = Callable[[], Any]
"""Runs the whole module."""
_SEPARATE = {
    "query": ("query", "q_proj", "q", "to_q"),
    "key": ("key", "k_proj", "k", "to_k"),
    "value": ("value", "v_proj", "v", "to_v"),
}
"""Names of the linear layers of an attention: BERT's and its heirs', CLIP's, timm's, diffusers'."""
_FUSED = ("qkv", "in_proj", "Wqkv")


def output_of(part: nn.Module, run: Run) -> Any:
    """What `part` returns while `run` runs. Raises BadInput where it is not called."""
    return _passing(part, run, lambda inputs, output: output)


def input_of(part: nn.Module, run: Run) -> Any:
    """The first thing that `part` is called with while `run` runs. Raises BadInput where it is not called."""
    return _passing(part, run, lambda inputs, output: inputs[0])


def _passing(part: nn.Module, run: Run, take: Callable[[Any, Any], Any]) -> Any:
    found: list[Any] = []
    thread = threading.get_ident()

    def keep(_: nn.Module, inputs: Any, output: Any) -> None:
        if threading.get_ident() == thread:  # another thread may run the same module
            found.append(take(inputs, output))

    handle = part.register_forward_hook(keep)
    try:
        run()
    finally:
        handle.remove()
    if not found:
        raise BadInput(
            f"a {type(part).__name__} of the network is not called when it runs, so its output cannot be read",
            "Name another layer with features=….",
        )
    return found[-1]


def attention_part(block: nn.Module, kind: str) -> Callable[[Run], Tensor]:
    """How the `kind` (key, query or value) of a block's attention is read: B×N×D, all heads side by side.

    These are the outputs of the linear layers, with their biases, before any norm of single heads and before rotary
    embeddings. Raises WrongName for a block without such layers.
    """
    from torch import nn

    linear = {name: part for name, part in block.named_modules() if isinstance(part, nn.Linear)}
    for name, part in linear.items():
        owner, _, own = name.rpartition(".")
        if own in _FUSED:
            return _of_fused(part, block.get_submodule(owner), kind)
    separate = [part for name, part in linear.items() if name.rpartition(".")[2] in _SEPARATE[kind]]
    if len(separate) == 1:
        return lambda run: output_of(separate[0], run)
    raise WrongName(
        f"the attention of a {type(block).__name__} has no {kind} that can be read",
        "It has no linear layer qkv, and none of its own for queries, keys and values. Name a block instead: block1.",
    )


def _of_fused(linear: nn.Linear, attention: nn.Module, kind: str) -> Callable[[Run], Tensor]:
    """The third of a linear layer that gives queries, keys and values in this order."""
    place = ("query", "key", "value").index(kind)
    if getattr(attention, "q_bias", None) is None:
        return lambda run: output_of(linear, run).chunk(3, -1)[place]

    def biased(run: Run) -> Tensor:
        # BEiT and EVA of timm keep the biases apart, and use the weight without calling the layer
        import torch

        biases = torch.cat([getattr(attention, name) for name in ("q_bias", "k_bias", "v_bias")])
        return torch.nn.functional.linear(input_of(attention, run), linear.weight, biases).chunk(3, -1)[place]

    return biased
