"""`bench report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.settings import results_folder, results_option

if TYPE_CHECKING:
    from bench.record import Stored


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json", "pwc"]),
    help="html: a web site; md: leaderboard for a README; json: the same as data; pwc: the paper's table as it was "
    "given. [default: md; html for --out DIR]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write to a file instead of stdout; of a web site, the folder."
)
@results_option
def report(form: str | None, out: Path | None, results: Path | None) -> int:
    """Render records beside the published figures."""
    from bench.files import display, write_with
    from bench.published import figures
    from bench.record import read_all
    from bench.report import FORMATS

    folder = results_folder(results)
    stored, problems = read_all(folder)
    for problem in problems:
        click.echo(f"warning: skipped: {problem}", err=True)
    form = form or _form_of(out)
    if form == "html":
        return _write_site(out, stored, folder, problems)
    if out is not None and out.is_dir():
        raise click.UsageError(f"--out {out} is a folder; --format {form} writes a file")
    text = FORMATS[form](figures(), stored, folder)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_with(out, lambda stream: stream.write(text.encode()))
        click.echo(f"wrote {display(out)}", err=True)
    return 0


def _form_of(out: Path | None) -> str:
    """What is meant where no format is named: a site by a folder, else what the file's ending says."""
    if out is None:
        return "md"
    if out.is_dir() or out.suffix in ("", ".html"):
        return "html"
    return "json" if out.suffix == ".json" else "md"


def _write_site(out: Path | None, stored: Sequence[Stored], results: Path, problems: Sequence[str]) -> int:
    from bench.files import display
    from bench.published import figures
    from bench.site import write_site

    if out is None:
        raise click.UsageError("--format html writes a folder: name it with --out DIR")
    pages = write_site(out, figures(), stored, results, problems, lambda line: click.echo(f"warning: {line}", err=True))
    click.echo(f"wrote {display(out)}: {pages} pages, open {display(out / 'index.html')}", err=True)
    return 0
