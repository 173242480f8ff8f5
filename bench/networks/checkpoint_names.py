"""The names in a checkpoint: which of its dicts is the network, and which of its tensors.

Training scripts put a network into a dict (`state_dict`), wrap it (`module.`), train it beside a momentum copy, and put
heads on it. None of that is listed by method: a ResNet is found by the names that torchvision gave it, wherever it
lies, and what lies around it is left out and said. See docs/models.md#tensors, which names the sources.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.base.errors import BadInput
from bench.networks.inert_pickle import NumpyArray, StoredTensor, UnusualTensor

AnyTensor = Tensor | StoredTensor | UnusualTensor
"""In memory, or still in the file."""
Tensors = dict[str, AnyTensor]
Where = tuple[str, ...]
"""The keys that lead to a dict."""

DICTS = (
    *("model", "state_dict", "model_state_dict", "net", "network", "module", "params", "weights"),
    *("teacher", "state_dict_ema", "model_ema", "ema", "ema_state_dict", "ema_model", "params_ema", "student"),
    *("backbone", "encoder"),
)
"""Names of the dict that a network lies in; where a file has several, the first of these is read."""

WRAPPERS = {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of a name that a wrapper has added: DistributedDataParallel, torch.compile, Lightning Fabric, FSDP."""

_STAGE = re.compile(r"(?P<prefix>(?:.*\.)?)layer[1-4]\.0\.conv[12]\.weight")
_NUMBERED = re.compile(r"(?P<prefix>(?:.*\.)?)[4-7]\.0\.conv[12]\.weight")
"""The same in an `nn.Sequential` of a ResNet's children, which numbers them."""
_MOST_ROOTS = 8
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Those with tensors, in the order of `torchvision/models/resnet.py`; 2 is the ReLU, 3 the pooling."""
_ROOM = re.compile(r"(conv1|bn1|layer[1-4])\.")
"""What the names of a torchvision ResNet begin with, but for its classifier."""
_TRUNK = re.compile(r"(conv|bn|gn|norm|layer|stem|attnpool|relu|maxpool)[\w]*(\.|$)")
"""Names beside them that no head has: they belong to another kind of ResNet, and are not left out."""
_OURS = re.compile(r"decoder\.(0\.(convs|project)|1|2|4)\.|classification_head\.")
"""A decoder or a saliency head of ours beside `backbone.`."""
_RESIDUE = re.compile(r"n_averaged|queue\d*(_ptr)?")
"""Counters and queues of training beside a network without a prefix."""

_TEACHER = re.compile(r"(.*_)?teacher(_.*)?")
_STUDENT = re.compile(r"(.*_)?student(_.*)?")
_MOMENTUM = re.compile(r"(.*_)?(k|key|momentum|target|ema|shadow)(_.*)?")
"""Parts of a prefix that name a slow copy of the network: `encoder_k`, `momentum_encoder`, `target_network`."""
_SAVE = "Save `model.state_dict()`."
_LONGEST = 100
"""Characters of a part of a name that are looked at."""
_SHOWN = 5
_KIND_NAMES = {"StoredTensor": "tensor", "UnusualTensor": "tensor", "Inert": "value", "NoneType": "None"}


@dataclass(frozen=True)
class Chosen:
    """The network of a file."""

    state: Tensors
    """Under our own names: `backbone.*` and, where they are, `decoder.*` and the heads."""
    note: str
    """What was read and what was left out, in a line; empty where nothing was."""
    routine: bool = True
    """Whether that is only what every file of contrastive training has: a slow copy of the network, and its queue."""


def choose_network(content: Any, path: Path) -> Chosen:
    """The network in what a file holds. Raises BadInput where there is none, or several that could be meant.

    A teacher goes before its student, and a trained network before its momentum copy.
    """
    where, tensors, others = _choose_dict(content, path)
    state = _with_names(_without_wrappers(tensors))
    roots = Counter(match["prefix"] for key in state if (match := _STAGE.fullmatch(key)))
    prefix = _choose_root({root for root, count in roots.items() if count > 1}, state, path)
    root, kept, left = _split(state, prefix)
    left_out = [*_groups(left, root), *(f"{_dotted(other)} ({_count(len(tensors))})" for other, tensors in others)]
    said = where if others or _is_average(where) else ()
    taken = f"read `{'.'.join((*said, root + '*'))[:_LONGEST]}`" if said or root else ""
    if _is_average(where):
        taken += ", an average of weights"
    if not left_out and not _is_average(where):
        return Chosen(kept, "")
    note = "; ".join(filter(None, (taken, f"left out {_shortened(left_out)}" if left_out else "")))
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in note)
    routine = not others and not _is_average(where) and all(_is_routine(key, root) for key in left)
    return Chosen(kept, shown, routine)


def _is_routine(key: str, root: str) -> bool:
    parts = key.removeprefix(root).split(".")
    return any(_RESIDUE.fullmatch(part) or _MOMENTUM.fullmatch(part[:_LONGEST]) for part in parts)


# --- which dict ---


def _choose_dict(content: Any, path: Path) -> tuple[Where, Tensors, list[tuple[Where, Tensors]]]:
    """Where in the content the network's dict is, its tensors, and the dicts of tensors that it was chosen over."""
    if not isinstance(content, dict):
        kind = _KIND_NAMES.get(type(content).__name__, type(content).__name__)
        raise BadInput(f"{path} holds a {kind}, not a dict of tensors", _SAVE)
    found = list(dicts_of_tensors(content, set()))
    networks = [entry for entry in found if _has_weights(entry[1])] or found
    if not networks:
        raise _no_tensors(content, path)
    stages = (_STAGE, _NUMBERED)
    wanted = [entry for entry in networks if any(stage.fullmatch(key) for stage in stages for key in entry[1])]
    wanted = sorted(wanted or networks, key=lambda entry: reading_order(entry[0]))
    if len(wanted) > 1 and reading_order(wanted[0][0]) == reading_order(wanted[1][0]):
        names = ", ".join(_dotted(where) for where, _ in wanted[:8])
        raise BadInput(
            f"{path} holds several dicts of tensors: {names}",
            "Save the one that is meant: torch.save(content[KEY], …).",
        )
    return *wanted[0], [entry for entry in networks if entry is not wanted[0]]


def _no_tensors(content: dict[Any, Any], path: Path) -> BadInput:
    """The error for a dict in which no network lies, with what is there instead."""
    keys = ", ".join(f"'{str(key)[:40]}'" for key in list(content)[:8]) or "no keys"
    inner = [content, *(value for value in content.values() if isinstance(value, dict))]
    if any(isinstance(value, NumpyArray) for entries in inner for value in entries.values()):
        remedy = "Save tensors: torch.save({key: torch.from_numpy(array) for key, array in …}, …)."
        return BadInput(f"{path} holds numpy arrays, and no tensors (it has {keys})", remedy)
    if any(entries.keys() >= {"state", "param_groups"} for entries in inner):
        return BadInput(f"{path} holds the state of an optimiser, and no network (it has {keys})", _SAVE)
    return BadInput(f"{path} holds no tensors (it has {keys})", _SAVE)


def dicts_of_tensors(content: dict[Any, Any], seen: set[int], depth: int = 5) -> Iterator[tuple[Where, Tensors]]:
    """All dicts with tensors in them, and the keys that lead to each, each dict once; none of an optimiser's.

    `seen` has those that were there before: a file may have one dict in a million places.
    """
    if id(content) in seen:
        return
    seen.add(id(content))
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, AnyTensor)}
    if tensors:
        yield (), tensors
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, dict) and depth and "optim" not in key:
            yield from (((key, *where), inner) for where, inner in dicts_of_tensors(value, seen, depth - 1))


def _has_weights(tensors: Tensors) -> bool:
    return any(key.endswith("weight") and len(getattr(value, "shape", (1, 1))) > 1 for key, value in tensors.items())


def reading_order(where: Where) -> tuple[list[int], int]:
    """What is read first: by the names that are known, then by what others say (`online_network`, `target_network`)."""
    return [DICTS.index(name) if name in DICTS else len(DICTS) for name in where], role_of(".".join(where))


def _is_average(where: Where) -> bool:
    return any(re.fullmatch(r"(.*_)?ema(_.*)?", name[:_LONGEST]) for name in where)


# --- which tensors ---


def _without_wrappers(tensors: Tensors) -> Tensors:
    """The tensors without the parts of their names that wrappers have added, in any place and order."""
    plain = {".".join(part for part in key.split(".") if part not in WRAPPERS): key for key in tensors}
    if len(plain) < len(tensors):  # two of them differ in nothing else
        return tensors
    return {short: tensors[key] for short, key in plain.items()}


def _with_names(tensors: Tensors) -> Tensors:
    """The tensors with torchvision's names in place of the numbers that an `nn.Sequential` of a ResNet's parts has."""
    if any(_STAGE.fullmatch(key) for key in tensors):
        return tensors
    roots = {match["prefix"] for key in tensors if (match := _NUMBERED.fullmatch(key))}
    for root in roots if len(roots) <= _MOST_ROOTS else ():
        if f"{root}0.weight" in tensors and f"{root}1.running_var" in tensors:
            names = {f"{root}{number}.": f"{root}{name}." for number, name in _CHILDREN.items()}
            tensors = {_renamed(key, root, names): tensor for key, tensor in tensors.items()}
    return tensors


def _renamed(key: str, root: str, names: dict[str, str]) -> str:
    """A key with another name of its part below the root."""
    part = key[: key.find(".", len(root)) + 1] if key.startswith(root) else ""
    return names.get(part, part) + key.removeprefix(part)


def _choose_root(prefixes: set[str], state: Tensors, path: Path) -> str | None:
    """The prefix of the ResNet to read, out of those of all ResNets in a file; None where there is none."""
    ranked = sorted((role_of(prefix), not prefix.endswith("backbone."), prefix) for prefix in prefixes)
    if not ranked:
        return None
    role, _, best = ranked[0]
    if role == _SLOW:
        raise BadInput(
            f"{path} holds only the momentum network ('{best}*')", "Give a whole file, with the query network in it."
        )
    equal = [prefix for *rank, prefix in ranked if rank == list(ranked[0][:2])]
    if any(not _are_one(best, other, state) for other in equal[1:]):
        names = ", ".join(f"'{prefix[:_LONGEST]}*'" for prefix in equal[:8])
        raise BadInput(f"{path} holds several ResNets: {names}", "Save the one that is meant, by its own state_dict().")
    return best


def _are_one(first: str, second: str, state: Tensors) -> bool:
    """Whether two prefixes are names of one module, whose tensors are then the same ones."""
    one = {key.removeprefix(first): tensor for key, tensor in state.items() if key.startswith(first)}
    other = {key.removeprefix(second): tensor for key, tensor in state.items() if key.startswith(second)}
    shared = [(one[key], other[key]) for key in one.keys() & other.keys() if _ROOM.match(key)]
    return all(_is_same(*pair) for pair in shared)


def _is_same(one: AnyTensor, other: AnyTensor) -> bool:
    if isinstance(one, StoredTensor) and isinstance(other, StoredTensor):
        return (one.storage.key, one.offset, one.shape) == (other.storage.key, other.offset, other.shape)
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)


_SLOW = 3


def role_of(prefix: str) -> int:
    """0 a teacher, 1 a network, 2 a student, 3 a momentum copy."""
    parts = prefix.split(".")
    for role, pattern in ((0, _TEACHER), (2, _STUDENT), (_SLOW, _MOMENTUM)):
        if any(pattern.fullmatch(part[:_LONGEST]) for part in parts):
            return role
    return 1


def _split(state: Tensors, prefix: str | None) -> tuple[str, Tensors, Tensors]:
    """The network's prefix, its tensors under our names, and the other tensors under their own.

    A network of ours is taken whole, so that a tensor too many is an error. Beside a bare backbone all heads are left.
    """
    if prefix is None:
        root = _root_of_heads(state)
        inside = {key.removeprefix(root): value for key, value in state.items() if key.startswith(root)}
        return root, inside, {key: value for key, value in state.items() if not key.startswith(root)}
    root = prefix.removesuffix("backbone.")
    ours = root != prefix and any(_OURS.match(key, len(root)) for key in state if key.startswith(root))
    kept, left = {}, {}
    for key, value in state.items():
        rest = key.removeprefix(prefix) if key.startswith(prefix) else ""
        if ours and key.startswith(root) and not _RESIDUE.fullmatch(key):
            kept[key.removeprefix(root)] = value
        elif not ours and (_ROOM.match(rest) or _TRUNK.match(rest)):
            kept[f"backbone.{rest}"] = value
        else:
            left[key] = value
    return root if ours else prefix, kept, left


def _root_of_heads(state: Tensors) -> str:
    """The prefix of a network whose ResNet is missing, so that the error names what it lacks."""
    roots = Counter(key[: match.start()] for key in state if (match := _OURS.search(key)))
    return next((root for root, _ in roots.most_common() if not root or root.endswith(".")), "")


# --- in words ---


def _dotted(where: Where) -> str:
    return f"`{'.'.join(where)[:80]}`" if where else ""


def _count(tensors: int) -> str:
    return "1 tensor" if tensors == 1 else f"{tensors} tensors"


def _groups(left: Iterable[str], prefix: str) -> list[str]:
    """The tensors that were left out, by the first part of their names that is not the network's."""
    trunk, groups = prefix.split("."), Counter[str]()
    for key in left:
        parts = key.split(".")
        shared = next((n for n, (part, own) in enumerate(zip(parts, trunk, strict=False)) if part != own), 0)
        name = ".".join(parts[: shared + 1])
        groups[name if name == key else f"{name[:_LONGEST]}.*"] += 1
    return [
        f"`{name[:_LONGEST]}`" + (f" ({_count(count)})" if name.endswith(".*") else "")
        for name, count in groups.most_common()
    ]


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
