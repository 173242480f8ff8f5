"""Published figures of single classes, which are shown beside a record's IoU of each class."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from bench.base.folders import folder
from bench.records.published import answers
from bench.records.published_rows import percentage, read_rows, require_filled
from bench.records.record import Record


@dataclass(frozen=True)
class PublishedClass:
    """One line of results/published_per_class.csv."""

    dataset: str
    split: str
    protocol: str
    card: tuple[str, ...]
    """Ids of the model cards that answer to this figure."""
    class_: str
    """The class's name on the data set's card."""
    value: float
    """IoU, percent."""
    note: str
    source: str


def load(path: Path) -> tuple[PublishedClass, ...]:
    """Read and validate a CSV of published per-class figures. Raises BadInput naming file, line and column."""
    return read_rows(path, [field.name.rstrip("_") for field in fields(PublishedClass)], _entry)


def _entry(row: dict[str, str], where: str) -> PublishedClass:
    require_filled(row, ("dataset", "split", "protocol", "card", "class", "source"), where)
    value = percentage(row, where)
    texts = {name: row[name] for name in ("dataset", "split", "protocol", "note", "source")}
    return PublishedClass(card=tuple(row["card"].split()), class_=row["class"], value=value, **texts)


@cache
def class_figures() -> tuple[PublishedClass, ...]:
    """The catalogue's published per-class figures."""
    return load(folder("results") / "published_per_class.csv")


def classes_of(record: Record) -> dict[str, PublishedClass]:
    """Class → the published figure that a record answers to."""
    return {figure.class_: figure for figure in class_figures() if answers(record, figure)}
