"""`bench download`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.completion import ids
from bench.cli.settings import echo_table, echo_warning
from bench.cli.sizes import size as as_text

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard
    from bench.cards.models import ModelCard
    from bench.cli.progress import Show
    from bench.download.fetch import Network
    from bench.download.items import Item
    from bench.download.obtain import Obtained

_EPILOG = """\b
Examples:
  bench download maskcontrast-sup --list        what it is, how large, under which licence, where it goes
  bench download pascal-voc                     then `bench run --dataset pascal-voc` finds it
  bench download pascal-voc --file VOCtrainval_11-May-2012.tar

A broken download goes on where it stopped. Where nobody published a checksum, the one seen first is pinned in the
cache and checked ever after. A file that you fetched with a browser is taken from where --list says it goes.
Proxies are taken from the environment (https_proxy, http_proxy, no_proxy).
"""


@click.command(epilog=_EPILOG)
@click.argument("name", metavar="ID|CARD", shell_complete=ids("models", "datasets"))
@click.option("--file", "files", multiple=True, metavar="NAME", help="Only this file of the card. Repeatable.")
@click.option("--list", "--dry-run", "listing", is_flag=True, help="Say what would be fetched, and stop.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask. Without a terminal nothing is asked either.")
@click.option("--offline", is_flag=True, envvar="BENCH_OFFLINE", help="Touch no network: use what is there, or fail.")
@click.option("--fresh", is_flag=True, help="Fetch again even what is there.")
@click.option("--repin", is_flag=True, help="Accept a file whose hash is not the one that was pinned.")
@click.option("--keep-archive", is_flag=True, help="Keep an archive after it was unpacked.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), envvar="BENCH_CACHE", help="Cache folder.")
def download(
    name: str,
    files: tuple[str, ...],
    listing: bool,
    yes: bool,
    offline: bool,
    fresh: bool,
    repin: bool,
    keep_archive: bool,
    cache: Path | None,
) -> int:
    """Fetch the files of a model or a data set, verify them, unpack archives.

    Says size and licence first. Files already there are verified and not fetched again.
    """
    from bench.base.files import cache_folder
    from bench.cli.progress import progress_bar
    from bench.download.fetch import Network
    from bench.download.items import choose, items_of
    from bench.download.obtain import require_there

    if fresh and offline:
        raise click.UsageError("--fresh fetches again, --offline (or BENCH_OFFLINE) touches no network: leave one out")
    card, folder = find_card(name), cache_folder(cache)
    known = items_of(card, folder)
    if not known:
        click.echo(f"{card.id} has nothing to fetch: it is generated, or lies beside its card", err=True)
        return 0
    items = known if listing and not files else choose(known, files)
    network = Network(warn=echo_warning)
    if offline and not listing:
        require_there(items)
    _print_plan(items, None if offline else network, to_stderr=not listing)
    if others := [item.file for item in known if item.optional and item not in items and not files]:
        click.echo(f"only with --file: {', '.join(others)}", err=True)
    if listing:
        return 0
    if not _agreed(yes or offline):
        click.echo("nothing was fetched", err=True)
        return 0
    with progress_bar("bytes") as show:
        done, failures = _obtain_all(items, folder, network, show, fresh, repin, keep_archive)
    for obtained in done:
        click.echo(f"{obtained.item.file}: {obtained.how}, sha256 {obtained.sha256[:12]}… {obtained.verdict}")
        click.echo(f"  {obtained.item.goal}")
    return _report(failures)


def find_card(name: str) -> ModelCard | DatasetCard:
    """The card of either kind that a name or a path means."""
    from bench.base.errors import unknown_name
    from bench.cards import catalogue
    from bench.cards.card import is_model_card

    if name in catalogue.models():
        return catalogue.model(name)
    if name in catalogue.datasets():
        return catalogue.dataset(name)
    if catalogue.looks_like_path(name):
        return catalogue.model(name) if is_model_card(Path(name).expanduser()) else catalogue.dataset(name)
    raise unknown_name("model or data set", name, [*catalogue.models(), *catalogue.datasets()], "bench list models")


def _print_plan(items: Sequence[Item], network: Network | None, *, to_stderr: bool) -> None:
    """What there is, how large, where from, where to; with a network, sizes not on the card are asked for."""
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
        click.echo(f"{item.file}{mark}: {'; '.join(filter(None, about))}", err=to_stderr)


def _agreed(given: bool) -> bool:
    """Ask on a terminal; elsewhere nobody could answer, and a script that says `download` means it."""
    return given or not _on_terminal() or click.confirm("Go on?", default=True, err=True)


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
    """Each item in turn; one that fails does not keep the others from being fetched."""
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
    """All failures, none hides another; returns the exit code."""
    from bench.cli import explain

    return max((explain(error, debug=False) for error in failures), default=0)
