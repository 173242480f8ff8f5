"""Benchmarks: a data set's split with all its rows and pages, its best figures, and the order of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from bench.report.site.content import Claim, Run, Site, dataset_title
from bench.report.site.names import metric_slug, slug
from bench.report.site.ranking import Entry, Ranked, best_first, direction, entries_of, pages_of, ranked
from bench.scoring.metric_names import metric_name

OUTCOMES = ("reproduced", "below", "above", "can be run here", "no weights to run", "not comparable")
"""What becomes of published figures: as `bench check` has it, but of those not run it says which can be."""
UNLABELLED = "without-labels"
"""Where on a page the runs stand that had no labels."""


class Benchmark:
    """A data set's split: all its rows, and the page of each protocol and metric."""

    def __init__(self, site: Site, dataset: str, split: str) -> None:
        self.dataset, self.split = dataset, split
        self.title = dataset_title(dataset, (run for run in site.runs if run.dataset == dataset))
        self.entries = entries_of(site, dataset, split)
        self._ranked: dict[tuple[str, str], list[Ranked]] = {}
        self.metrics = pages_of(self.entries)
        self.unlabelled = [run for run in site.runs if run.unlabelled and (run.dataset, run.split) == (dataset, split)]
        self._first = next(((protocol, metrics[0]) for protocol, metrics in self.metrics.items()), ("", ""))

    @property
    def url(self) -> str:
        """Its first page."""
        return f"benchmarks/{slug(self.dataset, self.split)}.html"

    @property
    def unlabelled_url(self) -> str:
        """The list of its runs without labels, which have nothing that could be ranked."""
        return f"{self.url}#{UNLABELLED}"

    def page_of(self, protocol: str, metric: str) -> str:
        """The page of a protocol and a metric, the first one with the shortest name; the list of a protocol without
        labels, which has no rows."""
        if protocol not in self.metrics:
            return self.unlabelled_url
        if (protocol, metric) == self._first:
            return self.url
        return f"benchmarks/{slug(self.dataset, self.split, protocol)}--{metric_slug(metric)}.html"

    @cached_property
    def _by_page(self) -> dict[tuple[str, str], list[Entry]]:
        found: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            found.setdefault((entry.protocol, entry.metric), []).append(entry)
        return found

    def rows(self, protocol: str, metric: str) -> list[Entry]:
        """The rows of a page."""
        return self._by_page.get((protocol, metric), [])

    def ranked(self, protocol: str, metric: str) -> list[Ranked]:
        """The rows of a page in the order and with the numbers that they have there."""
        if (protocol, metric) not in self._ranked:
            self._ranked[protocol, metric] = ranked(self.rows(protocol, metric), metric)
        return self._ranked[protocol, metric]

    def summary(self) -> list[dict[str, Any]]:
        """A line for each protocol: the best figures, or why there is none, and what became of the published ones."""
        return [self._line(protocol, metrics[0]) for protocol, metrics in self.metrics.items()]

    def _line(self, protocol: str, metric: str) -> dict[str, Any]:
        rows = best_first(self.rows(protocol, metric), metric)
        main = [entry for entry in rows if not entry.aside]
        sign = direction(metric)
        measured = [(sign * entry.measured, entry) for entry in main if entry.counts and entry.measured is not None]
        return {
            "url": self.page_of(protocol, metric),
            "protocol": protocol,
            "metric": metric_name(metric),
            "published": next((entry for entry in main if entry.published), None),
            "measured": max(measured, key=itemgetter(0), default=(0.0, None))[1],
            "instead": _instead([entry.run for entry in rows if entry.run]),
            "counts": counts([entry.claim for entry in self.entries if entry.protocol == protocol and entry.claim]),
        }


def _instead(runs: Sequence[Run]) -> str:
    """What there is instead of runs that count."""
    limited = [bool(run.record["dataset"]["limited"]) for run in runs]
    doubtful = any(run.stored.doubts for run in runs)
    kinds = ["limited runs"] * any(limited) + ["modified runs"] * (not all(limited) and not doubtful)
    kinds += ["runs in doubt"] * doubtful
    return f"{' and '.join(kinds)} only" if kinds else ""


def counts(claims: Sequence[Claim]) -> dict[str, int]:
    """How many published figures had which outcome."""
    found = Counter(_outcome(claim) for claim in claims)
    return {outcome: found[outcome] for outcome in OUTCOMES}


def _outcome(claim: Claim) -> str:
    if claim.status != "not run":
        return claim.status
    return "can be run here" if claim.figure.card else "no weights to run"


def benchmarks_of(site: Site) -> dict[tuple[str, str], Benchmark]:
    """All benchmarks by data set and split: those of the table that this project set out to reproduce first, then
    others with published figures, both in the order in which those are listed, then the rest by name."""
    claims = sorted(site.claims, key=lambda claim: not claim.figure.seed_table)
    published = list(dict.fromkeys((claim.figure.dataset, claim.figure.split) for claim in claims))
    datasets = list(dict.fromkeys(dataset for dataset, _ in published))
    every = [Benchmark(site, *key) for key in {*published, *((run.dataset, run.split) for run in site.runs)}]

    def order(one: Benchmark) -> tuple[object, ...]:
        key = (one.dataset, one.split)
        place = datasets.index(one.dataset) if one.dataset in datasets else len(datasets)
        split = published.index(key) if key in published else len(published)
        return place, one.title.lower(), one.dataset, split, one.split

    # a run without any figure is on its model's page only
    found = [one for one in every if one.entries or one.unlabelled]
    return {(one.dataset, one.split): one for one in sorted(found, key=order)}
