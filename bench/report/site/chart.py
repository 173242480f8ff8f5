"""Charts: a metric over publication date, as positions in percent of the plot's width and height.

The templates draw them as SVG whose coordinates are percentages, so one drawing fits every screen, follows the page's
colours, prints, and is there without JavaScript; its points are links and so reachable by keyboard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import accumulate

from bench.report.site.dodge import MONTH, spread
from bench.report.site.names import day, points
from bench.report.site.ranking import Entry, Ranked, direction

_LABELLED = 24
"""Names beside points are cut to so many characters; tooltips and table have them whole."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str
    minor: bool = False
    """Whether a narrow screen leaves it out."""


@dataclass(frozen=True)
class Point:
    """A value at a date: `published`, `measured` or `context`."""

    kind: str
    x: float
    y: float
    row: int
    """The row of the table that says all of it, from 0."""
    value: float
    what: str
    """What is said of it to those who do not see it."""
    hollow: bool = False
    """Whether it stands for context, though measured."""
    low: float | None = None
    """Where the whisker ends, percent of the height."""
    high: float | None = None
    beside: float | None = None
    """Where the published value of a measured one lies, percent of the height."""
    name: str = ""
    """Written beside the point; empty where there is no room for it."""
    left: bool = False
    """Whether the name stands to the left of the point."""


@dataclass(frozen=True)
class Chart:
    """All that is drawn."""

    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]
    best: tuple[tuple[float, float, float, float], ...]
    """The running best as horizontal and vertical pieces: x1, y1, x2, y2."""
    undated: int
    """How many rows have no date and so no point."""


@dataclass(frozen=True)
class _Scale:
    first: float
    last: float

    def __call__(self, value: float) -> float:
        return round(100 * (value - self.first) / (self.last - self.first), 2)


def draw(rows: Sequence[Ranked], metric: str) -> Chart | None:
    """The chart of a benchmark's rows; None where no row has a date."""
    dated = [(number, row.entry, when) for number, row in enumerate(rows) if (when := day(row.entry.date))]
    if not dated:
        return None
    days = [when.toordinal() for _, _, when in dated]
    slack = max(60.0, 0.04 * (max(days) - min(days)))
    x = _Scale(min(days) - slack, max(days) + slack)
    values = [value for _, entry, _ in dated for value in _extent(entry)]
    y, y_ticks = _value_axis(min(values), max(values))
    beside = spread([(x(when.toordinal()), y(entry.value)) for _, entry, when in dated], x(x.first + MONTH))
    drawn = [
        point
        for (number, entry, _), at in zip(dated, beside, strict=True)
        for point in _points_of(number, entry, at, y)
    ]
    places = dict(zip((id(entry) for _, entry, _ in dated), beside, strict=True))
    leaders = _leaders([(entry, when) for _, entry, when in dated if not entry.aside], metric)
    others = _leaders([(entry, when) for _, entry, when in dated if entry.aside], metric)
    ends = accumulate((places[id(entry)] for entry, _ in leaders), max)
    best = _stairs([(at, y(entry.value)) for at, (entry, _) in zip(ends, leaders, strict=True)])
    named = _name(drawn, leaders, others, rows)
    return Chart(_date_axis(x), y_ticks, tuple(named), best, len(rows) - len(dated))


def _extent(entry: Entry) -> list[float]:
    ends = (entry.interval.low, entry.interval.high) if entry.interval else ()
    bounds = (entry.value, entry.measured, *ends)
    return [value for value in bounds if value is not None]


def _points_of(number: int, entry: Entry, at: float, y: _Scale) -> list[Point]:
    """A published figure's point and, apart from it, that of what was measured."""

    def told(value: str, how: str) -> str:
        return f"{entry.model.title}: {value} {how}, {entry.date}"

    found = []
    if entry.published:
        found.append(
            Point(
                kind="context" if entry.aside else "published",
                x=at,
                y=y(entry.value),
                row=number,
                value=entry.value,
                what=told(points(entry.value), "published, counted otherwise" if entry.aside else "published"),
            )
        )
    if entry.measured is not None:
        found.append(
            Point(
                kind="measured",
                x=at,
                y=y(entry.measured),
                row=number,
                value=entry.measured,
                what=told(f"{entry.measured:.2f}", "measured" if entry.counts else "measured, counted otherwise"),
                hollow=not entry.counts,
                low=y(entry.interval.low) if entry.interval else None,
                high=y(entry.interval.high) if entry.interval else None,
                beside=y(entry.value) if entry.published else None,
            )
        )
    return found


def _value_axis(low: float, high: float) -> tuple[_Scale, tuple[Tick, ...]]:
    """A scale from one round number to another that leaves some room, with about six ticks."""
    room = 0.06 * (high - low) or 1.0
    start, end = (low if low < room else low - room), high + room
    start = 0.0 if 0 <= low < 0.4 * high else start
    raw = (end - start) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first, last = math.floor(start / step), math.ceil(end / step)
    if high <= 100 < last * step:
        last = max(first + 1, math.floor(100 / step + 1e-9))
    flipped = _Scale(last * step, first * step)
    return flipped, tuple(Tick(flipped(n * step), f"{n * step:g}") for n in range(first, last + 1))


def _date_axis(x: _Scale) -> tuple[Tick, ...]:
    """A tick at the start of each year, or of each quarter where there are few years."""
    first, last = (date.fromordinal(min(max(1, round(end)), date.max.toordinal())) for end in (x.first, x.last))
    years = last.year - first.year
    months = (1,) if years > 3 else (1, 7) if years > 1 else (1, 4, 7, 10)
    step = max(1, math.ceil(years / 8))
    marks = [
        date(year, month, 1)
        for year in range(first.year, last.year + 1)
        if (year - first.year) % step == 0
        for month in months
    ]
    shown = [mark for mark in marks if x.first <= mark.toordinal() <= x.last]
    return tuple(
        Tick(x(mark.toordinal()), str(mark.year) if mark.month == 1 else f"{mark:%Y-%m}", mark.month != 1)
        for mark in shown
    )


def _leaders(rows: Sequence[tuple[Entry, date]], metric: str) -> list[tuple[Entry, date]]:
    """The rows that were better than all before them, in order of date."""
    sign = direction(metric)
    found: list[tuple[Entry, date]] = []
    for entry, when in sorted(rows, key=lambda row: (row[1], -sign * row[0].value)):
        if not found or sign * entry.value > sign * found[-1][0].value:
            found.append((entry, when))
    return found


def _stairs(corners: Sequence[tuple[float, float]]) -> tuple[tuple[float, float, float, float], ...]:
    pieces = []
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], (100.0, corners[-1][1])] if corners else [], strict=True):
        pieces.append((x1, y1, x2, y1))
        if y1 != y2:
            pieces.append((x2, y1, x2, y2))
    return tuple(pieces)


def _name(
    drawn: Sequence[Point],
    leaders: Sequence[tuple[Entry, date]],
    others: Sequence[tuple[Entry, date]],
    rows: Sequence[Ranked],
) -> list[Point]:
    """Put names beside the points that were the best of their time, where no other name is near.

    Those of the running best come first; one that stands for context needs a place without other points, too.
    """
    order = {id(entry): number for number, (entry, _) in enumerate([*leaders, *others])}
    taken: list[tuple[float, float]] = []
    names: dict[int, str] = {}
    for point in sorted(drawn, key=lambda point: order.get(id(rows[point.row].entry), len(order))):
        entry = rows[point.row].entry
        main = (point.kind == "measured") != entry.published
        if not main or id(entry) not in order or any(abs(point.x - x) < 12 and abs(point.y - y) < 7 for x, y in taken):
            continue
        if order[id(entry)] < len(leaders) or not any(_under_name(other, point) for other in drawn):
            taken.append((point.x, point.y))
            title = entry.model.title
            names[id(point)] = title if len(title) <= _LABELLED else title[: _LABELLED - 1].rstrip() + "…"
    return [replace(point, name=names.get(id(point), ""), left=_is_left(point)) for point in drawn]


def _is_left(point: Point) -> bool:
    """Whether a point's name stands to its left, where there is more room."""
    return point.x > 60


def _under_name(other: Point, point: Point) -> bool:
    """Whether another point lies where a point's name would stand."""
    aside = (point.x - other.x) if _is_left(point) else (other.x - point.x)
    return other.row != point.row and 0 <= aside < 12 and 0 <= point.y - other.y < 6
