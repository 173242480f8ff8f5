"""For photos: says where a model has only seen generated pictures, and which one to take for photographs."""

from __future__ import annotations

import shlex

from bench.base.errors import Warn
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.networks.subject import Subject

MODEL = "dino-vits16"
"""Trained on photographs without labels, free to download, of a size that a laptop runs."""
PROTOCOL = "clustering-dense"
"""By which it runs: it has no saliency head."""


def advice(dataset: str) -> str:
    """Which model fits photographs, and the commands that get and run it on a data set, as it was named."""
    card = catalogue.models()[MODEL]
    licence = card.network.licence if card.network else None
    about = ", ".join(filter(None, [card.title, f"licence {licence}" if licence else ""]))
    return (
        f"For photos: `bench download {MODEL}` ({about}), then `bench run --dataset {shlex.quote(dataset)} "
        f"--model {MODEL} --protocol {PROTOCOL}`."
    )


def warn_of_generated(subject: Subject, card: DatasetCard, warn: Warn) -> None:
    """Say where a model has seen nothing but pictures that this program draws, and the data are others.

    A record keeps its warnings: the path of a card of the user's own does not stand in them.
    """
    seen = catalogue.datasets().get(subject.training.images.partition(" ")[0])
    if seen is not None and seen.generator is not None and card.generator is None and card.kind == "images":
        warn(
            f"{subject.id} has only seen the drawn pictures of {seen.id}: on photos its clusters mean little. "
            + advice(card.id if card.id in catalogue.datasets() else "CARD")
        )
