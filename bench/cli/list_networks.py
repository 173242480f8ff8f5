"""`bench list networks`: names of networks in the libraries that are installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.console import echo

if TYPE_CHECKING:
    from bench.networks.libraries.library import Library, Listed


def network_rows(pattern: str, cache: Path) -> list[tuple[str, str]]:
    """Name and weights of every network whose name matches: a part of it, or a pattern with * ? [ ].

    Says which libraries are not installed, and how to install them. Raises WrongName where nothing matches.
    """
    from bench.base.errors import BadEnvironment, WrongName
    from bench.networks.libraries.nearest import parts_meant

    every: list[Listed] = []
    unlisted = []
    for library in _libraries():
        try:
            library.require()
        except BadEnvironment as error:
            echo(f"{error.problem}. {error.remedy}", err=True)
            continue
        names = library.names(cache)
        every += names
        if not names:
            unlisted.append(f"{library.scheme}:")
    found = [one for one in every if _matches(one, pattern)]
    if unlisted and not found:
        echo(f"{', '.join(unlisted)} have no list: docs/models.md has the form of their names", err=True)
    if not found and pattern:
        near = parts_meant(pattern, dict.fromkeys(one.name for one in every))
        guess = f"Did you mean {' or '.join(near)}? " if near else ""
        raise WrongName(
            f"no installed library has a network like '{pattern}'",
            f"{guess}Give a part of a name, or a pattern such as 'vit_*dinov2*'; without one all are listed.",
        )
    return _rows(found)


def _rows(found: Sequence[Listed]) -> list[tuple[str, str]]:
    """Name and weights. A name without a tag is that of one with its default tag: where that is there, it says so."""
    texts = {one.text for one in found}
    default = {full: one.text for one in found if (full := _with_default_tag(one))}
    return [
        (one.text, one.weights + (f"; {default[one.text]} means these" if one.text in default else ""))
        for one in found
        if _with_default_tag(one) not in texts
    ]


def _with_default_tag(one: Listed) -> str | None:
    """What a name without a tag stands for, as the library's list says it; None for any other name."""
    said, _, tag = one.weights.partition(", ")
    return f"{one.text}.{tag}" if said == "pretrained" and tag else None


def _libraries() -> Iterator[Library]:
    from bench.networks import adapters

    for scheme in adapters.adapters():
        library = adapters.library_of(scheme)
        if library is not None:
            yield library


def _matches(one: Listed, pattern: str) -> bool:
    """Whether a name matches, with or without its scheme; case does not count."""
    wanted = pattern.lower()
    if any(sign in wanted for sign in "*?["):
        return fnmatchcase(one.text.lower(), wanted) or fnmatchcase(one.name.lower(), wanted)
    return wanted in one.text.lower()
