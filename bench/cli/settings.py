"""Settings shared by commands: flag > environment > ./bench.toml > the user's bench.toml > card."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.base.escaping import one_line, printable
from bench.base.paths import expand
from bench.cli import configuration
from bench.cli.completion import ids, preset_entries, recipe_entries
from bench.cli.console import echo, echo_warning
from bench.cli.fold import folded
from bench.cli.parameters import BatchSize, DataRoot, NameOrPath, OneOfSeveral, Place

if TYPE_CHECKING:
    from bench.records.folders import Folders
    from bench.records.record import Stored

Command = TypeVar("Command", bound=Callable[..., Any])

NAMED_BY = "the id in predictions.json, else the folder's name and a hash of its PNGs"
"""The id of a folder of predictions. Without the hash, another model's folder of the same name would take its record's
place."""


def results_option(command: Command) -> Command:
    """`--results`, the folder of records."""
    return click.option(
        "--results",
        type=Place(file=False, writes=True),
        envvar="BENCH_RESULTS",
        help="Folder of records. [default: results/ of the checkout, else ./results; in a checkout, runs write to "
        "results/local/]",
    )(command)


def all_results_option(command: Command) -> Command:
    """`--results` for commands that read the records of any number of folders, by `records_folders`."""
    return click.option(
        "--results",
        type=OneOfSeveral(file=False, writes=True),
        multiple=True,
        envvar="BENCH_RESULTS",
        metavar="DIR",
        help="Folder of records. Repeatable. [default: results/ of the checkout, else ./results]",
    )(command)


def dataset_option(command: Command) -> Command:
    """`--dataset`, exactly one."""
    return click.option(
        "--dataset",
        required=True,
        type=NameOrPath(),
        metavar="ID|CARD",
        shell_complete=ids("datasets"),
        help="A data set's id or a card.",
    )(command)


def data_root_option(command: Command) -> Command:
    """`--data-root`, read by `data_roots`."""
    return click.option(
        "--data-root",
        multiple=True,
        type=DataRoot(),
        metavar="[ID=]PATH",
        envvar="BENCH_DATA_ROOT",
        help="Folder of the data. Repeatable as ID=PATH.",
    )(command)


def cache_option(command: Command) -> Command:
    """`--cache`, the cache folder."""
    return click.option("--cache", type=Place(file=False, writes=True), envvar="BENCH_CACHE", help="Cache folder.")(
        command
    )


def results_folder(given: Path | None) -> Path:
    """The folder in which records are written."""
    from bench.base.folders import default_results

    return given or default_results()


def records_folder(given: Path | None) -> Path:
    """The folder of records to read; a warning says if the named folder does not exist."""
    from bench.base.folders import default_records

    folder = given or default_records()
    if given and not folder.is_dir():
        echo_warning(f"there is no folder {one_line(str(folder))}, so there are no records")
    return folder


def records_folders(given: Sequence[Path]) -> Folders:
    """The folders of records to read; a warning says if a named one does not exist."""
    from bench.records.folders import Folders

    return Folders.of([records_folder(path) for path in given or (None,)])


def read_records(folder: Path) -> list[Stored]:
    """The records below a folder. A file that is not a record is named in one line and skipped."""
    from bench.records.record import read_all

    stored, problems = read_all(folder)
    echo_skipped(problems)
    return stored


def echo_skipped(problems: Sequence[str]) -> None:
    """Print a warning for each file that is not a record."""
    for problem in problems:
        echo_warning(f"skipped: {one_line(problem)}")


def echo_remarks(lines: Sequence[str]) -> None:
    """Print a warning for each thing that an audit has to say of records that are shown (`bench.records.audit`)."""
    for line in lines:
        echo_warning(one_line(line))


def data_roots(given: tuple[str, ...], configured: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """`--data-root [ID=]PATH` as data set id → path; the bare path under the key ''.

    `configured` are those of the settings files, which are read if none are given. They hold for data sets that the
    option, or its variable, does not name. A bare path holds for all.
    """
    roots = {}
    for text in given:
        name, separator, path = text.partition("=")
        if separator:
            from bench.cards.catalogue import dataset

            dataset(name)  # an unknown id is an error, not an unused root
        roots[name if separator else ""] = expand(path if separator else text)
    if configured is None:
        configured = {name: root for name, (root, _) in configuration.data_roots(configuration.sources()).items()}
    return roots if "" in roots else {**configured, **roots}


def data_root_of(dataset: str, given: tuple[str, ...]) -> Path | None:
    """The folder of a data set by `data_roots`; None if there is none."""
    roots = data_roots(given)
    return roots.get(dataset, roots.get(""))


def parse_entries(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`--set ENTRY=VALUE`, repeated, as a dict of texts."""
    entries = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"'{text}' is not ENTRY=VALUE")
        if key.strip() in entries:
            raise click.BadParameter(f"'{key.strip()}' is given twice")
        entries[key.strip()] = value.strip()
    return entries


def require_said_once(flags: Iterable[str], entries: Mapping[str, str]) -> None:
    """Raises UsageError for an entry that is given with `--set` and with its own option, even if the two agree."""
    for entry in flags:
        if entry in entries:
            raise click.UsageError(f"--set {entry}=… and the option for it set the same entry: give one of the two")


def entries_option(of: str, listing: str) -> Callable[[Command], Command]:
    """`--set`, for the entries of a preset or a recipe, which `bench list` shows under `listing`."""
    return click.option(
        "--set",
        "entries",
        multiple=True,
        metavar="ENTRY=VALUE",
        callback=parse_entries,
        shell_complete=recipe_entries if of == "recipe" else preset_entries,
        help=f"Change an entry of the {of} (`bench list {listing}` shows them). Repeatable.",
    )


def network_options(command: Command) -> Command:
    """The options of every command that runs a network on images: weights, device, batch size, workers."""
    for option in (
        click.option(
            "--workers", type=click.IntRange(1, 1024), help="Loader threads. [default: one per core, at most 8]"
        ),
        click.option(
            "--batch-size",
            type=BatchSize(),
            metavar="N|auto",
            help="Images per batch; auto takes what fits. [default: 4 on a CPU, 32 on a GPU]",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …"),
        click.option("--weights", type=Place(), help="File of weights for a model card."),
    ):
        command = option(command)
    return command


def warn_of_slow_precision(precision: str | None, device: str) -> None:
    """Say that bfloat16 is emulated, if it was asked for and will run on a processor without it."""
    from bench.base.environment import has_bfloat16
    from bench.passes.engine import choose_device

    if precision == "bfloat16" and has_bfloat16() is False and choose_device(device) == "cpu":
        echo_warning(
            "this processor has no instructions for bfloat16, so it takes up to ten times as long as float32; leave "
            "--precision out, or use a GPU"
        )


WIDTH = 80
"""Columns of text that is broken between words."""


def echo_wrapped(text: object, head: str = "") -> None:
    """Print text after a head, its further lines below its first."""
    indent = " " * len(head)
    echo(
        textwrap.fill(
            one_line(text),
            WIDTH,
            initial_indent=head,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def echo_table(rows: Sequence[tuple[str, ...]], err: bool = False) -> None:
    """Print rows in aligned columns, the last one unpadded; to stderr with `err`.

    At a terminal that is narrower, cells are broken between words, and rows into lines: `bench.cli.fold`.
    """
    rows = [tuple(printable(" ".join(cell.splitlines())) for cell in row) for row in rows]
    terminal = (sys.stderr if err else sys.stdout).isatty()
    for line in folded(rows, shutil.get_terminal_size().columns if terminal else sys.maxsize):
        echo(line, err=err)
