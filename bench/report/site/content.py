"""Content: the models, papers, runs and figures that the pages show, and how they refer to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from textwrap import shorten
from typing import Any

from bench.cards import catalogue
from bench.cards.models import DRAWN
from bench.protocols import registry
from bench.records.intervals import Interval
from bench.records.published import Published
from bench.records.published_names import is_label_free
from bench.records.record import SCORED, Record, Stored, other_precision, rows_path, shortfall
from bench.report.selection import EVERYTHING, Selection
from bench.report.site.changes import changes_in_words
from bench.report.site.names import date_text, hashed, slug
from bench.report.tables import UNKNOWN, unvouched
from bench.scoring import rows as rows_of
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.metric_names import metric_name, metric_order

MATRIX = 100
"""A confusion matrix of more classes than this is shown as its largest confusions."""


@dataclass(frozen=True)
class Labels:
    """Every label that had a part in a model's weights, by way of: its own training, initialisation, prior."""

    initialisation: str
    prior: str
    supervision: str

    @property
    def unsupervised(self) -> bool:
        """Whether it says plainly that there were none; a qualified "none" is none of these, but for drawn weights.

        Nor is one whose initialisation or prior is not known to have seen none.
        """
        said = self.supervision.strip().lower() in ("none", DRAWN.supervision)
        return said and is_label_free("init", self.initialisation) and is_label_free("prior", self.prior)


@dataclass(frozen=True)
class Paper:
    """A paper that figures or models come from."""

    title: str
    arxiv: str
    date: str
    """YYYY-MM or YYYY-MM-DD; empty if unknown."""

    @property
    def key(self) -> str:
        """What makes it one paper: its number on arXiv, else its title."""
        return self.arxiv or self.title

    @property
    def url(self) -> str:
        """Its page below the site's root."""
        return f"papers/{slug(self.key)}.html"


@dataclass(frozen=True)
class Model:
    """A model that has a figure. One with a card or a record is known by its id, another by what a paper calls it."""

    key: tuple[str, ...]
    title: str
    labels: Labels
    backbone: str
    paper: Paper | None
    images: str = UNKNOWN
    """The images that its weights have seen."""
    overlaps: Mapping[str, str] = field(default_factory=dict)
    """Data set, by id → what these images have to do with it."""

    @property
    def id(self) -> str | None:
        """The id of its card or records; None where only papers know it."""
        return self.key[1] if self.key[0] == "id" else None

    @property
    def url(self) -> str:
        """Its page below the site's root."""
        name = slug(self.id) if self.id else hashed(f"{self.title} {self.backbone}", *self.key)
        return f"models/{name}.html"


@dataclass(frozen=True)
class Run:
    """A record of our own, and where its pages are."""

    stored: Stored
    path: str
    """Where the record lies below the results folder; with that folder's name before it where there are several."""
    model: Model
    below: str
    """Where it lies below its own folder."""

    @property
    def record(self) -> Record:
        """The record."""
        return self.stored.record

    @property
    def dataset(self) -> str:
        """The data set's id."""
        return str(self.record["dataset"]["id"])

    @property
    def split(self) -> str:
        """The split."""
        return str(self.record["dataset"]["split"])

    @property
    def protocol(self) -> str:
        """The protocol's id."""
        return str(self.record["protocol"]["id"])

    @property
    def slug(self) -> str:
        """A name for its page, its pictures and its place on a page."""
        return slug(*self.path.removesuffix(".json").split("/"))

    @property
    def metrics(self) -> list[str]:
        """The metrics it has, the customary ones first."""
        return sorted(self.record["metrics"], key=metric_order)

    @property
    def created(self) -> str:
        """When it was made, ISO 8601; empty if unknown."""
        return str(self.record.get("created") or "")

    @property
    def unlabelled(self) -> bool:
        """Whether there were no labels, and so nothing to rank it by."""
        return self.protocol.endswith(registry.UNLABELLED) or self.record["dataset"].get("labelled") is False

    @property
    def context(self) -> str:
        """Why it is not ranked with others; empty if it is."""
        if lacking := shortfall(self.record) or "; ".join(self.stored.doubts):
            return lacking
        if other := other_precision(self.record):
            return other
        return self.modified if self.record["protocol"].get("modified") else ""

    @cached_property
    def modified(self) -> str:
        """How a modified run differs from the data set's own preset and seeds, as far as that is known."""
        said = "" if self.protocol.startswith(SCORED) else changes_in_words(self.record)
        return shorten(f"modified: {said or 'another preset or other seeds'}", 120, placeholder=" …")

    @cached_property
    def resampled(self) -> dict[str, Any]:
        """Metric → B×S values of its subsamples, percent; nothing where its rows have none."""
        if not any("interval" in measured for measured in self.record["metrics"].values()):
            return {}
        rows = rows_of.read(rows_path(self.stored))
        if not isinstance(rows, ConfusionRows) or rows.subsamples is None:
            return {}
        return rows.resampled(str(self.record["protocol"]["preset"].get("absent", "zero")))

    def context_of(self, metric: str) -> str:
        """Why a figure of it is not ranked with others; empty if it is."""
        return unvouched(metric_name(metric)) if metric in self.stored.claimed else self.context


@dataclass(frozen=True)
class Claim:
    """A published figure with what our records say of it."""

    figure: Published
    model: Model
    paper: Paper
    measured: float | None
    interval: Interval | None
    difference: float | None
    tolerance: float | None
    status: str
    reason: str
    run: Run | None


@dataclass(frozen=True)
class Site:
    """Everything that the pages show."""

    claims: tuple[Claim, ...]
    runs: tuple[Run, ...]
    skipped: tuple[str, ...]
    """A line for each file in the results folder that is no record."""
    models: dict[tuple[str, ...], Model]
    only: Selection = EVERYTHING
    """What the site is limited to."""

    @property
    def papers(self) -> list[Paper]:
        """The papers that figures or models come from, the oldest first."""
        found = {claim.paper.key: claim.paper for claim in reversed(self.claims)}
        for paper in [run.model.paper for run in self.runs] + [model.paper for model in self.models.values()]:
            if paper:
                found.setdefault(paper.key, paper)
        return sorted(found.values(), key=lambda paper: (paper.date or "9999", paper.key))

    @property
    def updated(self) -> str:
        """The day of the newest record; empty where there is none. (Never today: equal records give equal pages.)"""
        return max((date_text(run.created) for run in self.runs), default="")

    @cached_property
    def _runs_by_model(self) -> dict[tuple[str, ...], list[Run]]:
        found: dict[tuple[str, ...], list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.model.key, []).append(run)
        return found

    @cached_property
    def _claims_by_model(self) -> dict[tuple[str, ...], list[Claim]]:
        found: dict[tuple[str, ...], list[Claim]] = {}
        for claim in self.claims:
            keys: list[tuple[str, ...]] = [("id", identifier) for identifier in claim.figure.card]
            for key in dict.fromkeys(keys or [claim.model.key]):
                found.setdefault(key, []).append(claim)
        return found

    def claims_of(self, model: Model) -> list[Claim]:
        """The published figures that are a model's: those it answers to, or those under its name."""
        return self._claims_by_model.get(model.key, [])

    @cached_property
    def _namesakes(self) -> dict[tuple[str, str], list[Model]]:
        found: dict[tuple[str, str], list[Model]] = {}
        for model in self.models.values():
            found.setdefault((model.title.lower(), model.backbone), []).append(model)
        return found

    def namesakes_of(self, model: Model) -> list[Model]:
        """The other models of its name and backbone: of another card, or known by figures alone."""
        return [one for one in self._namesakes[model.title.lower(), model.backbone] if one.key != model.key]

    @cached_property
    def _claims_by_place(self) -> dict[tuple[str, str], list[Claim]]:
        found: dict[tuple[str, str], list[Claim]] = {}
        for claim in self.claims:
            found.setdefault((claim.figure.dataset, claim.figure.split), []).append(claim)
        return found

    def claims_on(self, dataset: str, split: str) -> list[Claim]:
        """The published figures of a data set's split."""
        return self._claims_by_place.get((dataset, split), [])

    @cached_property
    def _runs_by_place(self) -> dict[tuple[str, str], list[Run]]:
        found: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            found.setdefault((run.dataset, run.split), []).append(run)
        return found

    def runs_on(self, dataset: str, split: str) -> list[Run]:
        """The records of a data set's split."""
        return self._runs_by_place.get((dataset, split), [])

    def runs_of(self, model: Model) -> list[Run]:
        """A model's records, whole and unmodified ones first."""
        mine = self._runs_by_model.get(model.key, [])
        return sorted(mine, key=lambda run: (bool(run.context), run.dataset, registry.order(run.protocol), run.path))

    def is_crowded(self, model: Model) -> bool:
        """Whether a model's runs would make its page too large, and so have pages of their own."""
        return sum(_weight(run.record) for run in self._runs_by_model.get(model.key, [])) > _HEAVIEST

    @cached_property
    def _run_pages(self) -> dict[str, str]:
        crowded = {key for key in self._runs_by_model if self.is_crowded(self.models[key])}
        return {
            run.path: f"runs/{run.slug}.html" if run.model.key in crowded else f"{run.model.url}#{run.slug}"
            for run in self.runs
        }

    def url_of(self, run: Run) -> str:
        """Where a run's details are, below the site's root: on its model's page or on one of its own."""
        return self._run_pages[run.path]


_HEAVIEST = 500_000
"""A model's page holds its runs up to about so many bytes."""


def _weight(record: Record) -> int:
    """About how many bytes a run's details take: a table row per class, and a cell per pair of few classes."""
    classes = record.get("per_class")
    count = len(classes) if isinstance(classes, dict) else 0
    return 12_000 + 220 * count + (25 * count**2 if count <= MATRIX else 0)


def dataset_title(identifier: str, runs: Iterable[Run] = ()) -> str:
    """What a data set is called: by its card, else by a record of it."""
    card = catalogue.datasets().get(identifier)
    if card is not None:
        return card.title
    return next((str(run.record["dataset"].get("title") or identifier) for run in runs), identifier)
