"""Layers: the names of what can be read of a network, as the preset's entry `features` has them.

| name | what is read |
| --- | --- |
| `last` | the last block's patch tokens after the final norm; the last stage of a CNN |
| `last4` | the last 4 blocks, each after the final norm, concatenated |
| `block9` | the output of block 9 of 1 to the depth, as it is; `block9+norm` after the final norm |
| `key`, `query`, `value` | of the last attention; `key9` of block 9's |
| `stage3` | the output of stage 3 of a CNN or a hierarchical transformer |
| `output2` | the second of several things that `forward` returns |
| `embedding`, `decoder`, `backbone` | parts of a network of this program's own architecture |
| anything else | the output of the submodule, or of the method, that the dotted path names |

Class and register tokens are never among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.networks.reading.reader import Structure

Kind = Literal["last", "block", "key", "query", "value", "stage", "output", "part", "path"]
PARTS = ("embedding", "decoder", "backbone")
_NUMBERED = re.compile(r"(last|block|key|query|value|stage|output)([1-9]\d{0,3})?(\+norm)?")


@dataclass(frozen=True)
class Layer:
    """A name, understood."""

    name: str
    """As it was given."""
    kind: Kind
    number: int | None = None
    """Counted from 1: of the block or stage; how many for `last`. None where the name has none."""
    norm: bool = False
    """Whether the final norm follows: `block9+norm`. Of `last` it always does."""


def parse(name: str) -> Layer:
    """What a name means. Every text means something: what is no other name is a path."""
    match = _NUMBERED.fullmatch(name)
    if match and (match[2] or match[1] not in ("block", "stage", "output")) and (not match[3] or match[1] == "block"):
        return Layer(name, match[1], int(match[2]) if match[2] else None, bool(match[3]))  # type: ignore[arg-type]
    return Layer(name, "part" if name in PARTS else "path")


def described(layer: Layer, structure: Structure | None) -> str:
    """What a layer's features are, in words, for the record."""
    tokens = structure is not None and structure.depth is not None
    of = "patch tokens" if tokens else "the feature map"
    if layer.kind == "last":
        if layer.number and tokens:
            return f"{of} of the last {layer.number} blocks, each after the final norm, concatenated"
        if tokens:
            return f"{of} of the last block, after the final norm"
        return "the last stage's feature map" if structure and structure.stages else "what `forward` returns"
    if layer.kind == "block":
        return f"{of} of block {layer.number}" + (", after the final norm" if layer.norm else "")
    if layer.kind in ("key", "query", "value"):
        plural = {"key": "keys", "query": "queries", "value": "values"}[layer.kind]
        return f"the {plural} of the attention of {f'block {layer.number}' if layer.number else 'the last block'}"
    if layer.kind == "stage":
        return f"the feature map of stage {layer.number}"
    if layer.kind == "output":
        return f"output {layer.number} of `forward`"
    return f"the {layer.name}'s output" if layer.kind == "part" else f"the output of `{layer.name}`"
