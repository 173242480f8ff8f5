"""`bench check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cells import one_line, printable
from bench.cli.completion import ids
from bench.cli.settings import echo_skipped, results_folder, results_option

if TYPE_CHECKING:
    from bench.check import Outcome

_EPILOG = """\b
Examples:
  bench check --require maskcontrast-sup/clustering   fails unless it was run and reproduced
  bench check --against ../earlier/results            have our own figures moved?
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="ID[/PROTOCOL]",
    shell_complete=ids("models", files=False),
    help="A model whose figures (of one protocol) must have been run.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="RECORDS",
    help="Compare with earlier records instead of published figures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcomes as JSON.")
@click.option(
    "--annotations/--no-annotations",
    default=None,
    help="Print GitHub's annotations to stderr. [default: where GITHUB_ACTIONS is true]",
)
@click.option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="GITHUB_STEP_SUMMARY",
    help="Add a summary in Markdown to this file. [default: GITHUB_STEP_SUMMARY]",
)
@results_option
def check(
    required: tuple[str, ...],
    against: Path | None,
    as_json: bool,
    annotations: bool | None,
    summary: Path | None,
    results: Path | None,
) -> int:
    """Hold records against the published figures. Exit 0 if all that was compared fits, else 1.

    A check in which nothing could be compared fails. Files that are no record are said and skipped.
    """
    from bench import github
    from bench.check import verdict

    outcomes, skipped = _outcomes(results_folder(results), against, required)
    passed, line = verdict(outcomes)
    echo_skipped(skipped)
    if as_json:
        _print_json(outcomes, skipped, passed, line)
    else:
        _print(outcomes, passed, line)
    if annotations if annotations is not None else os.environ.get("GITHUB_ACTIONS") == "true":
        for text in github.annotations_of(outcomes, skipped, passed, line):
            click.echo(text, err=True)
    if summary is not None:
        github.append(summary, github.summary(outcomes, skipped, passed, line))
    return 0 if passed else 1


def _outcomes(folder: Path, against: Path | None, required: tuple[str, ...]) -> tuple[list[Outcome], list[str]]:
    """The outcomes, and a line for each file that is no record."""
    from bench import catalogue
    from bench.check import against_published, against_records
    from bench.published import figures
    from bench.record import read_all

    stored, skipped = read_all(folder)
    known = {*catalogue.models(), *(path.name for path in folder.glob("*") if path.is_dir())}
    if against is None:
        return against_published(figures(), stored, required, known), skipped
    if against.resolve() == folder.resolve():
        raise click.UsageError(f"--against {against} are the very records to check; name the folder of earlier ones")
    earlier, more = read_all(against)
    return against_records(earlier, stored, required, known), [*skipped, *more]


def _print_json(outcomes: list[Outcome], skipped: list[str], passed: bool, line: str) -> None:
    from dataclasses import asdict

    from bench.record import dumps

    entries = {"passed": passed, "summary": line, "skipped": skipped, "outcomes": [asdict(o) for o in outcomes]}
    click.echo(dumps(entries), nl=False)


def _print(outcomes: list[Outcome], passed: bool, line: str) -> None:
    from bench.github import moved

    for outcome in outcomes:
        text = f"{outcome.status:<15}{one_line(outcome.what)}: {one_line(outcome.detail)}"
        click.echo(text + ("  [fails]" if outcome.fails else ""))
        for part in (*map(moved, outcome.movement), *outcome.clusters):
            # a line of output that begins with :: would be a command to GitHub
            click.echo(f"{'':<15}· {printable(part)}")
    click.echo(f"{'passed' if passed else 'FAILED'}: {line}")
