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
from bench.networks.checkpoint_names import dicts_of_tensors, reading_order, role_of
from bench.networks.other_networks import looks_like

State = dict[str, Tensor]
Convert = Callable[[State, nn.Module], Mapping[str, Tensor]]
"""A library's own function that gives the tensors of a file the names and shapes of its network."""
_MOST_TENSORS = 20_000
_SHOWN = 3
_INDICES = ("relative_position_index", "attn_mask", "relative_coords_table", "num_batches_tracked", "position_ids")
"""What follows from the architecture, and stands in some files all the same."""
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
    where, prefix, tensors, others = _best(path, wanted)
    state: Mapping[str, Any] = {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
    state = _tensors(state, path)
    if convert is not None and wanted.keys() - state.keys():
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
    left = sorted({*state} - {*wanted})
    rooms = {key.partition(".")[0] for key in wanted if "." in key}
    deep = [
        key
        for key in left
        if key.partition(".")[0] in rooms and not key.endswith(_INDICES) and not key.startswith(may_lack)
    ]
    if deep:  # a head may be left out, but no part of a block
        raise _no_fit(path, module, f"it has {shortened(deep)}, which the network lacks", tensors)
    module.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    name = ".".join((*where, prefix)) + "*"
    read = f"read `{name}`" if where or prefix else ""
    beside = sorted({f"{key.partition('.')[0]}.*" for key in tensors if not key.startswith(prefix)})
    left_out = shortened([*left, *beside, *others])
    return "; ".join(filter(None, (read, f"left out {left_out}" if left_out else "")))


Best = tuple[tuple[str, ...], str, dict[str, Any], list[str]]
"""Where a dict is, the prefix of the network's tensors in it, the dict, and the names of the file's other dicts."""


def _best(path: Path, wanted: Mapping[str, tuple[int, ...]]) -> Best:
    """What has most of the network's tensors: a teacher before its student, a network before its slow copy.

    Raises BadInput where two have as many of them, and neither goes before the other.
    """
    found = _dicts(path)
    ranked = []
    for where, tensors in found:
        for prefix in _prefixes(tensors):
            shared = sum(key.startswith(prefix) and key.removeprefix(prefix) in wanted for key in tensors)
            ranked.append((-shared, reading_order(where), role_of(prefix), where, prefix, tensors))
    ranked.sort(key=lambda one: (*one[:3], len(one[4])))
    best = ranked[0]
    if len(ranked) > 1 and best[0] and ranked[1][:3] == best[:3]:
        names = [f"`{'.'.join((*one[3], one[4]))}*`" for one in ranked[:2]]
        raise BadInput(
            f"{printable_name(path)} holds the network twice: {' and '.join(names)}",
            "Save the one that is meant: torch.save(content[KEY], …).",
        )
    others = [f"{'.'.join(where)}.*" for where, tensors in found if tensors is not best[5] and where]
    return (*best[3:6], others)


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
