"""`bench show` of a network of another library, such as `timm:vit_small_patch16_224`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.base.errors import WrongName
from bench.cli.console import echo_warning
from bench.cli.settings import echo_table

if TYPE_CHECKING:
    from bench.networks.libraries.about import About
    from bench.networks.libraries.library import Library
    from bench.networks.libraries.request import Request


def show_network(name: str, cache: Path, *, trust_code: bool) -> None:
    """Print what a library and the network itself say of a network; its weights need not be here."""
    from bench.networks import adapters

    found = adapters.requested(name, cache, trust_code=trust_code, warn=echo_warning)
    if found is None:
        raise WrongName(f"the adapter of '{name}' says nothing of its networks", "Its own documents describe them.")
    from bench.networks.libraries.about import about

    library, request = found
    told = about(library, request)
    built_with = f"{library.package} {library.version()}"
    rows = [("network", request.text), ("library", f"{library.title} ({built_with})" if library.title else built_with)]
    *rest, protocols = network_rows(told)
    echo_table([*rows, *rest, *_weight_rows(told, library, request), protocols])


def network_rows(told: About) -> list[tuple[str, str]]:
    """What a network says of itself; the last row has the protocols that can measure it."""
    protocols = ("protocols", ", ".join(told.protocols) or "none")
    return [("class", told.kind), *_shape_rows(told), *_input_rows(told), protocols]


def _shape_rows(told: About) -> list[tuple[str, str]]:
    one = told.structure
    rows = [("parameters", f"{told.parameters:,}")]
    if told.features is None:
        rows.append(("features", f"none with a height and a width: {told.why_none}"))
    else:
        width, rows_, columns = told.features
        rows.append(("width", str(width)))
        rows.append(("stride", f"{told.input[0] / rows_:g} pixels"))
        rows.append(("features", f"{width}×{rows_}×{columns} of {told.input[0]}×{told.input[1]} pixels"))
    rows += [("depth", f"{one.depth} blocks")] if one.depth else []
    rows += [("stages", str(one.stages))] if one.stages else []
    rows += [("tokens dropped", f"{one.tokens} (class and register tokens)")] if one.tokens else []
    return [*rows, ("layers", "; ".join(one.layers))]


def _input_rows(told: About) -> list[tuple[str, str]]:
    one = told.structure
    if one.size:
        size = f"{one.size[0]}×{one.size[1]} only"
    else:
        size = f"multiples of {one.patch} (the patch)" if one.patch else "any"
    grid = f"trained on {one.grid[0]}×{one.grid[1]}, interpolated for others" if one.grid else "none to interpolate"
    mean, std = (" ".join(f"{value:g}" for value in part) if part else "" for part in (one.mean, one.std))
    normalisation = f"mean {mean}, std {std}" if mean and std else "not stated: the preset's is used"
    return [
        ("input", f"{size}, {one.channels}"),
        ("position embeddings", grid),
        ("normalisation", normalisation),
    ]


def _weight_rows(told: About, library: Library, request: Request) -> list[tuple[str, str]]:
    if request.seed is not None:
        return [("weights", f"drawn from seed {request.seed}")]
    if told.files:
        rows = [("weights", "on this machine"), *(("weights file", str(path)) for path in told.files)]
    else:
        rows = [("weights", told.weights or "its own code reads them")]
    page = library.page(request) if told.files or "bench download" in told.weights else ""
    return rows + ([("weights from", page), ("licence of the weights", library.licence(request))] if page else [])
