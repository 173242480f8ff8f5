"""Card faults: mistakes in a card that only the library of its network can tell, with the card's file and key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, BenchError, WrongName
from bench.networks.libraries import request
from bench.networks.libraries.request import Request

if TYPE_CHECKING:
    from bench.cards.models import ModelCard, Network
    from bench.networks.libraries.library import Library
    from bench.networks.reading.reader import Read
    from bench.networks.subject import Subject


class FaultyCard(BadInput):
    """A mistake in a card."""


def at_key(card: ModelCard, key: str, error: BenchError) -> FaultyCard:
    """The error for what a library says of a key of [network]."""
    return FaultyCard(f"{card.path or card.id}: network.{key}: {error.problem}", error.remedy)


def asked_by(card: ModelCard, network: Network, cache: Path, **more: Any) -> Request:
    """The request of a card, with what a command adds to it. Raises FaultyCard for options of no sense."""
    try:
        request.of_card(card, network, cache)
    except WrongName as error:
        raise at_key(card, "options", error) from error
    return request.of_card(card, network, cache, **more)


def require_sound(library: Library, asked: Request) -> None:
    """Raises FaultyCard for a name, a revision or options that the library does not take. Nothing is built."""
    card = asked.card
    assert card is not None
    if card.weights is not None and asked.revision is None:
        asked = replace(asked, seed=0)  # the card has a file of its own in the place of weights that it would name
    library.require()
    try:
        with faults_of_card(library, asked):
            library.check(asked)
    except FaultyCard:
        raise
    except BadInput as error:
        raise at_key(card, "name", error) from error


@contextlib.contextmanager
def faults_of_card(library: Library, asked: Request) -> Iterator[None]:
    """A wrong name, revision or option of a card's becomes a FaultyCard."""
    try:
        yield
    except WrongName as error:
        assert asked.card is not None
        raise at_key(asked.card, _key_of(library, asked, error), error) from error


def _key_of(library: Library, asked: Request, error: WrongName) -> str:
    """An option that the error names; the revision if the library takes the rest; else the name."""
    if any(f"'{option}'" in error.problem for option in asked.options):
        return "options"
    takes = _takes(library, replace(asked, revision=None, seed=asked.seed or 0))
    return "revision" if takes and not _takes(library, asked) else "name"


def _takes(library: Library, asked: Request) -> bool:
    try:
        library.check(asked)
    except BenchError:
        return False
    return True


def reading(subject: Subject, card: ModelCard, network: Network) -> Subject:
    """The subject, whose wrong layer is a mistake in the card where the card names it."""
    reads = subject.reads
    if reads is None or network.features is None:
        return subject

    def read(device: str, layer: str | None, stride: int | None) -> Read:
        try:
            return reads(device, layer, stride)
        except WrongName as error:
            if layer != network.features or stride is not None:
                raise
            raise at_key(card, "features", error) from error

    return replace(subject, reads=read)
