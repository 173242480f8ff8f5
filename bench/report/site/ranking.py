"""Ranking: the rows of a benchmark that are ranked, their order, and their ties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.protocols import registry
from bench.records.intervals import Interval
from bench.records.lineage import overlap_of, overlap_of_figure
from bench.records.published import ROUNDING, Published, entry_words
from bench.report.site.content import Claim, Labels, Model, Paper, Run, Site
from bench.report.site.names import date_text, points
from bench.report.tables import probe_of, probe_of_figure, shown_interval
from bench.scoring.metric_names import FALLING, metric_order
from bench.scoring.subsamples import of_two


def direction(metric: str) -> int:
    """1 for a metric of which more is better, -1 for one of which less is."""
    return -1 if metric in FALLING else 1


@dataclass(frozen=True)
class Entry:
    """A row: a published figure with what was measured of it, or a run that answers to none."""

    model: Model
    protocol: str
    metric: str
    value: float
    """What it is ranked by: the published value, where there is one, else the measured one."""
    interval: Interval | None
    """Of what was measured."""
    labels: Labels
    probe: str
    """Which labels the protocol itself read, in words."""
    paper: Paper | None
    date: str
    """Of publication, else of measurement; empty if neither is known."""
    others: dict[str, float]
    """The row's values in other metrics."""
    context: str
    """Why it is not ranked; empty if it is."""
    claim: Claim | None = None
    run: Run | None = None
    overlap: str = ""
    """What the images that the weights have seen have to do with the data set; empty if nothing is known of it."""

    @property
    def published(self) -> bool:
        """Whether somebody else claims the value."""
        return self.claim is not None

    @property
    def entries(self) -> tuple[str, ...]:
        """What a published figure's count sets of the preset, as `key=value`; nothing where it is the preset's own."""
        return entry_words(self.claim.figure.entries) if self.claim else ()

    @property
    def aside(self) -> bool:
        """Whether it is not in the main ranking: it stands for context, or was counted with other entries."""
        return bool(self.context or self.entries)

    @property
    def unsupervised(self) -> bool:
        """Whether neither the weights nor the protocol's own probe have seen labels."""
        return self.labels.unsupervised and self.probe.startswith("none")

    @property
    def shown(self) -> str:
        """Its value as pages show it: as it was published, or with two decimals."""
        return points(self.value) if self.published else f"{self.value:.2f}"

    @property
    def measured(self) -> float | None:
        """What this program measured, if it did."""
        return self.claim.measured if self.claim else self.value

    @property
    def counts(self) -> bool:
        """Whether what was measured may stand for the protocol: it is there, whole and unmodified."""
        fits = self.claim is None or self.claim.status != "not comparable"
        return self.measured is not None and fits and not self.context


@dataclass(frozen=True)
class Ranked:
    """An entry and its place: `1`, `2=` where it is shared, empty for context."""

    entry: Entry
    rank: str
    number: int
    """Of the row on its page, from 0."""


def entries_of(site: Site, dataset: str, split: str) -> list[Entry]:
    """All rows of a benchmark, every protocol and metric; a run without labels has none."""
    claims = site.claims_on(dataset, split)
    together: dict[tuple[object, ...], list[Published]] = {}
    for claim in claims:
        together.setdefault(_row_of(claim.figure), []).append(claim.figure)
    rows = [_of_claim(claim, together[_row_of(claim.figure)]) for claim in claims]
    answered = {(claim.run.path, claim.figure.metric) for claim in claims if claim.run}
    for run in site.runs_on(dataset, split):
        if not run.unlabelled:
            rows += [_of_run(run, metric) for metric in run.metrics if (run.path, metric) not in answered]
    return rows


def _of_claim(claim: Claim, row: Sequence[Published]) -> Entry:
    figure = claim.figure
    return Entry(
        model=claim.model if claim.model.id is None else _as_published(claim),
        protocol=figure.protocol,
        metric=figure.metric,
        value=figure.value,
        interval=claim.interval,
        labels=Labels(figure.init, figure.prior, figure.supervision),
        probe=probe_of_figure(figure),
        paper=claim.paper,
        date=figure.date,
        others={other.metric: other.value for other in row if other.metric != figure.metric},
        context="" if figure.comparable else figure.note,
        claim=claim,
        run=claim.run,
        overlap=overlap_of_figure(figure),
    )


def _row_of(figure: Published) -> tuple[object, ...]:
    """What the metrics of one model in one table of a paper share."""
    counted = (figure.protocol, entry_words(figure.entries), figure.detail)
    return (figure.model, figure.backbone, figure.init, figure.arxiv, *counted)


def _as_published(claim: Claim) -> Model:
    """The model under the name that the figure has it by, which may tell more than the card's title."""
    model, figure = claim.model, claim.figure
    return Model(model.key, figure.model, model.labels, figure.backbone, model.paper)


def _of_run(run: Run, metric: str) -> Entry:
    measured = run.record["metrics"][metric]
    return Entry(
        model=run.model,
        protocol=run.protocol,
        metric=metric,
        value=float(measured["value"]),
        interval=shown_interval(run.stored, metric),
        labels=run.model.labels,
        probe=probe_of(run.record),
        paper=run.model.paper,
        date=date_text(run.created),
        others={
            name: float(run.record["metrics"][name]["value"])
            for name in run.metrics
            if name != metric and name not in run.stored.claimed
        },
        context=run.context_of(metric),
        run=run,
        overlap=overlap_of(run.record),
    )


def pages_of(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Protocol → its metrics, both in the order in which readers get them."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        found.setdefault(entry.protocol, set()).add(entry.metric)
    return {protocol: sorted(found[protocol], key=metric_order) for protocol in sorted(found, key=registry.order)}


def ranked(entries: Sequence[Entry], metric: str) -> list[Ranked]:
    """The comparable rows from the best down with their ranks, then those that stand for context.

    Figures are ranked against those that were counted with the same entries, the preset's own first. Rows share a rank
    with the best of them that they do not differ from: both rows' errors count. A published value that nobody measured
    again has only the error of its rounding.
    """
    rows = best_first(entries, metric)
    counts: dict[tuple[str, ...], list[Entry]] = {}
    for entry in rows:
        if not entry.context:
            counts.setdefault(entry.entries, []).append(entry)
    named = [place for words in sorted(counts) for place in _places(counts[words])]
    named += [(entry, "") for entry in rows if entry.context]
    return [Ranked(entry, rank, number) for number, (entry, rank) in enumerate(named)]


def _places(comparable: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """Rows from the best down, each with its rank."""
    places: list[tuple[int, Entry]] = []
    leader: Entry | None = None
    for number, entry in enumerate(comparable, start=1):
        if leader is None or not _tied(leader, entry):
            leader, place = entry, number
        places.append((place, entry))
    shared = Counter(place for place, _ in places)
    return [(entry, f"{place}=" if shared[place] > 1 else str(place)) for place, entry in places]


def best_first(entries: Sequence[Entry], metric: str) -> list[Entry]:
    """Entries by value, the best first; equal ones by date and name."""
    sign = direction(metric)
    return sorted(
        entries, key=lambda entry: (-sign * entry.value, entry.date or "9999", entry.model.title, entry.model.key)
    )


def best_of(entries: Sequence[Entry], metric: str) -> tuple[Entry | None, Entry | None]:
    """The best that was counted by the protocol itself, and a published one that is better, but was counted otherwise.

    A run of our own that stands for context, as one of a part of the images, is neither.
    """
    order = best_first([entry for entry in entries if entry.published or not entry.aside], metric)
    here = next((entry for entry in order if not entry.aside), None)
    first = order[0] if order and order[0].aside else None
    sign = direction(metric)
    if here and first and sign * here.value >= sign * first.value:
        first = None
    return here, first


def _tied(leader: Entry, entry: Entry) -> bool:
    """Whether two values lie no further apart than their errors and rounding allow, as two models' own would."""
    errors = of_two(_error(leader), _error(entry))
    rounding = sum(ROUNDING for one in (leader, entry) if one.claim)
    return abs(leader.value - entry.value) <= errors.points + rounding


def _error(entry: Entry) -> float:
    """Standard error, in points, of the value that is ranked; 0 where it is another's and was not measured again."""
    fits = entry.claim is None or entry.claim.status == "reproduced"
    return entry.interval.error if fits and entry.interval else 0.0
