"""Nearest: names of networks that resemble a wrong one, in all libraries whose names the cache has.

No library is imported for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.base.errors import WrongName
from bench.networks import adapters
from bench.networks.libraries.request import Request

if TYPE_CHECKING:
    from bench.networks.libraries.library import Library, Listed

_MOST = 3
_CUTOFF = 0.6
_SCHEME_CUTOFF = 0.7
_PART_CUTOFF = 0.75
_WORDS = re.compile(r"[^_./-]+")
"""What names of networks consist of: `vit`, `small`, `patch14`, `dinov2`."""


def unknown_network(library: Library, request: Request) -> WrongName:
    """The error for a name that a library lacks, with the nearest ones of all libraries."""
    listed = [*library.names(request.cache), *_kept(request.cache, without=library.scheme)]
    near = _near(request.name, listed, first=library.scheme)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    pattern = request.name.partition("_")[0].partition(".")[0][:20]
    return WrongName(
        f"unknown network '{library.scheme}:{request.name}'",
        f"{guess}`bench list networks {pattern}` shows names like it.",
    )


def network_meant(name: str, cache: Path) -> WrongName | None:
    """The error for a model's name that is an unknown scheme's, or lacks the scheme of a library that has it.

    None for a name of which neither is true.
    """
    match = adapters.NAME.fullmatch(name)
    if match and not match["rest"].startswith(("/", "\\")):
        known = list(adapters.adapters())
        near = difflib.get_close_matches(match["scheme"], known, n=1, cutoff=_SCHEME_CUTOFF)
        guess = f"Did you mean {near[0]}:{match['rest']}? " if near else ""
        return WrongName(
            f"unknown model '{name}': no installed adapter serves '{match['scheme']}:'",
            f"{guess}Installed are {', '.join(f'{one}:' for one in known)}. `bench list models` shows the cards.",
        )
    bare = name.partition("?")[0].partition("@")[0]
    having = [one.text for one in _kept(cache) if one.name == bare]
    if not having:
        return None
    return WrongName(
        f"unknown model '{name}'",
        f"Did you mean {' or '.join(having)}? A network of a library is named with the library before it.",
    )


def parts_meant(pattern: str, names: Iterable[str]) -> list[str]:
    """The nearest to a part of a name that is in none of `names`: words of these, as many together as it has."""
    wanted = pattern.lower().rpartition(":")[2].strip("*?")
    most = len(_WORDS.findall(wanted))
    found: dict[str, None] = {}
    for name in names:
        words = list(_WORDS.finditer(name.lower()))
        for count in {most, most + 1}:
            starts = zip(words, words[count - 1 :], strict=False) if count else ()
            found |= dict.fromkeys(name.lower()[first.start() : last.end()] for first, last in starts)
    return difflib.get_close_matches(wanted, list(found), n=_MOST, cutoff=_PART_CUTOFF)


def _kept(cache: Path, without: str = "") -> Iterable[Listed]:
    for scheme in adapters.adapters():
        library = adapters.library_of(scheme) if scheme != without else None
        if library is not None:
            yield from library.kept_names(cache) or ()


def _near(name: str, listed: Sequence[Listed], first: str) -> list[str]:
    """The nearest names: those of the library that was named, and the nearest of another."""
    own = [one.name for one in listed if one.scheme == first]
    others: dict[str, list[str]] = {}
    for one in listed:
        if one.scheme != first:
            others.setdefault(one.name, []).append(one.text)
    near = [f"{first}:{one}" for one in _close(name, own, _MOST)]
    elsewhere = [others[one][0] for one in _close(name, list(others), 1)]
    return near[: _MOST - len(elsewhere)] + elsewhere


def _close(name: str, names: Sequence[str], most: int) -> list[str]:
    """Close names: tags after the dot count only where the name has one."""
    wanted = name.lower()
    pool = names if "." in wanted else list(dict.fromkeys(one.partition(".")[0] for one in names))
    return difflib.get_close_matches(wanted, pool, n=most, cutoff=_CUTOFF)
