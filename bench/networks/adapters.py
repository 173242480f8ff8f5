"""Adapters: models of other libraries, named `SCHEME:NAME` on the command line.

An adapter is an entry point of the group `bench.networks`. Its name is the scheme. Its value is a
`bench.networks.libraries.library.Library`, or a function that takes the text after the colon and returns a
`bench.networks.subject.Subject`. Another package adds an adapter in its own packaging; nothing here changes.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.base.errors import BadEnvironment, BenchError, WrongName
from bench.cards import catalogue
from bench.cards.card import ID_PATTERN
from bench.networks.libraries import request

if TYPE_CHECKING:
    from bench.cards.models import ModelCard, Network
    from bench.networks.libraries.library import Library
    from bench.networks.subject import Subject

Made = TypeVar("Made")

ENTRY_POINTS = "bench.networks"
NAME = re.compile(r"(?P<scheme>[a-z][a-z0-9_-]+):(?P<rest>.+)", re.DOTALL)
"""Two letters at least before the colon: `C:` is a drive."""


@functools.cache
def adapters() -> dict[str, EntryPoint]:
    """The schemes that installed packages serve, in alphabetical order; none is loaded."""
    return {point.name: point for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)}


def split(name: str) -> tuple[EntryPoint, str] | None:
    """The adapter that serves a name, and the text after the colon; None for a name that none serves."""
    match = NAME.fullmatch(name)
    point = adapters().get(match["scheme"]) if match else None
    return (point, match["rest"]) if match and point else None


def require_known(name: str, cache: Path) -> None:
    """Raises what a library says of a name that it lacks; nothing is built, and no weights are looked for."""
    if asked := requested(name, cache):
        library, wanted = asked
        # weights may be given beside the name; where they are not, the library says so when it is asked for them
        unnamed = wanted.revision is None and wanted.seed is None
        library.check(replace(wanted, weights=Path()) if unnamed else wanted)


def adapted(name: str, cache: Path, **more: Any) -> Subject | None:
    """The subject that an adapter makes of a name; None for a name that no adapter serves.

    `more` are further fields of a `Request`, for libraries. Raises what the adapter raises of our errors, and
    BadEnvironment for anything else that goes wrong in it.
    """
    found = split(name)
    if found is None:
        return None
    point, rest = found
    return _guarded(point, rest, lambda made: _subject(made, point, rest, cache, more))


def of_card(card: ModelCard, network: Network, cache: Path, **more: Any) -> Subject:
    """The subject of a card that names a network. Raises BadEnvironment where no adapter serves its source."""
    from bench.networks.libraries.card_faults import asked_by, faults_of_card, reading, require_sound

    point = _adapter_of(card, network)

    def make(made: Any) -> Subject:
        library = _library(made)
        if library is None:
            raise WrongName(f"the adapter '{network.source}' takes no cards", "Name the network with --model.")
        asked = asked_by(card, network, cache, **more)
        require_sound(library, asked)
        with faults_of_card(library, asked):
            return reading(library.subject(asked), card, network)

    return _guarded(point, network.name, make)


def _adapter_of(card: ModelCard, network: Network) -> EntryPoint:
    known = list(adapters())
    if network.source in known:
        return adapters()[network.source]
    near = difflib.get_close_matches(network.source, known, n=1)
    raise BadEnvironment(
        f"{card.path or card.id}: network.source: no installed adapter serves '{network.source}'",
        (f"Did you mean {near[0]}? " if near else "")
        + f"Installed are {', '.join(known)}. Install the package that has it, or correct the card.",
    )


def requested(name: str, cache: Path, **more: Any) -> tuple[Library, request.Request] | None:
    """The library of a name, and what is asked of it; None for a name that no library serves."""
    found = split(name)
    library = library_of(found[0].name) if found else None
    if found is None or library is None:
        return None
    library.require()
    return library, request.parse(found[0].name, found[1], cache, **more)


def requested_by_card(card: ModelCard, cache: Path, **more: Any) -> tuple[Library, request.Request] | None:
    """The same of a card; None for one without a network of a library. Raises FaultyCard for a mistake in the card."""
    from bench.networks.libraries.card_faults import asked_by, require_sound

    if card.network is None or (library := library_of(_adapter_of(card, card.network).name)) is None:
        return None
    asked = asked_by(card, card.network, cache, **more)
    require_sound(library, asked)
    return library, asked


def library_of(scheme: str) -> Library | None:
    """The library of a scheme; None for an adapter that is none, and for an unknown scheme."""
    point = adapters().get(scheme)
    return _guarded(point, "", _library) if point else None


def _subject(made: Any, point: EntryPoint, rest: str, cache: Path, more: dict[str, Any]) -> Subject:
    library = _library(made)
    if library is None:
        return _sound(made(rest), point, rest)
    return library.subject(request.parse(point.name, rest, cache, **more))


def _sound(subject: Any, point: EntryPoint, rest: str) -> Subject:
    """What an adapter's function returned. Its id names a folder, and must be no card's of ours."""
    from bench.networks.subject import Subject

    if not isinstance(subject, Subject):
        raise TypeError(f"it returned a {type(subject).__name__}, not a bench.networks.subject.Subject")
    if not isinstance(subject.id, str) or not re.fullmatch(ID_PATTERN, subject.id):
        raise ValueError(f"it calls the model '{subject.id}', which is not allowed as a model's id")
    if subject.id in catalogue.models():
        raise ValueError(f"it calls the model '{subject.id}', which is a built-in card's id")
    reads = subject.reads
    return replace(
        subject,
        network=lambda device: _guarded(point, rest, lambda _: subject.network(device)),
        reads=reads and (lambda *given: _guarded(point, rest, lambda _: reads(*given))),
    )


def _library(made: Any) -> Library | None:
    from bench.networks.libraries.library import Library

    return made() if isinstance(made, type) and issubclass(made, Library) else None


def _guarded(point: EntryPoint, rest: str, use: Callable[[Any], Made]) -> Made:
    try:
        return use(point.load())
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        raise BadEnvironment(
            f"the adapter '{point.name}' ({point.value}) failed on '{rest}': {type(error).__name__}: {error}",
            "Check the name, and that the adapter's packages are installed; its own documents describe both.",
        ) from error
