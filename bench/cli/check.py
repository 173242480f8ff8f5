"""`bench check`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.base.escaping import one_line
from bench.cli.completion import ids
from bench.cli.console import echo, emit
from bench.cli.parameters import Place
from bench.cli.settings import all_results_option, echo_remarks, echo_skipped, echo_wrapped, records_folders

if TYPE_CHECKING:
    from bench.records.folders import Folders
    from bench.report.check import Outcome

_EPILOG = """\b
Examples:
  bench check --require maskcontrast-sup     fail unless it was reproduced
  bench check --against ../earlier/results   compare with earlier records
  bench check --explain                      what the tolerances are made of
  bench check --table results/published.csv  faults in the table of published figures
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="ID[/PROTOCOL]",
    shell_complete=ids("models", files=False),
    help="A model whose figures (of one protocol) must have been run. Repeatable.",
)
@click.option(
    "--against",
    type=Place(file=False, exists=True),
    metavar="RECORDS",
    help="Compare with earlier records instead of published figures.",
)
@click.option(
    "--table",
    type=Place(folder=False, exists=True),
    metavar="CSV",
    help="Check a table of published figures, and no record: duplicates, magnitudes, dates, sources, spellings.",
)
@click.option("--all", "everything", is_flag=True, help="Also print a line for each figure that was not run.")
@click.option(
    "--explain", is_flag=True, help="Also print what each tolerance is made of, and how large a fault it would find."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcomes as JSON.")
@click.option(
    "--annotations/--no-annotations",
    default=None,
    help="Print annotations for GitHub to stderr. [default: if GITHUB_ACTIONS is true]",
)
@click.option(
    "--summary",
    type=Place(folder=False, appends=True),
    envvar="GITHUB_STEP_SUMMARY",
    help="Append a summary in Markdown to this file. [default: $GITHUB_STEP_SUMMARY]",
)
@all_results_option
def check(
    required: tuple[str, ...],
    against: Path | None,
    table: Path | None,
    everything: bool,
    explain: bool,
    as_json: bool,
    annotations: bool | None,
    summary: Path | None,
    results: tuple[Path, ...],
) -> int:
    """Compare records with the published figures. Exit 0 if every compared figure agrees, else 1.

    The check fails if it could compare nothing. Files that are not records are named and skipped.
    """
    from bench.report import github
    from bench.report.check import verdict

    if table is not None:
        if required or against is not None:
            raise click.UsageError("--table checks a table, --require and --against check records: give one of them")
        return _check_table(table, as_json)
    remarks: list[str] = []
    outcomes, skipped = _outcomes(records_folders(results), against, required, remarks)
    passed, line = verdict(outcomes)
    echo_skipped(skipped)
    echo_remarks(remarks)
    if as_json:
        _print_json(outcomes, skipped, remarks, passed, line)
    else:
        _print(outcomes, passed, line, everything, explain)
    if annotations if annotations is not None else os.environ.get("GITHUB_ACTIONS") == "true":
        for text in github.annotations_of(outcomes, skipped, passed, line):
            emit(f"{text}\n", err=True)
    if summary is not None:
        github.append(summary, github.summary(outcomes, skipped, passed, line))
    return 0 if passed else 1


def _check_table(path: Path, as_json: bool) -> int:
    """Print the faults of a table of published figures."""
    from datetime import UTC, datetime

    from bench.records.record import dumps
    from bench.records.table_check import check_table

    faults = check_table(path, datetime.now(UTC).date())
    line = f"{len(faults)} fault{'' if len(faults) == 1 else 's'}" if faults else "nothing is wrong with the table"
    if as_json:
        emit(dumps({"passed": not faults, "summary": line, "faults": faults}))
        return 1 if faults else 0
    for fault in faults:
        _print_outcome(fault, "")
    echo(f"{'FAILED' if faults else 'passed'}: {line}")
    return 1 if faults else 0


def _outcomes(
    folders: Folders, against: Path | None, required: tuple[str, ...], remarks: list[str]
) -> tuple[list[Outcome], list[str]]:
    """The outcomes, and a line for each file that is not a record; `remarks` get what else there is to say."""
    from bench.base.errors import BadInput
    from bench.cards import catalogue
    from bench.records.folders import read_folders
    from bench.records.published import figures
    from bench.records.record import read_all
    from bench.report.check import against_published, against_records

    found = read_folders(folders)
    stored, skipped = found.stored, found.problems
    remarks += found.twice
    inside = (path.name for folder in folders for path in folder.glob("*") if path.is_dir())
    known = {*catalogue.models(), *inside}
    if against is None:
        return against_published(figures(), stored, required, known, remarks.append), skipped
    if against.resolve() in (folder.resolve() for folder in folders):
        raise click.UsageError(f"--against {against} is the folder to check; name a folder of earlier records")
    earlier, more = read_all(against)
    if not earlier:
        echo_skipped(more)
        raise BadInput(f"there is no record below {against}", "Name the folder of earlier records with --against.")
    return against_records(earlier, stored, required, known, remarks.append), [*skipped, *more]


def _print_json(outcomes: list[Outcome], skipped: list[str], remarks: list[str], passed: bool, line: str) -> None:
    from bench.records.record import dumps

    entries = {"passed": passed, "summary": line, "skipped": skipped, "remarks": remarks}
    emit(dumps(entries | {"outcomes": [o.as_json() for o in outcomes]}))


def _print(outcomes: list[Outcome], passed: bool, line: str, everything: bool, explain: bool) -> None:
    from bench.report.github import moved

    shown = [o for o in outcomes if everything or o.fails or o.measured]
    for outcome in shown:
        text = f"{outcome.what}: {outcome.detail}" + " [fails]" * outcome.fails
        _print_outcome(text, f"{outcome.status:<15}")
        held = outcome.held.lines if explain and outcome.held else ()
        for part in (*held, *map(moved, outcome.movement), *outcome.clusters):
            _print_outcome(part, f"{'':<15}· ")
    if len(shown) < len(outcomes):
        echo(f"{len(outcomes) - len(shown)} figures were not run (--all prints them with their commands)")
    echo(f"{'passed' if passed else 'FAILED'}: {line}")


def _print_outcome(text: str, head: str) -> None:
    """A line of its own in a log or a pipe, where it is searched for; broken between words at a terminal."""
    if sys.stdout.isatty():
        echo_wrapped(text, head)
    else:
        echo(head + one_line(text))
