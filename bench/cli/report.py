"""`bench report`."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.settings import read_records, results_folder, results_option


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "json", "csv", "latex", "pwc", "badge"]),
    default="md",
    show_default=True,
    help="md: leaderboard for a README; json, csv: the same as data; latex: the same for booktabs; pwc: the paper's "
    "table as it was given; badge: JSON for shields.io's endpoint badge.",
)
@click.option(
    "--figure",
    metavar="RECORD[/METRIC]",
    help="With --format badge: the figure of this record, as MODEL/DATASET-SPLIT/PROTOCOL. [default: the number of "
    "reproduced figures]",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead of stdout.")
@results_option
def report(form: str, figure: str | None, out: Path | None, results: Path | None) -> int:
    """Render records beside the published figures."""
    if figure and form != "badge":
        raise click.UsageError("--figure goes with --format badge")
    from bench.files import display, write_with
    from bench.published import figures
    from bench.report import FORMATS, as_badge

    folder = results_folder(results)
    stored = read_records(folder)
    text = as_badge(figures(), stored, folder, figure) if figure else FORMATS[form](figures(), stored, folder)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_with(out, lambda stream: stream.write(text.encode()))
        click.echo(f"wrote {display(out)}", err=True)
    return 0
