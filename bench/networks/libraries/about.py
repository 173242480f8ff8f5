"""About: what can be said of a network of a library before it is evaluated; built without its weights where it can be.

On torch's meta device a network has shapes and no numbers: one of 300 million parameters takes no memory there.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._version import __version__
from bench.base.environment import torch_version
from bench.base.errors import BenchError, WrongName
from bench.networks import known_weights
from bench.networks.libraries.card_faults import at_key
from bench.networks.libraries.found import LIBRARY_VERSION, explained, short
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
    library.require()
    weights = _require_name(library, request)
    library.require_there(request)
    seen = _kept(library, request)
    files: tuple[Path, ...] = ()
    if not weights and request.seed is None:
        try:
            files = tuple(library.files(request))
        except BenchError as error:
            weights = f"{error.problem}. {error.remedy}"
    return About(
        kind=seen["class"],
        structure=_stated(Structure(**_tuples(seen["structure"])), library, request, named=not weights),
        parameters=seen["parameters"],
        input=seen["input"],
        features=seen["features"],
        why_none=seen["why"],
        files=files,
        weights=weights,
        protocols=registry.that_measure(embeddings=False) if seen["features"] else (),
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


_SEEN = {"class", "structure", "parameters", "input", "features", "why"}


def _kept(library: Library, request: Request) -> dict[str, Any]:
    """What is seen of the network itself. It is kept, so that to show it again loads no library."""
    if not library.definite(request):
        return _look(library, request)
    named: dict[str, Any] = {
        "about": [request.source, request.name, request.revision, dict(request.options)],
        "layer": request.features,
        "versions": [LIBRARY_VERSION, __version__, library.version(), torch_version()],
    }
    with contextlib.suppress(BenchError):  # of weights that are not here
        named |= library.more(request)
    seen = known_weights.find(request.cache, named)
    if seen is None or _SEEN - seen.keys():
        seen = _look(library, request)
        known_weights.keep(request.cache, named, seen)
    return _tuples(seen)


def _tuples(told: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON values as they were: its lists were tuples."""
    return {key: tuple(one) if isinstance(one, list) else one for key, one in told.items()}


def _look(library: Library, request: Request) -> dict[str, Any]:
    """The network is built, and reads an image of zeros."""
    from bench.networks.reading.reader import reader_of

    with no_network(request), explained(request):
        module = library.outline(request).eval().requires_grad_(False)
    structure = reader_of(module).structure
    side = structure.size or (_multiple(structure.patch),) * 2
    features, why = _features(module, request, side)
    return {
        "class": f"{type(module).__module__}.{type(module).__qualname__}",
        "structure": asdict(structure),
        "parameters": sum(one.numel() for one in module.parameters()),
        "input": side,
        "features": features,
        "why": why,
    }


def _stated(structure: Structure, library: Library, request: Request, *, named: bool) -> Structure:
    """With the normalisation and the order of channels that the card states, else the library, else the module."""
    stated: dict[str, Any] = {"mean": None, "std": None, "channels": None}
    if named:
        stated["mean"], stated["std"] = library.normalisation(request)
        with contextlib.suppress(BenchError):  # of weights that are not here
            stated["channels"] = library.more(request).get("channels")
    if request.card and request.card.network:
        network = request.card.network
        stated["mean"], stated["std"] = network.mean or stated["mean"], network.std or stated["std"]
        stated["channels"] = network.channels if network.channels != "RGB" else stated["channels"]
    return replace(structure, **{key: value for key, value in stated.items() if value})


Map = tuple[int, int, int]
"""D×h×w."""


def _features(module: nn.Module, request: Request, side: tuple[int, int]) -> tuple[Map | None, str]:
    """D×h×w of one image's features, or why there are none. Raises FaultyCard for a layer that a card names wrongly."""
    import torch

    from bench.networks.reading.reader import reader_of

    place = next((one.device for one in module.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode():
            read = reader_of(module).read(parse(request.features or "last"))
            output = read(torch.zeros(1, 3, *side, device=place))
    except WrongName as error:
        if request.features and request.card:
            raise at_key(request.card, "features", error) from error
        return None, error.problem
    except BenchError as error:
        return None, error.problem
    except Exception as error:  # noqa: BLE001  # of any library
        return None, short(error)
    if output.ndim != 4:
        return None, f"its output is {output.ndim}-dimensional"
    return (output.shape[1], output.shape[2], output.shape[3]), ""
