"""Supply: the files that jobs need, and whoever fetches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.reproduce.plan import Job


@dataclass(frozen=True)
class Need:
    """A card whose files a job needs."""

    kind: Literal["model", "dataset"]
    card: str


@dataclass(frozen=True)
class File:
    """One file of a card."""

    card: str
    name: str
    bytes: int | None
    """None where neither the card nor a server says it."""
    licence: str
    status: str
    """How much of it is on this machine, in words."""
    there: bool
    """Whether nothing has to be fetched."""
    page: str
    """Where a person can fetch it."""
    path: str
    """Where it goes."""
    unpack: bool = False
    """Whether it is an archive, which takes its room twice while it is unpacked."""


class Supply(Protocol):
    """Who knows the files of cards, and fetches them."""

    def files(self, need: Need) -> Sequence[File]:
        """All that a card needs; none where its data or weights are made here, or were brought by the user.

        Raises BenchError for what can only be had by hand.
        """

    def fetch(self, need: Need) -> None:
        """Have all of it on this machine. Raises BenchError or OSError, naming what is missing and the remedy."""


def needs_of(job: Job) -> tuple[Need, Need]:
    """What a job needs: the data first, which several jobs share."""
    return Need("dataset", job.dataset), Need("model", job.model)
