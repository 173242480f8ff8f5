"""Cards: the description of a model, a data set or a recipe, validated on load.

A card is one TOML file. Unknown keys, wrong types and missing keys are errors that name the file and
the key. `bench.cards.catalogue` finds cards; this module reads one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    Field,
    ValidationError,
)

from bench.base.errors import BadInput, WrongName
from bench.base.toml_files import read_toml
from bench.cards.files import Entry

ID_PATTERN = r"^[a-z0-9][a-z0-9._+-]{0,79}$"
Id = Annotated[str, Field(pattern=ID_PATTERN)]
"""A card's id: lower case, safe as a folder name on every system."""
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,79}$")]
"""A split's name, which becomes a part of a folder's name as well."""


def as_id(name: str) -> str:
    """A file's or a folder's name as (the start of) an id, at most 60 characters; empty where nothing is left of it."""
    return re.sub(r"[^a-z0-9._+-]+", "-", name.lower()).strip("-._+")[:60]


def require_model_id(name: str) -> None:
    """Raises WrongName for what cannot be a model's id."""
    if not re.fullmatch(ID_PATTERN, name):
        near = f", such as '{as_id(name)}'" if as_id(name) else ""
        raise WrongName(
            f"'{name}' is not allowed as a model's id", f"Use lower case letters, digits and . _ + - only{near}."
        )


class Card(Entry):
    """The keys that every kind of card has."""

    schema_: Literal[1] = Field(alias="schema")
    id: Id
    title: str
    description: str = ""
    path: Path | None = Field(default=None, exclude=True)
    """The file this card was read from; set by `load_card`, not written in it."""


CardType = TypeVar("CardType", bound=Card)


_SHOWN = (
    "docs/models.md and docs/data.md describe every key; `bench init-dataset --template` prints a whole data-set card."
)


def load_card(path: Path, kind: type[CardType]) -> CardType:
    """Read and validate one card. Raises BadInput naming the file and the offending key."""
    try:
        entries = read_toml(path)
    except FileNotFoundError as error:
        raise BadInput(f"no card at {path}", "Give the path of a .toml card, or a card's id.") from error
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}", "Give the path of a .toml card, or a card's id."
        ) from error
    except ValueError as error:
        raise BadInput(f"{path} is not a TOML file: {error}", f"Correct it. {_SHOWN}") from error
    if "path" in entries:
        raise BadInput(f"{path}: path: unknown key", "Remove it.")
    try:
        return kind.model_validate(entries | {"path": path})
    except ValidationError as error:
        raise BadInput(f"{path}: {first_problem(error)}", f"Correct the card. {_SHOWN}") from error


def is_model_card(path: Path) -> bool:
    """Whether a file is a model's card rather than a data set's: a model's has an architecture or a network."""
    try:
        return not {"architecture", "network"}.isdisjoint(read_toml(path))
    except (OSError, ValueError):
        return False


def first_problem(error: ValidationError) -> str:
    """`key: what is wrong with it` of the first problem, and how many more there are."""
    problems = error.errors()
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{key + ': ' if key else ''}{message}{more}"
