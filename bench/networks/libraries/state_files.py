"""State files: tensors of a file for a network of another library. Nothing in a file is ever executed.

A library's own file is read whole, for the library's own function to convert. Of a file that a user gives, the dict and
the prefix are taken whose names and shapes are the network's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.base.errors import BadInput
from bench.base.files import printable_name
from bench.networks.checkpoint_files import as_tensor, open_checkpoint, require_bounded, unusual_tensor
from bench.networks.checkpoint_names import dicts_of_tensors, reading_order
from bench.networks.other_networks import looks_like

State = dict[str, Tensor]
Convert = Callable[[State, nn.Module], Mapping[str, Tensor]]
"""A library's own function that gives the tensors of a file the names and shapes of its network."""
_MOST_TENSORS = 20_000
_SHOWN = 3
_KINDS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.bool)
"""Whole numbers are counters and indices of positions."""


def read_state(path: Path) -> State:
    """All tensors of a library's own file: the dict with the most of them, floating ones as float32."""
    found = [tensors for _, tensors in _dicts(path)]
    return _tensors(max(found, key=len), path)


def read_states(paths: Sequence[Path]) -> State:
    """As `read_state`, of a checkpoint that may be split over several files. Raises BadInput for a tensor in two."""
    state: State = {}
    for path in paths:
        part = read_state(path)
        if twice := sorted(state.keys() & part.keys()):
            raise BadInput(f"'{twice[0]}' is in {printable_name(path)} and in another part", "Fetch the files again.")
        state |= part
    return state


def load_state(module: nn.Module, path: Path, convert: Convert | None = None, may_lack: tuple[str, ...] = ()) -> str:
    """Load a file that a user gives into a network; returns what was left out, in words.

    `may_lack` are prefixes of tensors that are not read of the network. Raises BadInput for other tensors of the
    network that the file lacks, or has in another shape.
    """
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    where, prefix, tensors = _best(path, wanted)
    state: Mapping[str, Any] = {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
    state = _tensors(state, path)
    if convert is not None and state.keys() != wanted.keys():
        state = convert(dict(state), module)
    missing = sorted(wanted.keys() - state.keys())
    missing = [key for key in missing if not key.endswith("num_batches_tracked") and not key.startswith(may_lack)]
    if missing:
        raise _no_fit(path, module, f"it lacks {shortened(missing)}", tensors)
    other = [key for key in wanted if key in state and tuple(state[key].shape) != wanted[key]]
    if may_lack:  # a classifier of other classes
        state = {key: value for key, value in state.items() if key not in other or not key.startswith(may_lack)}
        other = [key for key in other if key in state]
    if other:
        key = other[0]
        said = f"'{key}' is {tuple(state[key].shape)}, and {wanted[key]} in the network"
        raise _no_fit(path, module, said, tensors)
    module.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    left = sorted({*state} - {*wanted})
    name = ".".join((*where, prefix)) + ("" if prefix else "*")
    read = f"read `{name}`" if where or prefix else ""
    return "; ".join(filter(None, (read, f"left out {shortened(left)}" if left else "")))


def _best(path: Path, wanted: Mapping[str, tuple[int, ...]]) -> tuple[tuple[str, ...], str, dict[str, Any]]:
    """Where the dict is, the prefix, and the dict, of most of the network's tensors; a teacher's before others."""
    ranked = []
    for where, tensors in _dicts(path):
        for prefix in _prefixes(tensors):
            shared = sum(key.startswith(prefix) and key.removeprefix(prefix) in wanted for key in tensors)
            ranked.append((-shared, reading_order(where), len(prefix), where, prefix, tensors))
    best = min(ranked, key=lambda one: one[:3])
    return best[3:]


def _prefixes(tensors: Mapping[str, Any]) -> list[str]:
    """All that names begin with, up to a dot, five parts at most; and nothing."""
    found = {""}
    for key in tensors:
        parts = key.split(".")[:6]
        found |= {".".join(parts[:n]) + "." for n in range(1, len(parts))}
    return sorted(found)


def _dicts(path: Path) -> Sequence[tuple[tuple[str, ...], dict[str, Any]]]:
    content = open_checkpoint(path)
    found = list(dicts_of_tensors(content, set())) if isinstance(content, dict) else []
    if not found:
        raise BadInput(
            f"{path} holds no dict of tensors", "Save the network's tensors: torch.save(model.state_dict(), …)."
        )
    if any(len(tensors) > _MOST_TENSORS for _, tensors in found):
        raise BadInput(
            f"{path} holds a dict of more than {_MOST_TENSORS:,} tensors", "Save the network's tensors alone."
        )
    return found


def _tensors(state: Mapping[str, Any], path: Path) -> State:
    read = {key: _tensor(key, value, path) for key, value in state.items()}
    require_bounded((tensor.shape for tensor in read.values()), path)
    for key, tensor in read.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BadInput(f"{path}: NaN or infinity in '{key}'", "The training diverged or the file is damaged.")
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in read.items()}


def _tensor(key: str, value: Any, path: Path) -> Tensor:
    tensor: Tensor = as_tensor(value, key, path)
    if tensor.dtype not in _KINDS:
        raise unusual_tensor(path, key, str(tensor.dtype).removeprefix("torch."))
    return tensor


def _no_fit(path: Path, module: nn.Module, said: str, tensors: Mapping[str, Any]) -> BadInput:
    like = looks_like({key: tuple(getattr(value, "shape", ())) for key, value in tensors.items()})
    seems = f"; it looks like {like}" if like else ""
    return BadInput(
        f"{printable_name(path)} does not fit {type(module).__name__}: {said}{seems}",
        "Name the network that the file is of with --model, or another file with --weights.",
    )


def shortened(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
