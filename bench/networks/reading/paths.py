"""Paths: the output of a submodule, or of a method, that a dotted path names."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName
from bench.networks.reading.hooks import output_of
from bench.networks.reading.maps import words

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.networks.reading.reader import Read


def read_path(module: nn.Module, path: str) -> Read:
    """What gives the output of the submodule or method `path` of a module.

    A submodule is read while the whole module runs, a method is called with the images. Neither what torch gives every
    module, such as `cpu`, nor a method whose name begins with an underscore is called. Raises WrongName for a path that
    leads nowhere.
    """
    from torch import nn

    found = _follow(module, path)
    if isinstance(found, nn.Module):
        return lambda images: only_map(output_of(found, lambda: module(images)), path)
    if callable(found):
        return lambda images: only_map(found(images), path)
    names = [name for name, _ in module.named_modules() if name]
    near = difflib.get_close_matches(path, names, n=3, cutoff=0.4)
    raise WrongName(
        f"{type(module).__name__} has no layer '{path}'",
        (f"Did you mean {' or '.join(near)}? " if near else "")
        + "Name a layer (last, block9, stage3), or a submodule as its named_modules() has it, or a method.",
    )


def _follow(module: nn.Module, path: str) -> Any:
    """What the path leads to; None where it leads nowhere, or to what must not be called."""
    from torch import nn

    found: Any = module
    for name in path.split("."):
        if not isinstance(found, nn.Module):
            return None
        own = dict(found.named_children())
        hidden = name.startswith("_") or hasattr(nn.Module, name)
        found = own.get(name) if name in own or hidden else getattr(found, name, None)
    return found


def only_map(output: Any, what: str) -> Tensor:
    """`output`, if it is one tensor B×D×h×w. Raises BadInput for anything else, and says what it is."""
    from torch import Tensor

    if isinstance(output, Tensor) and output.ndim == 4:
        return output
    raise BadInput(f"'{what}' gives {words(output)}, not one map B×D×h×w", "Name another layer with features=….")
