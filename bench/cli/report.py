"""`bench report`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import ids
from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import Place
from bench.cli.report_table import print_board
from bench.cli.settings import all_results_option, echo_remarks, echo_skipped, records_folders

if TYPE_CHECKING:
    from bench.records.folders import Folders
    from bench.records.published import Published
    from bench.records.record import Stored
    from bench.report.paper_rows import Columns
    from bench.report.selection import Selection

    Parts = tuple[Sequence[Published], Sequence[Stored], Folders]

_EPILOG = """
NAME is an id, a title, or a pattern, in capitals or not: DINO is that name alone, 'DINO*' all that begin with it.

\b
Examples:
  bench report --out site                            the web site
  bench report --dataset pascal-voc --metric mIoU    a part of it
  bench report --results ours --results theirs --own what two folders have
  bench report --model 'dino*' --rows metrics --format latex
"""


def _only(kind: str, help_: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    listed = ids(f"{kind}s", files=False) if kind in ("model", "dataset") else None
    return click.option(
        f"--{kind}", f"{kind}_names", multiple=True, metavar="NAME", shell_complete=listed, help=f"{help_} Repeatable."
    )


@click.command(epilog=_EPILOG)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json", "csv", "latex", "pwc", "badge"]),
    help="html: a web site. md: the leaderboard in Markdown. json, csv: the leaderboard as data. latex: the same "
    "as tables for booktabs. pwc: the paper's table as Papers with Code listed it. badge: JSON for the endpoint badge "
    "of shields.io. [default: by the ending of --out; html for a folder; else md, and at a terminal a table]",
)
@_only("model", "Only this model's rows: DINO is that one alone, 'DINO*' a pattern.")
@_only("dataset", "Only this data set's rows, or as ID-SPLIT this split's.")
@_only("protocol", "Only this protocol's rows.")
@_only("metric", "Only this metric's rows.")
@click.option(
    "--rows",
    type=click.Choice(["metrics", "datasets"]),
    help="With --format latex or md: tables for a paper, a row per model, with the metrics of a data set or the data "
    "sets of a metric as columns, and value ± deviation [interval] as cells.",
)
@click.option(
    "--digits",
    type=click.IntRange(0, 4),
    help="With --rows: decimals. [default: 1; a deviation below 0.05 has one more]",
)
@click.option("--own", is_flag=True, help="Leave the published figures out.")
@click.option(
    "--figure",
    metavar="RECORD[/METRIC]",
    help="With --format badge: the figure of this record, as MODEL/DATASET-SPLIT/PROTOCOL. [default: the number of "
    "reproduced figures]",
)
@click.option("--out", type=Place(writes=True), help="The file to write instead of stdout; for html, the folder.")
@all_results_option
def report(
    form: str | None,
    model_names: tuple[str, ...],
    dataset_names: tuple[str, ...],
    protocol_names: tuple[str, ...],
    metric_names: tuple[str, ...],
    rows: Columns | None,
    digits: int | None,
    own: bool,
    figure: str | None,
    out: Path | None,
    results: tuple[Path, ...],
) -> int:
    """Write the leaderboard: records beside the published figures."""
    at_terminal = form is None and out is None and rows is None and sys.stdout.isatty()
    form = form or _form_of(out)
    _require_sense(form, figure, own, rows, digits)
    _require_place(form, out)
    from bench.base.files import display, write_with
    from bench.report.formats import FORMATS, as_badge, as_rows
    from bench.report.selection import Selection

    names = {"model": model_names, "dataset": dataset_names, "protocol": protocol_names, "metric": metric_names}
    only = Selection(names, own)
    parts, skipped = _read(results, only, form)
    if form == "html":
        return _write_site(out, parts, skipped, only)
    if at_terminal:
        print_board(*parts, only)
        return 0
    if out is not None and out.is_dir():
        raise click.UsageError(f"--out {out} is a folder; --format {form} writes a file")
    if rows:
        text = as_rows(form, *parts, only, rows, digits)
    else:
        text = as_badge(*parts, figure=figure) if figure else FORMATS[form](*parts, only)
    if out is None:
        emit(text)
    else:
        write_with(out, lambda stream: stream.write(text.encode()))
        echo(f"wrote {display(out)}", err=True)
    return 0


def _require_sense(form: str, figure: str | None, own: bool, rows: str | None, digits: int | None) -> None:
    """Raises UsageError for options that have no meaning together."""
    if figure and form != "badge":
        raise click.UsageError("--figure is only for --format badge")
    if rows and form not in ("latex", "md"):
        raise click.UsageError(
            f"--rows and --format {form} exclude each other: --rows is only for --format latex and md"
        )
    if digits is not None and not rows:
        raise click.UsageError("--digits is only for --rows")
    if own and (form == "pwc" or (form == "badge" and not figure)):
        raise click.UsageError(f"--own leaves nothing of --format {form}, which counts published figures")


def _require_place(form: str, out: Path | None) -> None:
    """Raises UsageError for a site that would lie in a folder with the name of a file."""
    if form == "html" and out is not None and out.suffix.lower() in (".html", ".htm") and not out.is_dir():
        raise click.UsageError(f"--out {out}: a site is a folder; name one without {out.suffix}")


def _read(results: tuple[Path, ...], only: Selection, form: str) -> tuple[Parts, list[str]]:
    """What is to be written, and a line for each file that is no sound record."""
    from bench.records.audit import remarks, sound
    from bench.records.folders import read_folders
    from bench.records.published import figures

    folders = records_folders(results)
    found = read_folders(folders)
    stored, unsound = sound(found.stored)
    skipped = found.problems + unsound
    echo_skipped(skipped)
    echo_remarks(found.twice)
    chosen, own = only.of(figures(), stored)
    echo_remarks(remarks(own))
    if only.said and not chosen and not own:
        echo_warning(f"nothing is left: there is no figure of {only.said}")
    elif form == "pwc" and not any(figure.seed_table for figure in chosen):
        echo_warning(f"nothing is left: the paper's table has no figure of {only.said or 'this catalogue'}")
    return (chosen, own, folders), skipped


_ENDINGS = {".md": "md", ".json": "json", ".csv": "csv", ".tex": "latex"}


def _form_of(out: Path | None) -> str:
    """The format if none is named: html for a folder, else by the file's ending."""
    if out is None:
        return "md"
    if out.is_dir() or not out.suffix:
        return "html"
    if out.suffix.lower() in (".html", ".htm"):
        return "html"
    if out.suffix not in _ENDINGS:
        known = ", ".join(_ENDINGS)
        raise click.UsageError(f"--out {out}: name the format with --format; only {known} and folders need none")
    return _ENDINGS[out.suffix]


def _write_site(out: Path | None, parts: Parts, skipped: list[str], only: Selection) -> int:
    from bench.base.files import display
    from bench.report.site import write_site

    if out is None:
        raise click.UsageError("--format html writes a folder: name it with --out DIR")
    pages = write_site(out, *parts, skipped, echo_warning, only)
    echo(f"wrote {display(out)}: {pages} pages, open {display(out / 'index.html')}", err=True)
    return 0
