"""Paper rows: tables as papers print them, a row per model, with `value ± spread [interval]` in each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bench.base.escaping import one_line
from bench.base.folders import LOCAL
from bench.protocols import registry
from bench.records.folders import Results
from bench.records.intervals import SAMPLES
from bench.records.published import Published, entry_words
from bench.records.record import Stored, other_precision, precision_of, shortfall
from bench.report.definitions import definition_of
from bench.report.tables import backbone_of, backbones_told, claims_of, place_of, shown_interval
from bench.scoring.metric_names import metric_name, metric_order

Columns = Literal["metrics", "datasets"]
"""What stands in the columns: metrics of one data set and protocol, or data sets of one protocol and metric."""
Place = tuple[str, ...]
PUBLISHED, OTHERWISE = "†", "‡"
"""Signs of a figure that was read in its source, and of one that was counted in another way besides."""


@dataclass(frozen=True)
class Source:
    """Where a published figure stands, and what differs; figures of one source share a number."""

    sign: str
    text: str
    number: int = 0


@dataclass(frozen=True)
class Cell:
    """A figure, rounded as it is printed."""

    value: str
    spread: str = ""
    low: str = ""
    high: str = ""
    images_only: bool = False
    """Whether its interval is over images alone in a table that has others too."""
    claimed: bool = False
    source: Source | None = None
    """Of a published figure."""


@dataclass(eq=False)
class Line:
    """A row."""

    model: str
    backbone: str
    counted: str = ""
    """How its figures were counted, beyond the protocol's name; of records that would else be equal, their names."""
    cells: dict[Place, Cell] = field(default_factory=dict)
    cards: frozenset[str] = frozenset()
    """Ids of the models that it is of."""
    records: dict[str, None] = field(default_factory=dict)
    """Names of the records that it is of, in their order."""
    source: Source | None = None
    """Of all its figures; None where they have several, or where cells tell it."""


@dataclass
class Table:
    """A table and what is to be known of it."""

    title: str
    heads: list[tuple[Place, str]]
    lines: list[Line]
    notes: list[str]
    sources: list[Source]
    """In the order of their numbers."""
    counts: bool
    """Whether rows tell how they were counted, because some would else be equal."""


def paper_tables(
    figures: Sequence[Published], stored: Sequence[Stored], results: Results, columns: Columns, digits: int | None
) -> list[Table]:
    """The tables, by data set and protocol or by protocol and metric. `digits` are decimals; None is one, and one
    more for a spread that would be 0.
    """
    parts: dict[Place, tuple[list[Published], list[tuple[Stored, str]]]] = {}
    for figure in figures:
        split = _split(columns, figure.dataset, figure.split, figure.protocol, figure.metric)
        parts.setdefault(split[0], ([], []))[0].append(figure)
    for entry in stored:
        for metric in entry.record["metrics"]:
            parts.setdefault(_split_of(columns, entry, metric)[0], ([], []))[1].append((entry, metric))
    return [_table(key, *parts[key], results, columns, digits) for key in sorted(parts, key=_order(columns))]


def _split(columns: Columns, dataset: str, split: str, protocol: str, metric: str) -> tuple[Place, Place]:
    """Which table a figure stands in, and in which column."""
    if columns == "metrics":
        return (dataset, split, protocol), (metric,)
    return (protocol, metric), (dataset, split)


def _split_of(columns: Columns, entry: Stored, metric: str) -> tuple[Place, Place]:
    dataset = entry.record["dataset"]
    return _split(columns, dataset["id"], dataset["split"], entry.record["protocol"]["id"], metric)


def _order(columns: Columns) -> Any:
    if columns == "metrics":
        return lambda key: (*key[:2], registry.order(key[2]))
    return lambda key: (registry.order(key[0]), metric_order(key[1]))


def _table(
    key: Place,
    figures: Sequence[Published],
    measured: Sequence[tuple[Stored, str]],
    results: Results,
    columns: Columns,
    digits: int | None,
) -> Table:
    own = _own_lines(measured, results, columns, digits)
    published = _published_lines(figures, columns, 1 if digits is None else digits)
    lines: list[Line] = []
    for line in own:
        beside = [other for other in published if other.cards & line.cards and other not in lines]
        lines += [line, *beside]
    lines += [line for line in published if line not in lines]
    counts = _told_apart_by_count(lines)
    sources = _numbered(lines, on_rows=columns == "metrics", counts=counts)
    places = {place for line in lines for place in line.cells}
    if columns == "metrics":
        heads = [(place, metric_name(place[0])) for place in sorted(places, key=lambda place: metric_order(place[0]))]
        title = f"{key[0]} {key[1]}, {key[2]}"
    else:
        heads = [(place, " ".join(place)) for place in sorted(places)]
        title = f"{key[0]}, {metric_name(key[1])}"
    return Table(title, heads, lines, [*_notes(measured), *_signs(sources)], sources, counts)


def _own_lines(
    measured: Sequence[tuple[Stored, str]], results: Results, columns: Columns, digits: int | None
) -> list[Line]:
    """A line per record; of several data sets, per model of one folder, and one more where it has two of a kind."""
    kinds = {interval.covers == SAMPLES for one in measured if (interval := shown_interval(*one))}
    found: dict[Place, list[Line]] = {}
    for entry, metric in measured:
        record, path = entry.record, place_of(entry, results)
        folder = path if columns == "metrics" else path.rsplit("/", 2)[0].removeprefix(f"{LOCAL}/")
        model = record["model"]
        shown = one_line(model.get("title") or model["id"]) + _marks(entry)
        lines = found.setdefault((shown.lower(), str(model["id"]), folder), [])
        column = _split_of(columns, entry, metric)[1]
        line = next((line for line in lines if column not in line.cells), None)
        if line is None:
            line = Line(shown, backbone_of(record), cards=frozenset([model["id"]]))
            lines.append(line)
        line.cells[column] = _cell(entry, metric, digits, mixed=len(kinds) > 1)
        line.records[path.removesuffix(".json")] = None
    lines = [line for key in sorted(found) for line in found[key]]
    named = Counter((line.model, line.backbone) for line in lines)
    for line in lines:
        if named[line.model, line.backbone] > 1:
            line.counted = f"record {', '.join(line.records)}"
    return lines


def _marks(entry: Stored) -> str:
    """What a row must say of its run."""
    record = entry.record
    said = ["limited"] * bool(shortfall(record)) + ["modified"] * bool(record["protocol"].get("modified"))
    said += [precision_of(record)] * bool(other_precision(record)) + ["in doubt"] * bool(entry.doubts)
    return f" ({', '.join(said)})" if said else ""


def _cell(entry: Stored, metric: str, digits: int | None, *, mixed: bool) -> Cell:
    measured = entry.record["metrics"][metric]
    spread, interval = measured.get("std"), shown_interval(entry, metric)
    places = 1 if digits is None else digits
    more = int(digits is None and spread is not None and 0 < spread < 0.05)  # no run is shown to be without spread
    return Cell(
        f"{measured['value']:.{places}f}",
        "" if spread is None else f"{spread:.{places + more}f}",
        f"{interval.low:.{places}f}" if interval else "",
        f"{interval.high:.{places}f}" if interval else "",
        mixed and interval is not None and interval.covers != SAMPLES,
        claims_of(entry, metric) == "value",
    )


def _published_lines(figures: Sequence[Published], columns: Columns, digits: int) -> list[Line]:
    """A line per model and count of a paper, the oldest first; memories and the like from small to large."""
    found: dict[tuple[Any, ...], list[Line]] = {}
    backbones = backbones_told((figure.model, figure.backbone, figure.init) for figure in figures)
    for figure in figures:
        model = (figure.date or "9999", figure.model, figure.backbone, figure.init, figure.supervision)
        count = (_in_order(figure.entries), figure.detail)
        lines = found.setdefault((*model, figure.arxiv or figure.paper, *count), [])
        column = _split(columns, figure.dataset, figure.split, figure.protocol, figure.metric)[1]
        line = next((line for line in lines if column not in line.cells), None)
        if line is None:
            backbone = backbones[figure.model, figure.backbone, figure.init]
            counted = "; ".join(filter(None, (" ".join(entry_words(figure.entries)), *figure.detail)))
            line = Line(figure.model, backbone, counted, cards=frozenset(figure.card))
            lines.append(line)
        value = max(f"{figure.value:.{digits}f}", f"{figure.value}", key=len)
        line.cells[column] = Cell(value, source=_source_of(figure))
    return [line for key in sorted(found) for line in found[key]]


def _in_order(entries: Mapping[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """Entries as a key that sorts numbers by their size."""
    numbers = {key: value for key, value in entries.items() if isinstance(value, (int, float))}
    return tuple((key, float(numbers.get(key, -1)), *entry_words({key: entries[key]})) for key in sorted(entries))


def _source_of(figure: Published) -> Source:
    arxiv = f"arXiv {figure.arxiv}" if figure.arxiv and figure.arxiv not in figure.source else ""
    where = ", ".join(filter(None, (figure.paper, arxiv, figure.source)))
    why = "" if figure.comparable else one_line(figure.note)
    text = "; ".join(filter(None, (where, "read in a quotation" * figure.second_hand, why)))
    return Source(PUBLISHED if figure.comparable else OTHERWISE, text)


def _told_apart_by_count(lines: Sequence[Line]) -> bool:
    counts: dict[Place, set[str]] = {}
    for line in lines:
        counts.setdefault((line.model, line.backbone), set()).add(line.counted)
    return any(len(several) > 1 for several in counts.values())


def _numbered(lines: Sequence[Line], *, on_rows: bool, counts: bool) -> list[Source]:
    """The sources, numbered as they come, and set in their cells; on a row of one source instead if `on_rows`.

    They tell the count where rows do not, as `counts` has it.
    """
    known: dict[Source, Source] = {}
    for line in lines:
        for place, cell in line.cells.items():
            if cell.source is None:
                continue
            text = cell.source.text if counts else "; ".join(filter(None, (cell.source.text, line.counted)))
            own = replace(cell.source, text=text)
            numbered = known.setdefault(own, replace(own, number=len(known) + 1))
            line.cells[place] = replace(cell, source=numbered)
        shared = {cell.source for cell in line.cells.values()}
        if on_rows and len(shared) == 1:
            (line.source,) = shared
            line.cells = {place: replace(cell, source=None) for place, cell in line.cells.items()}
    return list(known.values())


# --- notes ---


def _notes(measured: Sequence[tuple[Stored, str]]) -> list[str]:
    """What ± and the brackets are, and how the figures are counted."""
    seeds = {
        len(entry.record["seeds"])
        for entry, metric in measured
        if entry.record["metrics"][metric].get("std") is not None
    }
    notes = [f"± is the standard deviation over {_either(seeds)} seeds."] if seeds else []
    covers = sorted(
        {interval.covers for one in measured if (interval := shown_interval(*one))},
        key=lambda what: (what != SAMPLES, what),
    )
    for what in covers:
        mark = " marked *" if what != SAMPLES and SAMPLES in covers else ""
        whole = "new samples of as many images and new seeds, clustered again" if what == SAMPLES else f"other {what}"
        notes.append(f"[low, high]{mark} is the 95 % interval of the mean for {whole}.")
    return notes + sorted({f"Counted here: {definition_of(entry.record).line}" for entry, _ in measured})


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _signs(sources: Sequence[Source]) -> list[str]:
    """What the signs of published figures mean."""
    meanings = {PUBLISHED: "published", OTHERWISE: "published, not to be compared"}
    used = [sign for sign in meanings if any(source.sign == sign for source in sources)]
    return [f"{sign} is {meanings[sign]}; the number is that of the source." for sign in used]
