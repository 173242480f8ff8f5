"""Lineage: the images that a model's weights have seen, and what these have to do with the data set of a figure.

A card says it, and the record of a run of it repeats it. A record of before, or of a model without a card, may say
nothing: then nothing is known, and that is what is shown.
"""

from __future__ import annotations

from bench.cards import catalogue
from bench.cards.models import UNKNOWN, ModelCard
from bench.records.published import Published
from bench.records.record import Record


def images_of(record: Record) -> str:
    """The images that the weights of a record's model have seen: by its card, else by the record; or "not stated"."""
    card = _card(record)
    return (card.training.images if card else record["model"].get("images")) or UNKNOWN


def overlaps_of(record: Record) -> dict[str, str]:
    """Data set → what the model's training images have to do with it: by its card, else by the record."""
    card = _card(record)
    return dict(card.training.overlaps if card else record["model"].get("overlaps") or {})


def overlap_of(record: Record) -> str:
    """What the model's training images have to do with the record's own data set; empty if nothing is known of it."""
    return overlaps_of(record).get(record["dataset"]["id"], "")


def overlap_of_figure(figure: Published) -> str:
    """The same of a published figure, by the cards that answer to it."""
    cards = (catalogue.models().get(name) for name in figure.card)
    said = [card.training.overlaps.get(figure.dataset, "") for card in cards if card]
    return "; ".join(dict.fromkeys(filter(None, said)))


def _card(record: Record) -> ModelCard | None:
    """No other card than one that comes with the program may have its id, so the id tells the model."""
    return catalogue.models().get(record["model"]["id"])
