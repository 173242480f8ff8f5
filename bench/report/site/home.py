"""Home: what the first screen shows: the best figures of each benchmark, a chart of them over time, and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.protocols import registry
from bench.report.site.benchmarks import Benchmark, counts
from bench.report.site.chart import Chart, Point, draw
from bench.report.site.content import Claim, Run
from bench.report.site.gallery import Example, Gallery
from bench.report.site.protocol_pages import about
from bench.report.site.ranking import Entry, best_first, best_of, direction, ranked
from bench.report.tables import UNKNOWN
from bench.scoring.metric_names import metric_name

TILES = 6
"""Benchmarks beside the first one whose best figures stand on the first screen."""
OF_A_KIND = 2
"""At most so many of them by one protocol."""
PICTURES = 3
"""Examples on the first screen."""
_CLUSTERS = re.compile(r"overclustering-\d+")
"""Protocols with more clusters than classes: their figures are no better for being higher."""
Line = tuple[float, float, float, float]


@dataclass(frozen=True)
class Best:
    """The best figure of its kind, and how it was counted."""

    entry: Entry
    protocol: str
    metric: str
    url: str
    """The page of its protocol and metric."""
    how: tuple[str, ...]
    """Sentences: what the protocol does, or how else the figure was counted; what the model started from; what makes
    it another count."""

    @property
    def otherwise(self) -> bool:
        """Whether it was not counted by the protocol itself."""
        return self.entry.aside

    @property
    def explained(self) -> str:
        """The page that explains its protocol; that of its figures where there is none."""
        found = about(self.protocol)
        return found.url if found else self.url

    @property
    def year(self) -> str:
        """Of publication, else of measurement; empty if unknown."""
        return self.entry.date[:4]


@dataclass(frozen=True)
class Headline:
    """A benchmark's best figures of models that saw no labels in any way."""

    benchmark: Benchmark
    metric: str
    rows: tuple[Entry, ...]
    """Every figure that they are the best of."""
    here: Best | None
    """The best that was counted by the protocol itself."""
    elsewhere: Best | None
    """A published one that is better, but was counted otherwise."""

    @property
    def first(self) -> Best:
        """The better of the two."""
        found = self.elsewhere or self.here
        assert found is not None
        return found


def headline(benchmark: Benchmark) -> Headline | None:
    """The best figures without any labels; None where a benchmark has none.

    Those of one metric, of protocols with as many clusters as classes: where there are none, of the first protocol
    that reads no labels.
    """
    rows = [
        entry
        for protocol, metrics in benchmark.metrics.items()
        for entry in benchmark.rows(protocol, metrics[0])
        if entry.unsupervised and (entry.published or not entry.context)
    ]
    alike = [entry for entry in rows if not _CLUSTERS.search(entry.protocol)]
    alike = alike or [entry for entry in rows if entry.protocol == rows[0].protocol]
    if not alike:
        return None
    metric = alike[0].metric
    order = best_first([entry for entry in alike if entry.metric == metric], metric)
    here, elsewhere = best_of(order, metric)
    return Headline(benchmark, metric, tuple(order), _best(benchmark, here), _best(benchmark, elsewhere))


def with_labels(benchmark: Benchmark) -> Best | None:
    """The best published figure of the protocol that reads labels and has most figures; None where no protocol does."""
    found: list[list[Entry]] = []
    for protocol, metrics in benchmark.metrics.items():
        rows = [entry for entry in benchmark.rows(protocol, metrics[0]) if entry.published]
        if rows and not rows[0].probe.startswith(("none", "not ")):
            found.append(best_first(rows, metrics[0]))
    return _best(benchmark, max(found, key=len)[0]) if found else None


def _best(benchmark: Benchmark, entry: Entry | None) -> Best | None:
    if entry is None:
        return None
    url = benchmark.page_of(entry.protocol, entry.metric)
    return Best(entry, entry.protocol, metric_name(entry.metric), url, _how(entry))


def _how(entry: Entry) -> tuple[str, ...]:
    """How a figure was counted, what its model started from, and, where that is another count, why; in sentences."""
    detail = "; ".join(entry.claim.figure.detail if entry.claim else ())
    started = entry.labels.initialisation
    starts = "" if started in ("-", UNKNOWN) else f"initialised with {started}"
    told: tuple[str, ...]
    if entry.aside:
        entries = f"with {' '.join(entry.entries)}" if entry.entries else ""
        told = (entries, detail, starts, entry.context)
    else:
        known = registry.parsed(entry.protocol)
        told = (registry.protocols()[known[0]].title if known else "", detail, starts)
    return tuple(said.rstrip(".") for said in told if said)


def tiles(found: Iterable[Headline]) -> list[Headline]:
    """Some further benchmarks, those with most such figures first, not all by one protocol."""
    taken: dict[str, int] = {}
    chosen = []
    for one in sorted(found, key=lambda one: -len(one.rows)):
        known = registry.parsed(one.first.protocol)
        kind = known[0] if known else one.first.protocol
        taken[kind] = taken.get(kind, 0) + 1
        if taken[kind] <= OF_A_KIND:
            chosen.append(one)
    return chosen[:TILES]


def chart_of(one: Headline) -> tuple[Chart, list[Line]] | None:
    """The chart of a headline's figures, and the running best of all of them, however they were counted; None where
    there are too few points for one."""
    chart = draw(ranked(one.rows, one.metric), one.metric)
    if chart is None or len(chart.points) < 3:
        return None
    chart = replace(chart, points=tuple(_fewer_names(chart.points)))
    sign = direction(one.metric)
    corners: list[tuple[float, float]] = []
    for point in sorted(chart.points, key=lambda point: (point.x, sign * point.y)):
        if not corners or sign * point.y < sign * corners[-1][1]:  # y counts downwards
            corners.append((point.x, point.y))
    return chart, list(_stairs(corners))


def _fewer_names(points: Sequence[Point]) -> Iterator[Point]:
    """The points without names that would lie on others in so small a chart: the highest keep theirs."""
    kept: list[Point] = []
    for point in sorted(
        (point for point in points if point.name), key=lambda point: (point.kind == "context", point.y)
    ):
        if not any(abs(point.x - other.x) < 35 and abs(point.y - other.y) < 9 for other in kept):
            kept.append(point)
    for point in points:
        yield point if point in kept else replace(point, name="")


def _stairs(corners: Sequence[tuple[float, float]]) -> Iterator[Line]:
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], (100.0, corners[-1][1])], strict=True):
        yield x1, y1, x2, y1
        if y1 != y2:
            yield x2, y1, x2, y2


def pictures(runs: Sequence[Run], galleries: dict[str, Gallery]) -> tuple[Run, list[Example]] | None:
    """A run with pictures, and some of them; None where no run has any. Real photos come before drawn shapes."""
    for run in sorted(runs, key=lambda run: (run.dataset == "shapes", bool(run.context))):
        gallery = galleries.get(run.path)
        found = [image for _, images in gallery.groups for image in images if image.prediction] if gallery else []
        if found:
            return run, list({image.id: image for image in found}.values())[:PICTURES]
    return None


def outcome_line(claims: Sequence[Claim]) -> list[tuple[str, int]]:
    """How many published figures had which outcome, without outcomes that none had."""
    return [(status, count) for status, count in counts(claims).items() if count]


def line_of(benchmark: Benchmark) -> dict[str, Any]:
    """A benchmark's row: its best figures, and a line for each of its protocols."""
    lines = benchmark.summary()
    measured = next((line for line in lines if line["measured"]), None)
    return {
        "benchmark": benchmark,
        "unsupervised": headline(benchmark),
        "labelled": with_labels(benchmark),
        "measured": measured["measured"] if measured else None,
        "instead": next((line["instead"] for line in lines if line["instead"]), ""),
        "lines": lines,
        "figures": sum(1 for entry in benchmark.entries if entry.published),
    }
