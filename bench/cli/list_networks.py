"""`bench list networks`: names of networks in the libraries that are installed."""

from __future__ import annotations

from collections.abc import Iterator
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

    rows, unlisted = [], []
    for library in _libraries():
        try:
            library.require()
        except BadEnvironment as error:
            echo(f"{error.problem}. {error.remedy}", err=True)
            continue
        names = library.names(cache)
        rows += [(one.text, one.weights) for one in names if _matches(one, pattern)]
        if not names:
            unlisted.append(f"{library.scheme}:")
    if unlisted:
        echo(f"{', '.join(unlisted)} have no list: docs/models.md has the form of their names", err=True)
    if not rows and pattern:
        raise WrongName(
            f"no installed library has a network like '{pattern}'",
            "Give a part of a name, or a pattern such as 'vit_*dinov2*'; without one all are listed.",
        )
    return rows


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
