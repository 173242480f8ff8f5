"""`bench report` at a terminal: the leaderboard as a table for each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.base.escaping import one_line
from bench.cli.console import echo
from bench.cli.settings import echo_table, echo_wrapped

if TYPE_CHECKING:
    from bench.records.folders import Folders
    from bench.records.published import Published
    from bench.records.record import Stored
    from bench.report.selection import Selection

_HEADS = ("PROTOCOL", "METRIC", "PUBLISHED", "MEASURED", "MODEL", "BACKBONE", "STATUS", "COUNTED")
_NONE = "–"


def print_board(figures: Sequence[Published], stored: Sequence[Stored], results: Folders, only: Selection) -> None:
    """Print published figures with what was measured of them, then what answers to none."""
    from bench.report.formats import leaderboard, sections_of
    from bench.report.tables import backbones_told

    board = leaderboard(figures, stored, results)
    for one in sections_of(board):
        echo(one_line(one["title"]))
        answered = {
            (line["protocol"], line["metric"], model, line["measured"])
            for line in one["published"]
            for model in line["card"]
        }
        backbones = backbones_told((line["model"], line["backbone"], line["init"]) for line in one["published"])
        rows = [_of_figure(line, backbones) for line in one["published"]]
        rows += [
            _of_record(line)
            for line in one["measured"]
            if (line["protocol"], line["metric"], line["model"], line["value"]) not in answered
        ]
        rows = [_HEADS, *rows]
        tells = any(row[-1] != _NONE for row in rows[1:])
        echo_table(rows if tells else [row[:-1] for row in rows])
        echo()
    counts = ", ".join(f"{count} {status}" for status, count in board["counts"].items())
    told = f"{len(board['published'])} published figures" + (f": {counts}" if counts else "")
    echo_wrapped(f"{told}. {len(stored)} records." + (f" Only {only.said}." if only.said else ""))
    echo_wrapped("--format md writes this as a document, --out DIR as a web site; --dataset and others take a part.")


def _of_figure(line: Mapping[str, Any], backbones: Mapping[tuple[str, str, str], str]) -> tuple[str, ...]:
    from bench.report.formats import way

    measured = _NONE if line["measured"] is None else f"{line['measured']:.2f}"
    model = line["model"], backbones[line["model"], line["backbone"], line["init"]]
    figure = line["protocol"], line["metric"], f"{line['value']:>9}", f"{measured:>8}"
    return *figure, *model, line["status"], way(line) or _NONE


def _of_record(line: Mapping[str, Any]) -> tuple[str, ...]:
    marks = [name for name in ("limited", "modified") if line[name]]
    marks += ["claimed"] * (line["claimed"] == "value") + ["in doubt"] * bool(line["doubts"])
    status = "measured" + (f" ({', '.join(marks)})" if marks else "")
    return (
        line["protocol"],
        line["metric"],
        f"{_NONE:>9}",
        f"{line['value']:8.2f}",
        line["model"],
        line["backbone"],
        status,
        _NONE,
    )
