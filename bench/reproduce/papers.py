"""Papers: whose published figures stand in results/published.csv, and how their tables print names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from bench.base.errors import BadInput, WrongName, unknown_name
from bench.base.folders import folder
from bench.base.toml_files import read_toml
from bench.cards.card import ID_PATTERN, as_id, first_problem
from bench.cards.files import Entry
from bench.records.published import Published, figures

FILE = "papers.toml"


class Layout(Entry):
    """A paper's entry in results/papers.toml."""

    arxiv: str = ""
    title: str = ""
    """Of a paper without an arXiv number in published.csv."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Protocol → the name that stands above its column; columns stand in this order."""
    models: dict[str, str] = Field(default_factory=dict)
    """Model in published.csv → the name that its row has."""

    def is_of(self, figure: Published) -> bool:
        """Whether a figure is of this paper."""
        return figure.arxiv == self.arxiv if self.arxiv else figure.paper == self.title


@dataclass(frozen=True)
class Paper:
    """A paper, and its published figures in the order of the table."""

    id: str
    title: str
    arxiv: str
    figures: tuple[Published, ...]
    layout: Layout = field(default_factory=Layout)

    @property
    def cards(self) -> tuple[str, ...]:
        """The model cards that answer to any of its figures."""
        return tuple(dict.fromkeys(card for figure in self.figures for card in figure.card))

    def numbered(self) -> Mapping[int, Published]:
        """Its figures by the number that a listing gives them, from 1 on."""
        return dict(enumerate(self.figures, start=1))


_FILE = TypeAdapter(dict[Annotated[str, Field(pattern=ID_PATTERN)], Layout])


@cache
def papers() -> dict[str, Paper]:
    """All papers of the catalogue's published figures by id, in the order in which the table first has them."""
    layouts = _layouts()
    grouped: dict[str, list[Published]] = {}
    for figure in figures():
        named = (name for name, layout in layouts.items() if layout.is_of(figure))
        grouped.setdefault(next(named, "") or _id_of(figure.paper), []).append(figure)
    return {
        name: Paper(name, mine[0].paper, mine[0].arxiv, tuple(mine), layouts.get(name, Layout()))
        for name, mine in grouped.items()
    }


# https://info.arxiv.org/help/arxiv_identifier.html
_ARXIV = re.compile(r"(?:arxiv:)?(?P<number>\d{4}\.\d{4,5})(?:v\d+)?", re.IGNORECASE)


def paper(name: str) -> Paper:
    """The paper of an id, or of an arXiv number with or without a version. Raises WrongName, with the nearest ids."""
    if name in papers():
        return papers()[name]
    if (said := _ARXIV.fullmatch(name)) is None:
        raise unknown_name("paper", name, papers(), "bench list papers")
    for one in papers().values():
        if one.arxiv == said["number"]:
            return one
    raise WrongName(
        f"the table has no published figure of arXiv {said['number']}", "`bench list papers` shows the numbers it has."
    )


def _layouts() -> dict[str, Layout]:
    path = folder("results") / FILE
    try:
        return _FILE.validate_python(read_toml(path))
    except (OSError, ValidationError, ValueError) as error:
        said = first_problem(error) if isinstance(error, ValidationError) else error
        raise BadInput(f"{path}: {said}", "Restore it from the repository.") from error


def _id_of(title: str) -> str:
    """`… (CAPI)` is capi, `Franca: …` is franca; any other title is its first words."""
    end = re.search(r"\(([^()\s]+)\)$", title)
    start = re.match(r"(\S+):", title)
    found = end or start
    return as_id(found[1]) if found else as_id(" ".join(title.split()[:4])) or "untitled"
