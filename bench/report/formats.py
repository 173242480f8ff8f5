"""Formats: records and published figures in the formats of `bench report`. Reads no model and no image."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from bench.base.escaping import csv_cell, latex_cell, markdown_cell, one_line
from bench.base.templating import environment as templates_of
from bench.protocols import registry
from bench.records.folders import Results
from bench.records.published import Published, entry_words
from bench.records.record import Stored, dumps
from bench.report.badge import count_badge, figure_badge
from bench.report.definitions import definition_of
from bench.report.paper_rows import Columns, paper_tables
from bench.report.selection import EVERYTHING, Selection
from bench.report.tables import RECORD_COLUMNS, joined, labels_seen, place_of, records_frame
from bench.scoring.metric_names import metric_meaning, metric_order

SEED_TASKS = ("Semantic Segmentation", "Unsupervised Semantic Segmentation", "10-shot image generation")
"""The tasks under which the archive lists the same eight figures; the third by an error of the archive."""

SEED_ROWS = (
    ("coco-stuff-81", "val", "clustering", "pixel_accuracy", 8.8, "COCO-Stuff-81", "Pixel Accuracy"),
    ("coco-stuff-81", "val", "clustering", "mIoU", 3.7, "COCO-Stuff-81", "mIoU"),
    ("imagenet-s-50", "test", "clustering", "mIoU", 24.2, "ImageNet-S-50", "mIoU (test)"),
    ("imagenet-s-50", "val", "clustering", "mIoU", 24.6, "ImageNet-S-50", "mIoU (val)"),
    ("pascal-voc", "val", "clustering", "mIoU", 44.2, "PASCAL VOC 2012 val", "Clustering [mIoU]"),
    ("pascal-voc", "val", "linear", "mIoU", 63.9, "PASCAL VOC 2012 val", "Linear Classifier [mIoU]"),
    ("pascal-voc", "val", "clustering", "mIoU", 35.0, "PASCAL VOC 2012 val", "Clustering [mIoU]"),
    ("pascal-voc", "val", "linear", "mIoU", 58.4, "PASCAL VOC 2012 val", "Linear Classifier [mIoU]"),
)
"""The order of the table as it was given: dataset, split, protocol, metric, value, and the names it used."""


def seed_table(figures: Sequence[Published], stored: Sequence[Stored]) -> list[dict[str, Any]]:
    """The given table, 24 lines in the given order, with measured value, difference and status beside each.

    A line whose figure is not among `figures` is left out.
    """
    table = joined([figure for figure in figures if figure.seed_table], stored)
    lines = []
    for task in SEED_TASKS:
        for dataset, split, protocol, metric, value, shown_dataset, shown_metric in SEED_ROWS:
            keys = {"dataset": dataset, "split": split, "protocol": protocol, "metric": metric, "value": value}
            found = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)] if len(table) else table
            shown = {"task": task, "shown_dataset": shown_dataset, "shown_metric": shown_metric}
            lines += [shown | _plain(row) for _, row in found.head(1).iterrows()]
    return lines


def leaderboard(figures: Sequence[Published], stored: Sequence[Stored], results: Results) -> dict[str, Any]:
    """All that the formats render: published figures with their outcomes, and every record of our own."""
    published = [_plain(row) for _, row in joined(figures, stored).iterrows()]
    measured = [_plain(row) for _, row in records_frame(stored, results).iterrows()]
    counts = pd.Series([line["status"] for line in published]).value_counts()
    return {"published": published, "measured": measured, "counts": {str(k): int(v) for k, v in counts.items()}}


def _plain(row: pd.Series[Any]) -> dict[str, Any]:
    """A table's row as plain JSON values; what is missing is None."""
    plain = {}
    for key, value in row.items():
        if key == "record":
            continue
        missing = not isinstance(value, (tuple, list)) and pd.isna(value)
        plain[str(key)] = None if missing else list(value) if isinstance(value, tuple) else value
    return plain


def render(name: str, cell: Callable[[object], str], missing: str = "–", **context: Any) -> str:
    """Render a text template; `cell` escapes text for its format. (Pages for browsers are another matter.)"""
    environment = templates_of("report/templates", escape=False)
    environment.filters["cell"] = cell
    environment.filters["line"] = one_line
    environment.filters["way"] = way
    environment.filters["labels"] = labels_seen
    environment.filters["points"] = lambda value: missing if value is None else f"{value:.2f}"
    environment.filters["signed"] = lambda value: missing if value is None else f"{value:+.2f}"
    return environment.get_template(name).render(**context)


def way(line: Mapping[str, Any]) -> str:
    """How a published figure was counted, beyond its protocol's name, and whether it was read in a quotation."""
    words = [" ".join(entry_words(line["entries"])), *line["detail"], "read in a quotation" * line["second_hand"]]
    return "; ".join(filter(None, words))


def sections_of(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The leaderboard by data set and split, in the order in which they come; each by protocol and metric."""
    sections: dict[tuple[str, str], dict[str, Any]] = {}
    for kind in ("published", "measured"):
        for line in board[kind]:
            key = (line["dataset"], line["split"])
            one = sections.setdefault(key, {"title": " ".join(key), "published": [], "measured": [], "overlaps": {}})
            one[kind].append(line)
            if line["overlap"]:
                one["overlaps"][line["title" if kind == "measured" else "model"], line["overlap"]] = None
    for one in sections.values():
        for kind in ("published", "measured"):
            one[kind].sort(key=lambda line: (registry.order(line["protocol"]), metric_order(line["metric"])))
    return list(sections.values())


def as_markdown(
    figures: Sequence[Published], stored: Sequence[Stored], results: Results, only: Selection = EVERYTHING
) -> str:
    """The leaderboard as Markdown tables, with notes that say how each figure is counted."""
    board = leaderboard(figures, stored, results)
    lines = {place_of(entry, results): definition_of(entry.record).line for entry in stored}
    notes: dict[str, int] = {}
    for line in board["measured"]:
        line["note"] = notes.setdefault(lines[line["path"]], len(notes) + 1)
    metrics = sorted({line["metric"] for line in board["measured"]}, key=metric_order)
    meanings = [(metric, metric_meaning(metric)) for metric in metrics]
    known: dict[str, Any] = {"notes": notes, "meanings": meanings, "only": only.said}
    return render("leaderboard.md.j2", markdown_cell, **board, **known, sections=sections_of(board))


def as_json(
    figures: Sequence[Published], stored: Sequence[Stored], results: Results, only: Selection = EVERYTHING
) -> str:
    """The leaderboard as JSON: `published`, `measured` and `counts` of outcomes."""
    return dumps(leaderboard(figures, stored, results))


def as_csv(
    figures: Sequence[Published], stored: Sequence[Stored], results: Results, only: Selection = EVERYTHING
) -> str:
    """The leaderboard as one CSV table, UTF-8 with a header, figures in full precision.

    The column `kind` says whether a line is a published figure (`value` is the published one) or a record of our own.
    An apostrophe stands before text that a spreadsheet would take for a formula.
    """
    board = leaderboard(figures, stored, results)
    lines = [{"kind": kind} | line for kind in ("published", "measured") for line in board[kind]]
    columns = {"kind": None} | dict.fromkeys([*_columns(Published, _OUTCOME), *RECORD_COLUMNS])
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({key: csv_cell(_flat(key, value)) for key, value in line.items()})
    return stream.getvalue()


_OUTCOME = ("measured", "low", "high", "difference", "tolerance", "status", "reason")


def _columns(kind: type[Any], more: Sequence[str]) -> list[str]:
    return [*(field.name for field in fields(kind)), *more]


def _flat(key: str, value: Any) -> Any:
    """A value in one cell, lists and entries as results/published.csv has them."""
    if isinstance(value, dict):
        return " ".join(entry_words(value))
    return ("; " if key == "detail" else " ").join(map(str, value)) if isinstance(value, (list, tuple)) else value


def as_latex(
    figures: Sequence[Published], stored: Sequence[Stored], results: Results, only: Selection = EVERYTHING
) -> str:
    """The leaderboard as LaTeX tables for booktabs, one of each kind per data set and split."""
    board = leaderboard(figures, stored, results)
    return render("leaderboard.tex.j2", latex_cell, "--", sections=sections_of(board), only=only.said)


def as_rows(
    form: str,
    figures: Sequence[Published],
    stored: Sequence[Stored],
    results: Results,
    only: Selection = EVERYTHING,
    columns: Columns = "metrics",
    digits: int | None = None,
) -> str:
    """Tables as papers print them, in the format `latex` or `md`: `bench.report.paper_rows`."""
    tables = paper_tables(figures, stored, results, columns, digits)
    template, cell = ("rows.tex.j2", latex_cell) if form == "latex" else ("rows.md.j2", markdown_cell)
    return render(template, cell, tables=tables, only=only.said)


def as_pwc(
    figures: Sequence[Published], stored: Sequence[Stored], results: Results, only: Selection = EVERYTHING
) -> str:
    """The table that this project set out to reproduce, line by line as it was given."""
    return render("pwc.md.j2", markdown_cell, lines=seed_table(figures, stored))


def as_badge(
    figures: Sequence[Published],
    stored: Sequence[Stored],
    results: Results,
    only: Selection = EVERYTHING,
    figure: str | None = None,
) -> str:
    """A badge for shields.io's endpoint: one record's `figure`, else how many published figures are reproduced."""
    if figure is None:
        return dumps(count_badge(figures, stored, only.said))
    return dumps(figure_badge(figures, stored, results, figure))


FORMATS: dict[str, Callable[[Sequence[Published], Sequence[Stored], Results, Selection], str]] = {
    "md": as_markdown,
    "json": as_json,
    "csv": as_csv,
    "latex": as_latex,
    "pwc": as_pwc,
    "badge": as_badge,
}
