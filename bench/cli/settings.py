"""Settings shared by commands: flag > environment > bench.toml > card."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.base.escaping import one_line, printable
from bench.cli.completion import ids, preset_entries, recipe_entries

if TYPE_CHECKING:
    from bench.records.record import Stored

Command = TypeVar("Command", bound=Callable[..., Any])

NAMED_BY = "the id in predictions.json, else the folder's name and a hash of its PNGs"
"""The id of a folder of predictions. Without the hash, another model's folder of the same name would take its record's
place."""


def results_option(command: Command) -> Command:
    """`--results`, the folder of records."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="BENCH_RESULTS",
        help="Folder of records. [default: results/ of the checkout, else ./results; in a checkout, runs write to "
        "results/local/]",
    )(command)


def dataset_option(command: Command) -> Command:
    """`--dataset`, exactly one."""
    return click.option(
        "--dataset",
        required=True,
        metavar="ID|CARD",
        shell_complete=ids("datasets"),
        help="A data set's id or a card.",
    )(command)


def data_root_option(command: Command) -> Command:
    """`--data-root`, read by `data_roots`."""
    return click.option(
        "--data-root",
        multiple=True,
        type=click.Path(),  # several of them in the variable are separated as in $PATH, not by blanks
        metavar="[ID=]PATH",
        envvar="BENCH_DATA_ROOT",
        help="Folder of the data. Repeatable as ID=PATH.",
    )(command)


def cache_option(command: Command) -> Command:
    """`--cache`, the cache folder."""
    return click.option(
        "--cache", type=click.Path(path_type=Path, file_okay=False), envvar="BENCH_CACHE", help="Cache folder."
    )(command)


def echo_warning(message: str) -> None:
    """Print a warning."""
    click.echo(f"warning: {message}", err=True)


class _Notices(logging.Handler):
    """Prints what the logger `bench` is told: lines that no record has, since they say nothing of a figure."""

    def emit(self, record: logging.LogRecord) -> None:
        echo_warning(record.getMessage())


def show_notices() -> None:
    """Print what the logger `bench` is told as warnings."""
    logger = logging.getLogger("bench")
    if not any(isinstance(handler, _Notices) for handler in logger.handlers):
        logger.addHandler(_Notices())


def results_folder(given: Path | None) -> Path:
    """The folder in which records are written."""
    from bench.base.folders import default_results

    return given.expanduser() if given else default_results()


def records_folder(given: Path | None) -> Path:
    """The folder of records to read; a warning says if the named folder does not exist."""
    from bench.base.folders import default_records

    folder = given.expanduser() if given else default_records()
    if given and not folder.is_dir():
        echo_warning(f"there is no folder {one_line(str(folder))}, so there are no records")
    return folder


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


def config_path() -> Path:
    """The path of the settings file: $BENCH_CONFIG, else ./bench.toml. The file may not exist."""
    return Path(os.environ.get("BENCH_CONFIG") or "bench.toml").expanduser()


def read_config() -> dict[str, Any]:
    """The content of the settings file; empty if there is none."""
    from bench.base.text_files import read_toml

    path = config_path()
    if not path.is_file():
        if os.environ.get("BENCH_CONFIG"):
            raise click.UsageError(f"$BENCH_CONFIG names {path}, which does not exist")
        return {}
    try:
        config = read_toml(path)
    except ValueError as error:
        raise click.UsageError(f"{path} is not a TOML file: {error}") from error
    for key in ("results", "cache"):
        if not isinstance(config.get(key, ""), str):
            raise click.UsageError(f"{path}: {key} must be a path in quotes")
    roots = config.get("data_roots", {})
    if not isinstance(roots, dict) or not all(isinstance(value, str) for value in roots.values()):
        raise click.UsageError(f'{path}: [data_roots] must have lines of the form ID = "PATH"')
    return config


def default_map(commands: Mapping[str, click.Command]) -> dict[str, Any]:
    """The settings file as click's defaults: `results` and `cache` for all commands, `[run]` and so on for one."""
    config = read_config()
    shared = {key: config.pop(key) for key in ("results", "cache") if key in config}
    config.pop("data_roots", None)
    for name, table in config.items():
        if name not in commands or not isinstance(table, dict):
            raise click.UsageError(
                f"{config_path()}: unknown setting '{name}' (known: results, cache, data_roots, "
                f"{', '.join(f'[{c}]' for c in commands)})"
            )
        known = {parameter.name for parameter in commands[name].params}
        for key in table:
            if key.replace("-", "_") not in known:
                raise click.UsageError(f"{config_path()}: [{name}] has no option '{key}'")
    return {
        name: shared | {key.replace("-", "_"): value for key, value in config.get(name, {}).items()}
        for name in commands
    }


def data_roots(given: tuple[str, ...], config: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """`--data-root [ID=]PATH` as data set id → path; the bare path under the key ''.

    `config` is the content of bench.toml, which is read if none is given. Its data roots hold for data sets that the
    option, or its variable, does not name. A bare path holds for all.
    """
    roots = {}
    for text in given:
        name, separator, path = text.partition("=")
        if separator:
            from bench.cards.catalogue import dataset

            dataset(name)  # an unknown id is an error, not an unused root
        roots[name if separator else ""] = Path(path if separator else text)
    config = read_config() if config is None else config
    configured = {str(key): Path(str(value)) for key, value in config.get("data_roots", {}).items()}
    return roots if "" in roots else configured | roots


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
        click.option("--workers", type=click.IntRange(1), help="Loader threads. [default: one per core, at most 8]"),
        click.option(
            "--batch-size", type=click.IntRange(1), help="Images per batch. [default: 4 on a CPU, 32 on a GPU]"
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …"),
        click.option("--weights", type=click.Path(path_type=Path), help="File of weights for a model card."),
    ):
        command = option(command)
    return command


def echo_table(rows: Sequence[tuple[str, ...]], err: bool = False) -> None:
    """Print rows in aligned columns, the last one unpadded; to stderr with `err`."""
    rows = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip(), err=err)
