"""`bench check`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.completion import ids
from bench.cli.settings import results_folder, results_option

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
@results_option
def check(required: tuple[str, ...], against: Path | None, as_json: bool, results: Path | None) -> int:
    """Hold records against the published figures. Exit 0 if all that was compared fits, else 1.

    A check in which nothing could be compared fails.
    """
    from dataclasses import asdict

    from bench.check import against_published, against_records, verdict
    from bench.published import figures
    from bench.record import dumps, read_all

    stored, problems = read_all(results_folder(results))
    for problem in problems:
        click.echo(f"warning: skipped: {problem}", err=True)
    if against is None:
        outcomes = against_published(figures(), stored, required)
    else:
        earlier, more = read_all(against)
        for problem in more:
            click.echo(f"warning: skipped: {problem}", err=True)
        outcomes = against_records(earlier, stored, required)
    passed, line = verdict(outcomes)
    if as_json:
        click.echo(dumps({"passed": passed, "summary": line, "outcomes": [asdict(o) for o in outcomes]}), nl=False)
        return 0 if passed else 1
    for outcome in outcomes:
        click.echo(f"{outcome.status:<15}{outcome.what}: {outcome.detail}" + ("  [fails]" if outcome.fails else ""))
        for moved in outcome.movement:
            click.echo(f"{'':<15}  {moved}")
    click.echo(f"{'passed' if passed else 'FAILED'}: {line}")
    return 0 if passed else 1
