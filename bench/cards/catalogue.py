"""The catalogue: all built-in cards, and how a name or a path becomes a card."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.base.errors import BadInput, WrongName, unknown_name
from bench.base.folders import folder
from bench.base.paths import expand
from bench.cards.card import CardType, load_card
from bench.cards.network_folders import meant

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard
    from bench.cards.models import ModelCard
    from bench.cards.recipes import Recipe

TEMPLATE = "TEMPLATE.toml.txt"
"""In the folder of data sets: a card that explains every key, for people to copy. It is not a data set."""


def load_all(where: Path, kind: type[CardType]) -> dict[str, CardType]:
    """All cards in a folder by id, in the order of their ids. Two cards of one id are an error."""
    found: dict[str, CardType] = {}
    for path in sorted(where.glob("*.toml")):
        card = load_card(path, kind)
        if card.id in found:
            raise BadInput(
                f"{path}: id: '{card.id}' is already taken by {found[card.id].path}",
                "Give one of the two cards another id.",
            )
        found[card.id] = card
    return dict(sorted(found.items()))


@cache
def models() -> dict[str, ModelCard]:
    """The built-in model cards by id."""
    from bench.cards.models import ModelCard

    return load_all(folder("models"), ModelCard)


@cache
def datasets() -> dict[str, DatasetCard]:
    """The built-in data-set cards by id."""
    from bench.cards.datasets import DatasetCard

    return load_all(folder("datasets"), DatasetCard)


@cache
def recipes() -> dict[str, Recipe]:
    """The built-in recipes of pre-training by id."""
    from bench.cards.recipes import Recipe

    return load_all(folder("models") / "recipes", Recipe)


def dataset(name: str) -> DatasetCard:
    """The data-set card of an id or a path. Raises WrongName for an unknown id."""
    from bench.cards.datasets import DatasetCard

    return _resolve(name, datasets(), DatasetCard, "data set", "bench list datasets")


def model(name: str) -> ModelCard:
    """The model card of an id or a path to a card. Raises WrongName for an unknown id."""
    from bench.cards.models import ModelCard

    return _resolve(name, models(), ModelCard, "model", "bench list models")


def recipe(name: str) -> Recipe:
    """The recipe of an id or a path to a card. Raises WrongName for an unknown id."""
    from bench.cards.recipes import Recipe

    return _resolve(name, recipes(), Recipe, "recipe", "bench list recipes")


def looks_like_path(name: str) -> bool:
    """Whether a `--model` or `--dataset` value means a file rather than an id."""
    return "/" in name or "\\" in name or name.endswith(".toml")


def looks_like_checkpoint(name: str) -> bool:
    """Whether a name ends like that of a checkpoint file; others may be one as well."""
    return name.lower().endswith((".pth", ".pth.tar", ".pt", ".safetensors"))


def _resolve(name: str, known: dict[str, CardType], kind: type[CardType], word: str, listing: str) -> CardType:
    if name in known:
        return known[name]
    if not looks_like_path(name):
        if Path(f"{name}.toml").is_file():
            raise WrongName(f"unknown {word} '{name}'", f"To use the card in the current folder, write ./{name}.toml.")
        error = unknown_name(word, name, known, listing)
        raise WrongName(error.problem, f"{meant(name)}{error.remedy}")
    path = expand(name)
    if path.is_dir():
        made = f"`bench init-dataset {path}` writes a card" if word == "data set" else "Give the path of a .toml card"
        raise BadInput(f"{path} is a folder, not the card of a {word}", f"{meant(path)}{made}.")
    card = load_card(path, kind)
    twin = known.get(card.id)
    if twin is None or twin.path is None:
        return card
    if twin.path.resolve() == path.resolve():
        return twin
    raise BadInput(
        f"{path}: id: '{card.id}' is already taken by the built-in card",
        "Give your card another id, so that its records differ from those of the built-in card.",
    )
