"""`bench report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import Place
from bench.cli.settings import echo_remarks, echo_skipped, records_folder, results_option

if TYPE_CHECKING:
    from bench.records.record import Stored


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json", "csv", "latex", "pwc", "badge"]),
    help="html: a web site. md: the leaderboard in Markdown. json, csv: the leaderboard as data. latex: the same "
    "as tables for booktabs. pwc: the paper's table as Papers with Code listed it. badge: JSON for the endpoint badge "
    "of shields.io. [default: by the ending of --out; html for a folder; else md]",
)
@click.option(
    "--figure",
    metavar="RECORD[/METRIC]",
    help="With --format badge: the figure of this record, as MODEL/DATASET-SPLIT/PROTOCOL. [default: the number of "
    "reproduced figures]",
)
@click.option("--out", type=Place(writes=True), help="The file to write instead of stdout; for html, the folder.")
@results_option
def report(form: str | None, figure: str | None, out: Path | None, results: Path | None) -> int:
    """Write the leaderboard: records beside the published figures."""
    if figure and form != "badge":
        raise click.UsageError("--figure is only for --format badge")
    from bench.base.files import display, write_with
    from bench.records.audit import remarks, sound
    from bench.records.published import figures
    from bench.records.record import read_all
    from bench.report.formats import FORMATS, as_badge

    folder = records_folder(results)
    form = form or _form_of(out)
    readable, problems = read_all(folder)
    stored, unsound = sound(readable)
    problems += unsound
    echo_skipped(problems)
    echo_remarks(remarks(stored))
    if form == "html":
        return _write_site(out, stored, folder, problems)
    if out is not None and out.is_dir():
        raise click.UsageError(f"--out {out} is a folder; --format {form} writes a file")
    text = as_badge(figures(), stored, folder, figure) if figure else FORMATS[form](figures(), stored, folder)
    if out is None:
        emit(text)
    else:
        write_with(out, lambda stream: stream.write(text.encode()))
        echo(f"wrote {display(out)}", err=True)
    return 0


_ENDINGS = {".md": "md", ".json": "json", ".csv": "csv", ".tex": "latex"}


def _form_of(out: Path | None) -> str:
    """The format if none is named: html for a folder, else by the file's ending."""
    if out is None:
        return "md"
    if out.is_dir() or not out.suffix:
        return "html"
    if out.suffix not in _ENDINGS:
        known = ", ".join(_ENDINGS)
        raise click.UsageError(f"--out {out}: name the format with --format; only {known} and folders need none")
    return _ENDINGS[out.suffix]


def _write_site(out: Path | None, stored: Sequence[Stored], results: Path, problems: Sequence[str]) -> int:
    from bench.base.files import display
    from bench.records.published import figures
    from bench.report.site import write_site

    if out is None:
        raise click.UsageError("--format html writes a folder: name it with --out DIR")
    pages = write_site(out, figures(), stored, results, problems, echo_warning)
    echo(f"wrote {display(out)}: {pages} pages, open {display(out / 'index.html')}", err=True)
    return 0
