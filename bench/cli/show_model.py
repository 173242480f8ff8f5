"""`bench show` of a model's card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.base.errors import BadEnvironment, BadInput
from bench.cli.console import echo_warning
from bench.cli.settings import echo_table
from bench.cli.show_network import network_rows

if TYPE_CHECKING:
    from bench.cards.models import ModelCard

Rows = list[tuple[str, str]]


def show_model(card: ModelCard, cache: Path, *, trust_code: bool) -> None:
    """Print what a card says, and what its network says of itself. Raises BadInput for a mistake in the card."""
    from bench.records.published import figures, points

    rows = [("id", card.id), ("title", card.title), ("about", card.description)]
    rows += _architecture_rows(card) if card.architecture else _network_rows(card, cache, trust_code)
    training = card.training.model_dump(exclude={"overlaps"})
    rows += [(key, value) for key, value in training.items()]
    rows += [(f"overlap with {dataset}", what) for dataset, what in card.training.overlaps.items()]
    rows += _weight_rows(card, cache)
    if card.paper:
        where = (card.paper.venue or card.paper.date, f"arXiv {card.paper.arxiv}" if card.paper.arxiv else "")
        rows += [("paper", ", ".join(filter(None, (card.paper.title, *where))))]
    rows += [
        ("published", f"{f.dataset} {f.split} {f.protocol} {f.metric} {points(f.value)}")
        for f in figures()
        if card.id in f.card
    ]
    echo_table([(key, value) for key, value in rows if value])


def _architecture_rows(card: ModelCard) -> Rows:
    """This program's own architecture."""
    assert card.architecture is not None
    return [(key, str(value)) for key, value in card.architecture.model_dump().items()]


def _network_rows(card: ModelCard, cache: Path, trust_code: bool) -> Rows:
    """The network of another library: what the card says of it, and what it says of itself."""
    from bench.cards.backbone_names import backbone_name

    assert card.network is not None
    told = _told_rows(card, cache, trust_code)
    rows = [("backbone", backbone_name(card.network.name))]
    again = {"mean", "std", "channels"} if any(key == "normalisation" for key, _ in told) else set()
    entries = card.network.model_dump(exclude_none=True, exclude={"options", "licence"} | again)
    for key, value in entries.items():
        rows.append((f"network {key}", " ".join(map(str, value)) if isinstance(value, tuple) else value))
    rows += [(f"network option {key}", str(value)) for key, value in card.network.options.items()]
    return rows + told


def _told_rows(card: ModelCard, cache: Path, trust_code: bool) -> Rows:
    """What the network says of itself; one row says why where it cannot be built on this machine."""
    from bench.networks import adapters
    from bench.networks.libraries.about import about
    from bench.networks.libraries.card_faults import FaultyCard, faults_of_card

    try:
        found = adapters.requested_by_card(card, cache, trust_code=trust_code, warn=echo_warning)
        if found is None:
            return []
        with faults_of_card(*found):
            return network_rows(about(*found))
    except FaultyCard:
        raise
    except (BadEnvironment, BadInput) as error:
        return [("network itself", f"not shown: {error.problem}. {error.remedy}")]


def _weight_rows(card: ModelCard, cache: Path) -> Rows:
    from bench.cards.files import FileWeights
    from bench.cards.local_files import card_name, needs_download, weights_file

    weights = card.weights.model_dump(exclude_none=True) if card.weights else {}
    rows = [(f"weights {key}", str(value)) for key, value in weights.items()]
    if card.network and not card.weights and not card.drawn:
        rows += [("weights from", card.network.address), ("weights licence", card.network.licence)]
    if isinstance(card.weights, FileWeights) and card.weights.address:
        cached = weights_file(cache, card.id, card.weights.file)
        rows += [("weights from", card.weights.address), ("weights cached", str(cached))]
    return rows + ([("fetch with", f"bench download {card_name(card)}")] if needs_download(card) else [])
