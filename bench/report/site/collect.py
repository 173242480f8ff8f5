"""Collect: records and published figures put together as models, papers and benchmarks that refer to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.cards import catalogue
from bench.cards.backbone_names import backbone_name
from bench.records.folders import Results, as_folders
from bench.records.lineage import images_of, overlaps_of
from bench.records.published import Published
from bench.records.record import Stored
from bench.report.selection import EVERYTHING, Selection
from bench.report.site.content import Claim, Labels, Model, Paper, Run, Site
from bench.report.site.names import date_text
from bench.report.tables import UNKNOWN, joined, shown_interval

_LONGEST = 1000
"""Characters of a name that stands on many pages."""


def collect(
    figures: Sequence[Published],
    stored: Sequence[Stored],
    results: Results,
    skipped: Sequence[str],
    only: Selection = EVERYTHING,
) -> Site:
    """Put published figures and the records below `results` together."""
    runs = {entry.path: _run(entry, results) for entry in stored}
    claims = [_claim(row, runs) for row in joined(figures, stored).to_dict("records")]
    # of several records of a model the newest whole one knows best what it is called
    models = {
        run.model.key: run.model
        for run in sorted(runs.values(), key=lambda run: (not run.context, run.created, run.path))
    }
    for claim in claims:
        for identifier in claim.figure.card:
            models.setdefault(("id", identifier), _model_of_card(identifier, claim))
        models.setdefault(claim.model.key, claim.model)
    # a record or a card names its model better than a figure does, which may be of a method that only uses it
    claims = [replace(claim, model=models[claim.model.key]) for claim in claims]
    order = sorted(models, key=lambda key: (models[key].title.lower(), key))
    return Site(tuple(claims), tuple(runs.values()), tuple(skipped), {key: models[key] for key in order}, only)


def _run(entry: Stored, results: Results) -> Run:
    model = entry.record["model"]
    card = catalogue.models().get(model["id"])
    made = Model(
        ("id", model["id"]),
        str(model.get("title") or model["id"]),
        Labels(
            str(model.get("initialisation") or UNKNOWN), str(model.get("prior") or UNKNOWN), str(model["supervision"])
        ),
        _backbone(_network_of(model) or (card.backbone if card else "")),
        _paper_of(model.get("paper")),
        images_of(entry.record),
        overlaps_of(entry.record),
    )
    folders = as_folders(results)
    return Run(entry, folders.place(entry.path), made, folders.below(entry.path))


def _network_of(model: Mapping[str, Any]) -> object:
    """What a record calls its model's network: this program's own architecture, or one of another library."""
    shape, network = model.get("architecture"), model.get("network")
    own = shape.get("backbone") if isinstance(shape, dict) else None
    return own or (network.get("name") if isinstance(network, dict) else None)


def _backbone(name: object) -> str:
    return backbone_name(str(name or UNKNOWN)[:_LONGEST])


def _paper_of(entry: Any) -> Paper | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("title"), str) or not entry["title"].strip():
        return None
    return Paper(entry["title"][:_LONGEST], str(entry.get("arxiv") or "")[:_LONGEST], date_text(entry.get("date")))


def _model_of_card(identifier: str, claim: Claim) -> Model:
    """The model of a card that has a published figure and no record yet."""
    card = catalogue.models().get(identifier)
    if card is None:
        return replace(claim.model, key=("id", identifier))
    training = card.training
    return Model(
        ("id", identifier),
        card.title,
        Labels(training.initialisation, training.prior, training.supervision),
        _backbone(card.backbone),
        _paper_of(card.paper.model_dump()) if card.paper else None,
        training.images,
        training.overlaps,
    )


def _claim(row: dict[Any, Any], runs: dict[Path, Run]) -> Claim:
    figure = Published(**{name: row[name] for name in Published.__dataclass_fields__})
    paper = Paper(figure.paper or figure.source, figure.arxiv, figure.date)
    labels = Labels(figure.init or UNKNOWN, figure.prior or UNKNOWN, figure.supervision or UNKNOWN)
    key = ("id", figure.card[0]) if figure.card else ("name", figure.model, figure.backbone, figure.supervision)
    answer = row["record"]
    found = {name: None if pd.isna(row[name]) else float(row[name]) for name in ("measured", "difference", "tolerance")}
    return Claim(
        figure=figure,
        model=Model(key, figure.model, labels, figure.backbone or UNKNOWN, paper),
        paper=paper,
        **found,
        interval=shown_interval(answer, figure.metric) if isinstance(answer, Stored) else None,
        status=str(row["status"]),
        reason=str(row["reason"]),
        run=runs[answer.path] if isinstance(answer, Stored) else None,
    )
