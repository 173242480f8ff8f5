"""`bench reproduce`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import ids, paper_rows, papers, protocols
from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import BatchSize, Deliberate, Place
from bench.cli.settings import WIDTH, cache_option, data_root_option, data_roots, results_folder, results_option

if TYPE_CHECKING:
    from bench.cli.reproduce_files import Files
    from bench.protocols.base import Settings
    from bench.reproduce.answers import Answer
    from bench.reproduce.papers import Paper
    from bench.reproduce.plan import Row
    from bench.reproduce.work import Means

_EPILOG = """\b
Examples:
  bench reproduce                      the papers
  bench reproduce maskcontrast         rows, files, sizes, licences, time
  bench reproduce maskcontrast --yes   fetch, run, compare; ends with the table
  bench reproduce maskcontrast --yes --row 1 --row 3 --out table.md

Break it off, and the same command goes on: files, passes and records that are there are used. What fails ends its own
rows; the table says what is missing. --yes accepts the licences that the listing names.

Exit code: 0 if every comparable row that can be run is reproduced, 1 if one is not, 2 for a wrong name, 3 or 4 if
nothing could be run.
"""


@click.command(epilog=_EPILOG)
@click.argument("name", metavar="[PAPER]", required=False, shell_complete=papers)
@click.option(
    "--yes", "-y", cls=Deliberate, is_flag=True, help="Fetch the files under the licences that are listed, and run."
)
@click.option(
    "--row", "rows", multiple=True, type=click.IntRange(1), metavar="N", shell_complete=paper_rows,
    help="Only this row, by its number in the listing. Repeatable.",
)  # fmt: skip
@click.option("--model", "models", multiple=True, shell_complete=ids("models", files=False), metavar="ID",
              help="Only rows that this model card answers to. Repeatable.")  # fmt: skip
@click.option("--dataset", "datasets", multiple=True, shell_complete=ids("datasets", files=False), metavar="ID",
              help="Only rows on this data set. Repeatable.")  # fmt: skip
@click.option("--protocol", "protocols", multiple=True, shell_complete=protocols, metavar="ID",
              help="Only rows of this protocol. Repeatable.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Run rows whose published figures are not comparable as well.")
@click.option("--refuse", "refused", multiple=True, metavar="LICENCE",
              help="Fetch nothing under this licence; NC stands for CC BY-NC 4.0 too. Repeatable.")  # fmt: skip
@click.option("--offline", is_flag=True, envvar="BENCH_OFFLINE", help="Use no network.")
@click.option("--limit", type=click.IntRange(1, 10**9),
              help="Try it out on the first N images. Such rows are not compared.")  # fmt: skip
@click.option("--num-seeds", type=click.IntRange(1, 10_000), help="Number of seeds. [default: the preset's]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--batch-size", type=BatchSize(), metavar="N|auto", help="Images per batch.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Loader threads.")
@click.option("--out", type=Place(folder=False, writes=True), metavar="FILE",
              help="Write the table as Markdown as well.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the listing, or with --yes the outcomes, as JSON.")
@data_root_option
@results_option
@cache_option
def reproduce(
    name: str | None,
    yes: bool,
    rows: tuple[int, ...],
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    everything: bool,
    refused: tuple[str, ...],
    offline: bool,
    out: Path | None,
    as_json: bool,
    data_root: tuple[str, ...],
    results: Path | None,
    **options: Any,
) -> int:
    """Reproduce a paper's table: list what its rows need, or with --yes fetch, run and compare them.

    PAPER is an id or an arXiv number. Without PAPER it lists the papers.
    """
    from bench.base.files import cache_folder
    from bench.cli.reproduce_files import Files
    from bench.cli.reproduce_listing import print_listing, print_papers
    from bench.reproduce.papers import paper
    from bench.reproduce.plan import Wanted, rows_of

    if name is None:
        if yes:
            raise click.UsageError("--yes needs the name of a paper")
        print_papers(as_json)
        return 0
    if out is not None and not yes:
        raise click.UsageError("--out is for the table, which --yes ends with")
    chosen = paper(name)
    wanted = Wanted(rows, models, datasets, protocols, everything)
    found = rows_of(chosen, wanted)
    roots = data_roots(data_root)
    files = Files(cache_folder(options["cache"]), roots, offline, refused)
    settings = _settings(roots, options)
    if not yes:
        print_listing(chosen, found, files, settings(""), results_folder(results), as_json=as_json)
        return 0
    return _reproduce(chosen, found, _means(files, settings, results), out, as_json)


def _settings(roots: dict[str, Path], options: dict[str, Any]) -> Callable[[str], Settings]:
    """How to run on a data set, by its id."""
    from bench.protocols.base import Settings

    return lambda dataset: Settings(data_root=roots.get(dataset, roots.get("")), warn=echo_warning, **options)


def _means(files: Files, settings: Callable[[str], Settings], results: Path | None) -> Means:
    from bench.base.folders import default_records
    from bench.reproduce.work import Means

    def tell(line: str) -> None:
        echo(line, err=True)

    return Means(files, settings, results_folder(results), results or default_records(), tell)


def _reproduce(paper: Paper, rows: Sequence[Row], means: Means, out: Path | None, as_json: bool) -> int:
    from dataclasses import replace

    from bench.base.errors import BadInput
    from bench.base.files import display, write_with
    from bench.cli.failures import in_one_line
    from bench.cli.progress import progress_bar
    from bench.reproduce.answers import answers, verdict
    from bench.reproduce.table import as_markdown, as_text
    from bench.reproduce.work import work

    if not any(row.job for row in rows):
        raise BadInput(
            f"no row of {paper.id} can be run here: {rows[0].reason}",
            f"`bench reproduce {paper.id}` says why for each row.",
        )
    settings = means.settings
    with progress_bar() as progress:
        done = work(rows, replace(means, settings=lambda name: replace(settings(name), progress=progress)))
    found = answers(rows, done, in_one_line, lambda stored: display(stored.path))
    passed, line = verdict(found)
    if out is not None:
        text = as_markdown(paper, found)
        write_with(out, lambda stream: stream.write(text.encode()))
    if as_json:
        from bench.records.record import dumps

        rows_said = [answer.as_json() for answer in found]
        emit(dumps({"paper": paper.id, "passed": passed, "summary": line, "rows": rows_said}))
    else:
        echo(as_text(paper, found, max(WIDTH, shutil.get_terminal_size().columns)))
        echo(f"\n{'passed' if passed else 'FAILED'}: {line}")
    if out is not None:
        echo(f"table: {display(out)}", err=True)
    return _code(found, passed)


def _code(found: Sequence[Answer], passed: bool) -> int:
    """0 or 1; where nothing could be run, that of the gravest error."""
    from bench.cli.failures import code_and_message

    errors = [answer.error for answer in found if answer.error is not None]
    if errors and not any(answer.record for answer in found):
        return max(code_and_message(error)[0] for error in errors)
    return 0 if passed else 1
