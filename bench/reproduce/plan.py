"""Plan: which rows of a paper's table are run, by which jobs, and why the others are not."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.base.errors import BenchError, WrongName, unknown_name
from bench.cards import catalogue
from bench.cards.presets import Preset, override
from bench.protocols import registry
from bench.records.published import Published
from bench.reproduce.papers import Paper


@dataclass(frozen=True)
class Job:
    """One run, which answers to one or several figures."""

    model: str
    dataset: str
    split: str
    protocol: str
    entries: str = "{}"
    """What the figures' count sets of the preset beyond the protocol's name, as JSON."""

    @property
    def what(self) -> str:
        """Model, data set, split and protocol, in words."""
        return f"{self.model} on {self.dataset} {self.split}, {self.protocol}"

    @property
    def settings(self) -> dict[str, Any]:
        """`entries`, read."""
        read: dict[str, Any] = json.loads(self.entries)
        return read

    def preset(self) -> Preset:
        """The data set's preset with the job's entries, as far as it is known before the model is read."""
        base, named = registry.parse(self.protocol)
        preset = catalogue.dataset(self.dataset).protocols.preset(base)
        if preset is None:
            raise WrongName(f"{self.dataset} has no preset for {base}", f"[protocols.{base}] in its card adds it.")
        return override(preset, named | self.settings)


@dataclass(frozen=True)
class Row:
    """A published figure, and the job that answers to it."""

    number: int
    figure: Published
    job: Job | None
    reason: str = ""
    """Why there is no job."""


@dataclass(frozen=True)
class Wanted:
    """Which rows are asked for; where a filter is empty, all."""

    rows: Collection[int] = ()
    models: Sequence[str] = ()
    """Ids of cards."""
    datasets: Sequence[str] = ()
    protocols: Sequence[str] = ()
    incomparable: bool = False
    """Whether rows whose figures are not comparable are run as well."""


def rows_of(paper: Paper, wanted: Wanted) -> list[Row]:
    """The rows that are asked for, in the table's order. Raises WrongName for a filter that nothing passes."""
    _require_known(paper, wanted)
    found = [
        _row(number, figure, wanted)
        for number, figure in paper.numbered().items()
        if (not wanted.rows or number in wanted.rows)
        and (not wanted.models or not set(wanted.models).isdisjoint(figure.card))
        and (not wanted.datasets or figure.dataset in wanted.datasets)
        and (not wanted.protocols or figure.protocol in wanted.protocols)
    ]
    if not found:
        raise WrongName(
            f"no row of {paper.id} passes all of these filters",
            f"Leave one out; `bench reproduce {paper.id}` lists the rows.",
        )
    return found


def jobs_of(rows: Sequence[Row]) -> list[Job]:
    """Each job once, model by model and data set by data set, so that runs which share passes stand together."""
    jobs = list(dict.fromkeys(row.job for row in rows if row.job is not None))
    models, data = ([*dict.fromkeys(job.model for job in jobs)], [*dict.fromkeys(job.dataset for job in jobs)])
    return sorted(jobs, key=lambda job: (models.index(job.model), data.index(job.dataset), job.split))


def _require_known(paper: Paper, wanted: Wanted) -> None:
    listing = f"bench reproduce {paper.id}"
    known: Mapping[str, tuple[Sequence[str], Collection[str]]] = {
        "model": (wanted.models, set(paper.cards)),
        "data set": (wanted.datasets, {figure.dataset for figure in paper.figures}),
        "protocol": (wanted.protocols, {figure.protocol for figure in paper.figures}),
    }
    for what, (names, there) in known.items():
        for name in names:
            if name not in there:
                raise unknown_name(f"{what} of {paper.id}", name, there, listing)
    if beyond := [number for number in wanted.rows if not 1 <= number <= len(paper.figures)]:
        raise WrongName(f"{paper.id} has no row {beyond[0]}", f"Its rows are 1 to {len(paper.figures)}: `{listing}`.")


def _row(number: int, figure: Published, wanted: Wanted) -> Row:
    if reason := _obstacle(figure, wanted):
        return Row(number, figure, None, reason)
    # of several models the last is the most finished: a released classifier needs no training
    model = next((card for card in reversed(figure.card) if card in wanted.models), figure.card[-1])
    entries = json.dumps(dict(figure.entries), sort_keys=True)
    job = Job(model, figure.dataset, figure.split, figure.protocol, entries)
    try:
        job.preset()
    except BenchError as error:
        return Row(number, figure, None, error.problem)
    return Row(number, figure, job)


def _obstacle(figure: Published, wanted: Wanted) -> str:
    """Why a figure cannot be run, as far as cards and protocols say; empty where they say nothing."""
    if not figure.card:
        return figure.note or "no checkpoint is known"
    if not figure.comparable and not wanted.incomparable:
        return f"not comparable: {figure.note} (--all runs it)"
    if unknown := [card for card in figure.card if card not in catalogue.models()]:
        return f"this version has no card of {unknown[0]}"
    if figure.dataset not in catalogue.datasets():
        return f"this version has no card of the data set {figure.dataset}"
    if figure.split not in catalogue.dataset(figure.dataset).splits:
        return f"the card of {figure.dataset} has no split {figure.split}"
    if registry.parsed(figure.protocol) is None:
        return f"this version has no protocol {figure.protocol}"
    return ""
