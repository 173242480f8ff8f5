"""What `bench reproduce` lists before anything is fetched or run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.console import echo, emit
from bench.cli.settings import echo_table, echo_wrapped
from bench.cli.sizes import duration, size

if TYPE_CHECKING:
    from bench.cli.reproduce_files import Files
    from bench.protocols.base import Settings
    from bench.reproduce.cost import Cost
    from bench.reproduce.papers import Paper
    from bench.reproduce.plan import Job, Row
    from bench.reproduce.supply import File, Need


def paper_entries() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The papers as `bench list papers` shows them."""
    from bench.reproduce.papers import papers
    from bench.reproduce.plan import Wanted, rows_of

    lines: list[tuple[str, ...]] = []
    for one in papers().values():
        able = sum(row.job is not None for row in rows_of(one, Wanted()))
        lines.append((one.id, str(len(one.figures)), str(able), str(len(one.cards)), one.arxiv or "-", one.title))
    return ("paper", "rows", "can run", "model cards", "arxiv", "title"), lines


def print_papers(as_json: bool) -> None:
    """Print all papers, those that can be run first."""
    head, lines = paper_entries()
    if as_json:
        from bench.records.record import dumps

        emit(dumps([dict(zip(head, line, strict=True)) for line in lines]))
        return
    echo_table([tuple(map(str.upper, head)), *sorted(lines, key=lambda line: -int(line[2]))])
    echo("`bench reproduce PAPER` lists what its rows need.", err=True)


@dataclass(frozen=True)
class Listing:
    """All that is known before anything is fetched."""

    paper: Paper
    rows: Sequence[Row]
    files: Mapping[Need, Sequence[File]]
    obstacles: Mapping[Need, str]
    """What can only be had by hand, and how."""
    costs: Mapping[Job, Cost | None]
    done: frozenset[Job]
    """Jobs of which there is a record that answers to every figure."""

    def why_not(self, row: Row) -> str:
        """Why a row cannot be run; empty where it can."""
        from bench.reproduce.supply import needs_of

        if row.job is None:
            return row.reason
        return next((self.obstacles[need] for need in needs_of(row.job) if need in self.obstacles), "")

    def numbers(self, need: Need) -> list[int]:
        """The rows that need a card."""
        from bench.reproduce.supply import needs_of

        return [row.number for row in self.rows if row.job and need in needs_of(row.job)]


def print_listing(
    paper: Paper, rows: Sequence[Row], files: Files, settings: Settings, results: Path, *, as_json: bool
) -> None:
    """Print rows, files with sizes and licences, room on the disk and time; nothing is fetched or run."""
    listing = _listing(paper, rows, files, settings, results)
    if as_json:
        from bench.records.record import dumps

        emit(dumps(_plain(listing)))
        return
    able = [row for row in rows if not listing.why_not(row)]
    about = f" (arXiv {paper.arxiv})" if paper.arxiv else ""
    echo_wrapped(f"{paper.title}{about}: {len(rows)} row{'s' if len(rows) != 1 else ''}, {len(able)} can be run")
    if able:
        _print_able(listing, able)
    if unable := [row for row in rows if row not in able]:
        _print_unable(listing, unable)
    if not able:
        return
    _print_files(listing)
    _print_sums(listing, files.cache)
    echo_wrapped(f"`bench reproduce {paper.id} --yes` accepts these licences, fetches what is missing, and runs.")


def _listing(paper: Paper, rows: Sequence[Row], files: Files, settings: Settings, results: Path) -> Listing:
    from bench.base.errors import BenchError
    from bench.cli.failures import in_one_line
    from bench.reproduce.cost import costs_of
    from bench.reproduce.plan import jobs_of
    from bench.reproduce.supply import needs_of
    from bench.reproduce.work import answered

    jobs = jobs_of(rows)
    found: dict[Need, Sequence[File]] = {}
    obstacles: dict[Need, str] = {}
    for need in dict.fromkeys(need for job in jobs for need in needs_of(job)):
        try:
            found[need] = files.files(need)
        except BenchError as error:
            obstacles[need] = in_one_line(error)
    able = [job for job in jobs if not any(need in obstacles for need in needs_of(job))]
    done = frozenset() if settings.limit else frozenset(answered(rows, results, settings.num_seeds))
    costs = costs_of([job for job in able if job not in done], settings, lambda line: echo(line, err=True))
    return Listing(paper, rows, found, obstacles, costs, done)


def _print_able(listing: Listing, rows: Sequence[Row]) -> None:
    from bench.records.published import points

    head = ("ROW", "DATA SET", "PROTOCOL", "PAPER", "MODEL", "TIME")
    lines = [
        (*_about(row), points(row.figure.value), row.job.model if row.job else "", _time(listing, row)) for row in rows
    ]
    echo()
    echo_table([head, *lines])


def _about(row: Row) -> tuple[str, str, str]:
    """A row's number, data set and protocol; a metric other than mIoU stands behind the protocol."""
    figure = row.figure
    protocol = figure.protocol if figure.metric == "mIoU" else f"{figure.protocol} {figure.metric}"
    return f"{row.number:>3}", f"{figure.dataset} {figure.split}", protocol


def _time(listing: Listing, row: Row) -> str:
    assert row.job is not None
    if row.job in listing.done:
        return "done"
    cost = listing.costs.get(row.job)
    if cost is None:
        return "?"
    return "shared" if cost.shared and not cost.seconds else duration(cost.seconds)


def _print_unable(listing: Listing, rows: Sequence[Row]) -> None:
    from bench.records.published import points

    reasons: dict[str, int] = {}
    lines = []
    for row in rows:
        note = reasons.setdefault(listing.why_not(row), len(reasons) + 1)
        lines.append((*_about(row), points(row.figure.value), f"{row.figure.model} [{note}]"))
    echo()
    echo_table([("ROW", "DATA SET", "PROTOCOL", "PAPER", "CANNOT BE RUN"), *lines])
    for reason, note in reasons.items():
        echo_wrapped(reason, f"[{note}] ")


def _print_files(listing: Listing) -> None:
    lines = [
        (
            file.name,
            size(file.bytes) if file.bytes is not None else "not known",
            file.status,
            _ranges(listing.numbers(n)),
        )
        for n, files in listing.files.items()
        for file in files
    ]
    if not lines:
        return
    echo()
    echo_table([("FILE", "SIZE", "STATUS", "FOR ROWS"), *lines])
    licences: dict[str, list[str]] = {}
    for files in listing.files.values():
        for file in files:
            licences.setdefault(file.licence, []).append(file.name)
    for licence, names in licences.items():
        echo_wrapped(f"{licence} ({', '.join(names)})", "licence: ")


def _print_sums(listing: Listing, cache: Path) -> None:
    missing = [file for files in listing.files.values() for file in files if not file.there]
    known = sum(file.bytes or 0 for file in missing)
    unknown = sum(file.bytes is None for file in missing)
    parts = [size(known)] * bool(known) + [f"{unknown} {'file' if unknown == 1 else 'files'} of unknown size"] * bool(
        unknown
    )
    text = " and ".join(parts) or "nothing"
    if any(file.unpack for file in missing):
        text += "; an archive takes as much again when it is unpacked"
    echo_wrapped(f"{text}; {size(_free(cache))} are free at {cache}", "to fetch: ")
    timed = [cost for cost in listing.costs.values() if cost is not None]
    if timed:
        seconds = sum(cost.seconds for cost in timed)
        more = "" if len(timed) == len(listing.costs) else ", and rows whose time is not known (?)"
        echo_wrapped(
            f"about {duration(seconds)} of the network here{more}; reading, clustering and counting come on top",
            "time: ",
        )


def _free(cache: Path) -> int:
    there = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _ranges(numbers: Sequence[int]) -> str:
    """`1-4, 7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _plain(listing: Listing) -> dict[str, Any]:
    """The listing as plain JSON values."""
    rows = []
    for row in listing.rows:
        keys = ("dataset", "split", "protocol", "metric", "value", "model", "backbone", "source")
        cost = listing.costs.get(row.job) if row.job else None
        said = {"row": row.number, **{key: getattr(row.figure, key) for key in keys}}
        said |= {"card": row.job.model if row.job else None, "cannot_run": listing.why_not(row) or None}
        rows.append(said | {"done": row.job in listing.done, "seconds": cost.seconds if cost else None})
    files = [asdict(file) | {"rows": listing.numbers(need)} for need, found in listing.files.items() for file in found]
    return {"paper": listing.paper.id, "title": listing.paper.title, "arxiv": listing.paper.arxiv, "rows": rows,
            "files": files}  # fmt: skip
