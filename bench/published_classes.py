"""Published figures of single classes: what a record's per-class IoU is shown beside."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from bench.catalogue import folder
from bench.errors import BadInput
from bench.record import Record


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
    names = [field.name.rstrip("_") for field in fields(PublishedClass)]
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != names:
                raise BadInput(f"{path}: the columns are {reader.fieldnames}", f"Expected are {names}.")
            return tuple(_entry(row, f"{path}:{reader.line_num}") for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read: {error}", "Restore it from the repository.") from error


def _entry(row: dict[str, str], where: str) -> PublishedClass:
    if None in row or None in row.values():
        raise BadInput(f"{where}: wrong number of columns")
    for column in ("dataset", "split", "protocol", "card", "class", "source"):
        if not row[column].strip():
            raise BadInput(f"{where}: {column} is empty")
    try:
        value = float(row["value"])
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise BadInput(f"{where}: value is '{row['value']}', not a number from 0 to 100")
    texts = {name: row[name] for name in ("dataset", "split", "protocol", "note", "source")}
    return PublishedClass(card=tuple(row["card"].split()), class_=row["class"], value=value, **texts)


@cache
def class_figures() -> tuple[PublishedClass, ...]:
    """The catalogue's published per-class figures."""
    return load(folder("results") / "published_per_class.csv")


def classes_of(record: Record) -> dict[str, PublishedClass]:
    """Class → the published figure that a record's model, data set, split and protocol answer to."""
    key = (record["dataset"]["id"], record["dataset"]["split"], record["protocol"]["id"])
    return {
        figure.class_: figure
        for figure in class_figures()
        if record["model"]["id"] in figure.card and (figure.dataset, figure.split, figure.protocol) == key
    }
