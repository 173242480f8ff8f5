"""`bench report`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.settings import results_folder, results_option


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "json", "pwc"]),
    default="md",
    show_default=True,
    help="md: leaderboard for a README; json: the same as data; pwc: the paper's table as it was given.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead of stdout.")
@results_option
def report(form: str, out: Path | None, results: Path | None) -> int:
    """Render records beside the published figures."""
    from bench.files import display, write_with
    from bench.published import figures
    from bench.record import read_all
    from bench.report import FORMATS

    folder = results_folder(results)
    stored, problems = read_all(folder)
    for problem in problems:
        click.echo(f"warning: skipped: {problem}", err=True)
    text = FORMATS[form](figures(), stored, folder)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_with(out, lambda stream: stream.write(text.encode()))
        click.echo(f"wrote {display(out)}", err=True)
    return 0
