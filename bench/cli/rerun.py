"""`bench rerun`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.base.escaping import one_line
from bench.cli.completion import ids, records
from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import NameOrPath, Place
from bench.cli.settings import (
    cache_option,
    data_root_of,
    data_root_option,
    echo_wrapped,
    network_options,
    records_folder,
    results_option,
    warn_of_slow_precision,
)

if TYPE_CHECKING:
    from bench.protocols.base import Settings
    from bench.records.record import Stored
    from bench.report.again import TwoRuns

_STATUS = 16
"""Columns of what a line is about."""
_EPILOG = """
RECORD is a path, MODEL/DATASET-SPLIT/PROTOCOL below --results, or the MODEL if it has a single record.

Everything that decides a figure is the record's: model, data, protocol, preset, seeds, precision, number of images.

Where the same run cannot be done here (other weights, data, preset), it says why and runs nothing.

\b
Examples:
  bench rerun maskcontrast-shapes
  bench rerun random-shapes/shapes-val/clustering --keep again --json
  bench rerun mine/voc.json --data-root ~/VOCdevkit --weights my-model.pth
"""


@click.command(epilog=_EPILOG)
@click.argument("record", metavar="RECORD", type=NameOrPath(), shell_complete=records)
@data_root_option
@click.option(
    "--model",
    type=NameOrPath(),
    metavar="ID|CARD|FILE",
    shell_complete=ids("models"),
    help="The model, where the record is of one without a built-in card: its card, its file, or an adapter's name.",
)
@click.option(
    "--dataset",
    type=NameOrPath(),
    metavar="ID|CARD",
    shell_complete=ids("datasets"),
    help="The card of the data set, where the record is of one that is not built in.",
)
@network_options
@click.option("--trust-code", is_flag=True, help="Let the code of a hub run. The record says so.")
@cache_option
@click.option(
    "--cached",
    is_flag=True,
    help="Take what the cache has of the network's passes and trainings. By default all is computed again, for a run "
    "that reads what an earlier one kept confirms little.",
)
@click.option(
    "--keep",
    type=Place(file=False, writes=True),
    metavar="DIR",
    help="Keep the new record below this folder. [default: it is removed in the end]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@results_option
def rerun(
    record: str,
    data_root: tuple[str, ...],
    model: str | None,
    dataset: str | None,
    cached: bool,
    keep: Path | None,
    as_json: bool,
    results: Path | None,
    **options: Any,
) -> int:
    """Do the run of a record again, and hold the two against each other.

    Exit 0 if every figure agrees, within the tolerance of `bench check --against`, else 1. The record itself is never
    replaced.
    """
    from bench.base.temporaries import scratch_folder
    from bench.protocols.base import Settings
    from bench.records.find import find
    from bench.report.again import hold

    earlier = find(record, records_folder(results))
    _require_elsewhere(earlier, keep)
    root = data_root_of(dataset or earlier.record["dataset"]["id"], data_root)
    settings = Settings(data_root=root, fresh=not cached, warn=echo_warning, **options)
    warn_of_slow_precision(_precision(earlier), settings.device)
    with ExitStack() as stack:
        folder = keep or stack.enter_context(scratch_folder("rerun"))
        again = _run(earlier, folder, settings, model, dataset)
        held = hold(earlier, again)
    if as_json:
        from bench.records.record import dumps

        paths = {"earlier": earlier.path.as_posix(), "again": again.path.as_posix() if keep else None}
        emit(dumps(paths | held.as_json()))
    else:
        _print(earlier, held, again if keep else None)
    return 0 if held.passed else 1


def _require_elsewhere(earlier: Stored, keep: Path | None) -> None:
    """Raises UsageError for a folder in which the new record would take the earlier one's place."""
    from bench.records.record import place

    if keep is not None and place(earlier.record, keep).resolve() == earlier.path.resolve():
        raise click.UsageError(f"--keep {keep} would replace the record itself; name another folder")


def _precision(earlier: Stored) -> str:
    return "bfloat16" if "bfloat16" in earlier.record["protocol"].get("variations", ()) else "float32"


def _run(earlier: Stored, folder: Path, settings: Settings, model: str | None, dataset: str | None) -> Stored:
    from dataclasses import replace

    from bench.cli.progress import progress_bar
    from bench.runs.rerun import rerun as run_again

    with progress_bar() as progress:
        return run_again(earlier, folder, replace(settings, progress=progress), model=model, dataset=dataset)


def _print(earlier: Stored, held: TwoRuns, kept: Stored | None) -> None:
    from bench.base.files import display

    dataset, protocol = earlier.record["dataset"], earlier.record["protocol"]
    echo(f"{earlier.record['model']['id']} on {dataset['id']} {one_line(dataset['split'])}, {protocol['id']}, again:")
    for outcome in held.outcomes:
        metric = one_line(outcome.what.rpartition(" ")[2])
        echo_wrapped(f"{metric}: {outcome.detail}", f"  {outcome.status:<{_STATUS}}")
    echo_wrapped(_rows(held, seeds=bool(earlier.record.get("seeds"))), f"  {'rows':<{_STATUS}}")
    for what, one, other in held.surroundings:
        echo_wrapped(f"{what}: {one} earlier, {other} now", f"  {'environment':<{_STATUS}}")
    if kept is not None:
        echo(f"record: {display(kept.path)}")
    echo(f"{'agrees' if held.passed else 'DIFFERS'}: {held.summary}")


def _rows(held: TwoRuns, *, seeds: bool) -> str:
    if held.changed is None:
        return f"not compared: {one_line(held.problem)}"
    if not held.changed:
        return f"identical: each of {held.images} images has the same counts{' under every seed' if seeds else ''}"
    return f"{held.changed} of {held.images} images have other counts"
