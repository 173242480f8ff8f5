"""`bench download`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.completion import ids
from bench.cli.console import echo, echo_warning
from bench.cli.download_network import download_network, network_of
from bench.cli.parameters import Deliberate, NameOrPath
from bench.cli.settings import cache_option, echo_table
from bench.cli.sizes import size as as_text

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard
    from bench.cards.models import ModelCard
    from bench.cli.progress import Show
    from bench.download.items import Item
    from bench.download.network import Network
    from bench.download.obtain import Obtained

_EPILOG = """\b
Examples:
  bench download maskcontrast-sup --list        print size, licence and destination; fetch nothing
  bench download pascal-voc                     then `bench run --dataset pascal-voc` finds it
  bench download pascal-voc --file VOCtrainval_11-May-2012.tar
  bench download timm:vit_small_patch14_dinov2.lvd142m

An interrupted download continues where it stopped. If no checksum was published, the hash of the first download is
pinned: it is kept in the cache, and every later file must have it. To use a file that you fetched with a browser, save
it at the path that --list prints. Proxies come from the environment (https_proxy, http_proxy, no_proxy).
"""


@click.command(epilog=_EPILOG)
@click.argument("name", metavar="ID|CARD|NETWORK", type=NameOrPath(), shell_complete=ids("models", "datasets"))
@click.option("--file", "files", multiple=True, metavar="NAME", help="Fetch only this file of the card. Repeatable.")
@click.option("--list", "--dry-run", "listing", is_flag=True, help="Print what would be fetched, and stop.")
@click.option(
    "--yes",
    "-y",
    cls=Deliberate,
    is_flag=True,
    help="Fetch without asking. Without a terminal nothing is asked either.",
)
@click.option("--offline", is_flag=True, envvar="BENCH_OFFLINE", help="Use no network; fail if a file is missing.")
@click.option("--fresh", is_flag=True, help="Fetch all files again, also those that are there.")
@click.option("--repin", cls=Deliberate, is_flag=True, help="Accept a file whose hash differs from the pinned one.")
@click.option("--keep-archive", is_flag=True, help="Keep each archive after it is unpacked.")
@click.option(
    "--trust-code",
    cls=Deliberate,
    is_flag=True,
    help="Let code of a hub run, where a network has code of its own: it may do all that you may.",
)
@cache_option
def download(
    name: str,
    files: tuple[str, ...],
    listing: bool,
    yes: bool,
    offline: bool,
    fresh: bool,
    repin: bool,
    keep_archive: bool,
    trust_code: bool,
    cache: Path | None,
) -> int:
    """Fetch the files of a model or a data set, verify them, and unpack archives.

    A network of another library (timm:NAME, torchvision:NAME@WEIGHTS, hf:OWNER/NAME, hub:OWNER/NAME:BRANCH:ENTRY) is
    fetched by its name, too.

    Prints size and licence first. Files that are there are verified and not fetched again.
    """
    from bench.base.files import cache_folder
    from bench.cli.progress import progress_bar
    from bench.download.items import choose, items_of
    from bench.download.network import Network
    from bench.download.obtain import require_there

    if fresh and offline:
        raise click.UsageError("--fresh fetches again, --offline (or BENCH_OFFLINE) uses no network: leave one out")
    folder = cache_folder(cache)
    if network_of_library := network_of(name, folder, trust_code):
        if files or keep_archive:
            raise click.UsageError("--file and --keep-archive are for cards that name their files")
        return download_network(
            network_of_library,
            listing=listing,
            offline=offline,
            fresh=fresh,
            repin=repin,
            agreed=lambda: _agreed(yes or offline),
        )
    card = find_card(name, folder)
    known = items_of(card, folder)
    if not known:
        echo(f"{card.id} has nothing to fetch: it is generated, or is beside its card", err=True)
        return 0
    items = known if listing and not files else choose(known, files)
    network = Network(warn=echo_warning)
    if offline and not listing:
        require_there(items)
    _print_plan(items, None if offline else network, to_stderr=not listing)
    if others := [item.file for item in known if item.optional and item not in items and not files]:
        echo(f"fetched only with --file: {', '.join(others)}", err=True)
    if listing:
        return 0
    if not _agreed(yes or offline):
        echo("nothing was fetched", err=True)
        return 0
    with progress_bar("bytes") as show:
        done, failures = _obtain_all(items, folder, network, show, fresh, repin, keep_archive)
    for obtained in done:
        echo(f"{obtained.item.file}: {obtained.how}, sha256 {obtained.sha256[:12]}… {obtained.verdict}")
        echo(f"  {obtained.item.goal}")
    return _report(failures)


def find_card(name: str, cache: Path) -> ModelCard | DatasetCard:
    """The model card or data-set card of a name or a path. Raises WrongName, with the nearest names."""
    from bench.base.errors import WrongName, unknown_name
    from bench.base.paths import expand
    from bench.cards import catalogue
    from bench.cards.card import is_model_card
    from bench.cards.network_folders import meant as folder_meant
    from bench.networks.libraries.nearest import network_meant

    if name in catalogue.models():
        return catalogue.model(name)
    if name in catalogue.datasets():
        return catalogue.dataset(name)
    if not expand(name).exists() and (error := network_meant(name, cache)) is not None:
        raise error
    if catalogue.looks_like_path(name):
        return catalogue.model(name) if is_model_card(expand(name)) else catalogue.dataset(name)
    unknown = unknown_name("model or data set", name, [*catalogue.models(), *catalogue.datasets()], "bench list models")
    raise WrongName(unknown.problem, f"{folder_meant(name)}{unknown.remedy}")


def _print_plan(items: Sequence[Item], network: Network | None, *, to_stderr: bool) -> None:
    """Print each file's size, source and destination; with a network, servers are asked for unknown sizes."""
    from bench.download.http import host
    from bench.download.obtain import is_there, size_of, status

    rows = [("FILE", "SIZE", "STATUS", "FROM", "GOES TO")]
    for item in items:
        size = item.bytes if network is None or is_there(item) else size_of(item, network)
        shown = as_text(size) if size is not None else "not known"
        rows.append((item.file, shown, status(item), ", ".join(dict.fromkeys(map(host, item.urls))), str(item.path)))
    echo_table(rows, err=to_stderr)
    for item in items:
        about = [f"licence: {item.licence}", item.note, f"unpacked to {item.goal}" if item.unpack else ""]
        mark = " (optional)" if item.optional else ""
        echo(f"{item.file}{mark}: {'; '.join(filter(None, about))}", err=to_stderr)


def _agreed(given: bool) -> bool:
    """Ask on a terminal. Without one nobody could answer, so the answer is yes."""
    return given or not _on_terminal() or click.confirm("Continue?", default=True, err=True)


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _obtain_all(
    items: Sequence[Item],
    cache: Path,
    network: Network,
    show: Show | None,
    fresh: bool,
    repin: bool,
    keep_archive: bool,
) -> tuple[list[Obtained], list[Exception]]:
    """Obtain each item in turn; if one fails, the others are still fetched."""
    from dataclasses import replace

    from bench.base.errors import BenchError
    from bench.download.obtain import obtain

    done: list[Obtained] = []
    failures: list[Exception] = []
    for item in items:
        try:
            with_bar = replace(network, progress=show)
            done.append(obtain(item, cache, with_bar, fresh=fresh, repin=repin, keep_archive=keep_archive))
        except (BenchError, OSError) as error:
            failures.append(error)
    return done, failures


def _report(failures: Sequence[Exception]) -> int:
    """Print all failures; returns the exit code."""
    from bench.cli.failures import explain

    return max((explain(error, debug=False) for error in failures), default=0)
