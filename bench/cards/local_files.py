"""Local files: the place of a card's weights and data on this machine."""

from __future__ import annotations

from pathlib import Path

from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.files import FileWeights
from bench.cards.models import ModelCard


def weights_file(cache: Path, card_id: str, file: str) -> Path:
    """Where the weights of a model card lie in the cache."""
    return cache / "weights" / card_id / file


def data_folder(cache: Path, card_id: str) -> Path:
    """The data root of a data set that was downloaded."""
    return cache / "datasets" / card_id


def local_weights(card: ModelCard, cache: Path) -> Path | None:
    """The file that a card's weights lie in: beside the card, or fetched; None where it has none or it is not there.

    None as well for weights that the library of the network keeps: only the library knows their place.
    """
    if not isinstance(card.weights, FileWeights):
        return None
    beside = (card.path.parent if card.path else Path()) / card.weights.file
    fetched = weights_file(cache, card.id, card.weights.file)
    return next((path for path in (beside, fetched) if path.is_file()), None)


def needs_download(card: ModelCard) -> bool:
    """Whether somebody has to fetch the weights of a card: they are at an address, or in a library's own keeping."""
    if isinstance(card.weights, FileWeights):
        return card.weights.address is not None
    return card.weights is None and not card.drawn


def local_root(card: DatasetCard, cache: Path) -> Path | None:
    """Where a data set lies if nobody says where: as its card has it, or fetched; None where it is in neither place."""
    if card.root is not None and card.path is not None:
        return card.path.parent / card.root
    fetched = data_folder(cache, card.id)
    return fetched if fetched.is_dir() else None


def card_name(card: ModelCard | DatasetCard) -> str:
    """What names a card on the command line: its id, or the path of one that is not built in."""
    built_in = card.id in (catalogue.models() if isinstance(card, ModelCard) else catalogue.datasets())
    return card.id if built_in or card.path is None else str(card.path)
