"""The matrix: every model by every benchmark, the best figure in each cell with a link to its row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.protocols import registry
from bench.report.site.benchmarks import Benchmark
from bench.report.site.ranking import Entry, Ranked
from bench.scoring.metric_names import metric_name


@dataclass(frozen=True)
class Column:
    """A data set's split under a protocol, by its first metric."""

    dataset: str
    split: str
    protocol: str
    metric: str
    url: str
    unlabelled: bool
    """Whether the protocol itself reads no labels that figures stand on."""


@dataclass(frozen=True)
class Cell:
    """A model's best figure."""

    text: str
    url: str
    comparable: bool
    """Whether it is in its benchmark's main ranking."""


@dataclass(frozen=True)
class Row:
    """A model with its backbone and initialisation."""

    title: str
    url: str
    backbone: str
    initialisation: str
    unsupervised: bool
    """Whether its weights have seen no labels."""
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Matrix:
    """All of it."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


_Key = tuple[str, str, str, bool]


def matrix(benchmarks: Iterable[Benchmark]) -> Matrix:
    """Models in the order of their names, benchmarks in the order of the first page.

    A cell has the best comparable figure, else the best published one. A run of our own that stands for context, as
    one of a part of the images, has no cell.
    """
    columns: list[Column] = []
    found: dict[_Key, dict[int, Cell]] = {}
    models: dict[_Key, Entry] = {}
    for benchmark in benchmarks:
        for protocol, metrics in benchmark.metrics.items():
            url = benchmark.page_of(protocol, metrics[0])
            probe = registry.probe(protocol, {})
            place = (benchmark.title, benchmark.split, protocol, metric_name(metrics[0]), url)
            columns.append(Column(*place, probe.startswith("none")))
            for row in benchmark.ranked(protocol, metrics[0]):
                key = _key(row.entry)
                cells = found.setdefault(key, {})
                models.setdefault(key, row.entry)
                if row.entry.published or not row.entry.context:  # rows stand from the best down, comparable ones first
                    cells.setdefault(len(columns) - 1, _cell(row, url))
    order = sorted((key for key in found if found[key]), key=lambda key: (key[0].lower(), *key))
    rows = [
        Row(
            models[key].model.title,
            models[key].model.url,
            *key[1:],
            tuple(found[key].get(number) for number in range(len(columns))),
        )
        for key in order
    ]
    used = [number for number in range(len(columns)) if any(row.cells[number] for row in rows)]
    kept = [Row(*_told(row), tuple(row.cells[number] for number in used)) for row in rows]
    return Matrix(tuple(columns[number] for number in used), tuple(kept))


def _key(entry: Entry) -> _Key:
    return (entry.model.title, entry.model.backbone, entry.labels.initialisation, entry.labels.unsupervised)


def _told(row: Row) -> tuple[str, str, str, str, bool]:
    return (row.title, row.url, row.backbone, row.initialisation, row.unsupervised)


def _cell(row: Ranked, url: str) -> Cell:
    return Cell(row.entry.shown, f"{url}#row-{row.number}", not row.entry.aside)
