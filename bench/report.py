"""Reports: records and published figures, rendered. Reads records only, never a model or an image."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.frame import joined, records_frame
from bench.published import Published
from bench.record import Stored

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
    """The given table, 24 lines in the given order, with measured value, difference and status beside each."""
    table = joined([figure for figure in figures if figure.seed_table], stored)
    lines = []
    for task in SEED_TASKS:
        for dataset, split, protocol, metric, value, shown_dataset, shown_metric in SEED_ROWS:
            keys = {"dataset": dataset, "split": split, "protocol": protocol, "metric": metric, "value": value}
            row = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)].iloc[0]
            lines.append({"task": task, "shown_dataset": shown_dataset, "shown_metric": shown_metric} | _plain(row))
    return lines


def leaderboard(figures: Sequence[Published], stored: Sequence[Stored], results: Path) -> dict[str, Any]:
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


def _render(name: str, **context: Any) -> str:
    """Render a text template. (Pages for browsers are another matter: those are escaped.)"""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = markdown_cell
    environment.filters["points"] = lambda value: "–" if value is None else f"{value:.2f}"
    environment.filters["signed"] = lambda value: "–" if value is None else f"{value:+.2f}"
    return environment.get_template(name).render(**context)


def markdown_cell(value: object) -> str:
    """A value that cannot break out of its cell, whatever a card or record has in it."""
    text = " ".join(str(value).split())
    for sign in "\\|<>`*_[]":
        text = text.replace(sign, "\\" + sign)
    return text


def as_markdown(figures: Sequence[Published], stored: Sequence[Stored], results: Path) -> str:
    """The leaderboard as Markdown tables."""
    return _render("leaderboard.md.j2", **leaderboard(figures, stored, results))


def as_json(figures: Sequence[Published], stored: Sequence[Stored], results: Path) -> str:
    """The leaderboard as JSON: `published`, `measured` and `counts` of outcomes."""
    return json.dumps(leaderboard(figures, stored, results), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_pwc(figures: Sequence[Published], stored: Sequence[Stored], results: Path) -> str:
    """The table that this project set out to reproduce, line by line as it was given."""
    return _render("pwc.md.j2", lines=seed_table(figures, stored))


FORMATS: dict[str, Callable[[Sequence[Published], Sequence[Stored], Path], str]] = {
    "md": as_markdown,
    "json": as_json,
    "pwc": as_pwc,
}
