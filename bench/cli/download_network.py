"""`bench download` of a network of another library."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.console import echo, echo_warning
from bench.cli.settings import echo_table
from bench.cli.sizes import size as as_text

if TYPE_CHECKING:
    from bench.download.libraries import Planned
    from bench.networks.libraries.library import Library
    from bench.networks.libraries.request import Request

Found = tuple["Library", "Request"]


def network_of(name: str, cache: Path, trust_code: bool) -> Found | None:
    """The library and the request of a name, or of a card whose weights a library keeps; None for anything else."""
    from bench.base.paths import expand
    from bench.cards import catalogue
    from bench.cards.card import is_model_card
    from bench.cards.local_files import needs_download
    from bench.networks import adapters

    more = {"trust_code": trust_code, "warn": echo_warning}
    if adapters.split(name) is not None:
        return adapters.requested(name, cache, **more)
    is_path = catalogue.looks_like_path(name) and name not in catalogue.models()
    if not (is_model_card(expand(name)) if is_path else name in catalogue.models()):
        return None
    card = catalogue.model(name)
    if card.network is None or card.weights is not None or not needs_download(card):
        return None
    return adapters.requested_by_card(card, cache, **more)


def download_network(
    found: Found, *, listing: bool, offline: bool, fresh: bool, repin: bool, agreed: Callable[[], bool]
) -> int:
    """Print what the library needs for a network, ask, and fetch it. Returns the exit code."""
    from dataclasses import replace

    from bench.cli.progress import progress_bar
    from bench.download.libraries import Wanted
    from bench.download.network import Network

    library, request = found
    network = None if offline else Network(warn=echo_warning)
    wanted = Wanted(library, request, network, fresh, repin)
    planned = wanted.plan()
    _print_plan(planned, to_stderr=not listing)
    if request.seed is not None and not planned:
        echo(f"{request.text} has nothing to fetch: its weights are drawn", err=True)
        return 0
    if not planned:
        echo(f"{request.text}: only its own code knows which files it needs, and is called once", err=True)
    if listing:
        return 0
    if not agreed():
        echo("nothing was fetched", err=True)
        return 0
    bar: AbstractContextManager[object] = progress_bar("bytes")
    with bar as show:
        used = replace(network, progress=show) if network else None  # type: ignore[arg-type]
        done = list(replace(wanted, network=used).obtain())
    for had in done:
        echo(f"{had.file}: {had.how}, sha256 {had.sha256[:12]}… {had.verdict}")
        echo(f"  {had.path}")
    return 0


def _print_plan(planned: list[Planned], *, to_stderr: bool) -> None:
    from bench.download.http import host

    if not planned:
        return
    rows = [("FILE", "SIZE", "STATUS", "FROM", "GOES TO")]
    for one in planned:
        shown = as_text(one.bytes) if one.bytes is not None else "not known"
        rows.append((one.file, shown, one.status, host(one.address), str(one.path)))
    echo_table(rows, err=to_stderr)
    for address, licence in dict.fromkeys((one.address, one.licence) for one in planned):
        echo(f"{address}: licence: {licence}", err=to_stderr)
