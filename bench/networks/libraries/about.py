"""About: what can be said of a network of a library before it is evaluated; built without its weights where it can be.

On torch's meta device a network has shapes and no numbers: one of 300 million parameters takes no memory there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.base.errors import BenchError, WrongName
from bench.networks.libraries.found import explained, short
from bench.networks.libraries.library import Library
from bench.networks.libraries.offline import no_network
from bench.networks.libraries.request import Request
from bench.networks.reading.layers import parse
from bench.networks.reading.reader import Structure
from bench.protocols import registry

if TYPE_CHECKING:
    from torch import nn

_SIDE = 224
"""Pixels, at least, of the input that shows what a network gives."""


@dataclass(frozen=True)
class About:
    """A network, described."""

    kind: str
    """Its class."""
    structure: Structure
    parameters: int
    input: tuple[int, int]
    """Height and width that it was tried with, pixels."""
    features: tuple[int, int, int] | None
    """D×h×w of what is read of it; None where there is no map."""
    why_none: str
    files: tuple[Path, ...]
    """The files of the weights on this machine."""
    weights: str
    """In words, where they are not here: the command that fetches them, or which there are."""
    protocols: tuple[str, ...]
    """That can measure it."""


def about(library: Library, request: Request) -> About:
    """Describe a network. Raises BenchError for a name or options that the library does not take."""
    from bench.networks.reading.reader import reader_of

    library.require()
    weights = _require_name(library, request)
    library.require_there(request)
    with no_network(request), explained(request):
        module = library.outline(request).eval().requires_grad_(False)
    structure = reader_of(module).structure
    if not weights:
        mean, std = library.normalisation(request)
        structure = replace(structure, mean=mean or structure.mean, std=std or structure.std)
    side = structure.size or (_multiple(structure.patch),) * 2
    features, why = _features(module, request.features or "last", side)
    files: tuple[Path, ...] = ()
    if not weights and request.seed is None:
        try:
            files = tuple(library.files(request))
        except BenchError as error:
            weights = f"{error.problem}. {error.remedy}"
    return About(
        kind=f"{type(module).__module__}.{type(module).__qualname__}",
        structure=structure,
        parameters=sum(one.numel() for one in module.parameters()),
        input=side,
        features=features,
        why_none=why,
        files=files,
        weights=weights,
        protocols=registry.that_measure(embeddings=False) if features else (),
    )


def _require_name(library: Library, request: Request) -> str:
    """Raises WrongName for a name that the library lacks; a name that only lacks its weights is said in words."""
    try:
        library.check(request)
    except WrongName as error:
        if request.seed is not None or request.revision is not None:
            raise
        library.check(replace(request, seed=0))
        return error.remedy
    return ""


def _multiple(patch: int | None) -> int:
    return math.ceil(_SIDE / patch) * patch if patch else _SIDE


def _features(module: nn.Module, layer: str, side: tuple[int, int]) -> tuple[tuple[int, int, int] | None, str]:
    """D×h×w of one image's features, or why there are none."""
    import torch

    from bench.networks.reading.reader import reader_of

    place = next((one.device for one in module.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode():
            output = reader_of(module).read(parse(layer))(torch.zeros(1, 3, *side, device=place))
    except BenchError as error:
        return None, error.problem
    except Exception as error:  # noqa: BLE001  # of any library
        return None, short(error)
    if output.ndim != 4:
        return None, f"its output is {output.ndim}-dimensional"
    return (output.shape[1], output.shape[2], output.shape[3]), ""
