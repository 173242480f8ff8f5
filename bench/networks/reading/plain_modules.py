"""Plain modules: what `forward` returns, or what a name says.

`last` is the one map that `forward` returns, whatever other attributes the module has. Of a pixel embedding with a
saliency logit it is the embedding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName
from bench.networks.reading.layers import Layer
from bench.networks.reading.maps import words
from bench.networks.reading.paths import read_path
from bench.networks.reading.reader import Read, Reader, Structure

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHOWN = 8
"""Outputs that a message lists."""


class PlainReader(Reader):
    """Reads any module."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Every module has a `forward`."""
        return True

    @property
    def structure(self) -> Structure:
        """Nothing is known of it."""
        return Structure("a module", layers=("last (what forward returns)", "output1, output2, …", "a dotted path"))

    def reading(self, layer: Layer) -> Read:
        """What gives what `forward` returns, one of several things of it, or what a path names."""
        if layer.name == "last":
            return lambda images: _last(self.module(images), type(self.module).__name__)
        if layer.kind == "output":
            return lambda images: _numbered(self.module(images), layer)
        if layer.name.startswith("output.") and "output" not in self.module._modules:
            return lambda images: _keyed(self.module(images), layer.name.partition(".")[2], layer)
        return read_path(self.module, layer.name)


def outputs(output: Any) -> dict[str, Any]:
    """What `forward` returned, by the names under which each thing can be asked for; one thing alone as `output1`."""
    if dataclasses.is_dataclass(output) and not isinstance(output, (type, Mapping)):
        output = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, Mapping):
        return {f"output.{key}": value for key, value in output.items() if value is not None}
    every = output if isinstance(output, (list, tuple)) else [output]
    return {f"output{place}": value for place, value in enumerate(every, 1)}


def _last(output: Any, name: str) -> Tensor:
    from torch import Tensor

    if isinstance(output, Tensor):
        return _map(output, name)
    found = outputs(output)
    values = list(found.values())
    if len(values) == 1:
        return _map(values[0], name)
    if len(values) == 2 and isinstance(output, (list, tuple)) and _is_saliency(*values):
        return values[0]
    if not values:
        raise BadInput(f"{name} returns {words(output)}, and no map", "Return one tensor, B×D×h×w.")
    listed = ", ".join(f"{key}: {words(value)}" for key, value in list(found.items())[:_SHOWN])
    deepest = list(found)[-1]
    raise BadInput(
        f"{name} returns {len(values)} things ({listed})", f"Say which one counts, for example features='{deepest}'."
    )


def _is_saliency(embedding: Any, logit: Any) -> bool:
    """Whether two outputs are a pixel embedding B×D×h×w and a saliency logit, B×h×w or B×1×h×w of any resolution."""
    from torch import Tensor

    if not (isinstance(embedding, Tensor) and isinstance(logit, Tensor) and embedding.ndim == 4):
        return False
    alone = logit.ndim == 3 or (logit.ndim == 4 and logit.shape[1] == 1)
    return alone and len(logit) == len(embedding)


def _map(output: Any, name: str) -> Tensor:
    from torch import Tensor

    if isinstance(output, Tensor) and output.ndim == 4:
        return output
    remedies = {
        3: "These look like tokens: return them as B×D×h×w without class and register tokens, or name a layer of the "
        "module with features='PATH.OF.A.SUBMODULE'.",
        2: "This looks like a vector for each image, as a classifier gives it: name a layer of the module that keeps "
        "its places, with features='PATH.OF.A.SUBMODULE'.",
    }
    raise BadInput(
        f"{name} returns {words(output)}, and no map B×D×h×w",
        remedies.get(getattr(output, "ndim", 0), "Return one tensor, B×D×h×w."),
    )


def _numbered(output: Any, layer: Layer) -> Tensor:
    values = list(outputs(output).values())
    if (layer.number or 1) > len(values):
        raise WrongName(
            f"there is no '{layer.name}': forward returns {len(values)} things", f"Take output1 to output{len(values)}."
        )
    return _map(values[(layer.number or 1) - 1], layer.name)


def _keyed(output: Any, key: str, layer: Layer) -> Tensor:
    found = outputs(output)
    if f"output.{key}" not in found:
        raise WrongName(f"there is no '{layer.name}' among what forward returns", f"It returns {', '.join(found)}.")
    return _map(found[f"output.{key}"], layer.name)
