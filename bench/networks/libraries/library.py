"""Library: where networks of other programs come from, and how a name becomes the subject of a run.

An adapter is a `Library`, registered under the entry points `bench.networks` (`bench.networks.adapters`). What a
network says of itself is kept in the cache, so that a run that finds all else there loads neither the library nor
torch.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.base.errors import BadEnvironment, BadInput, WrongName
from bench.cards.models import DRAWN, NOT_STATED, Training
from bench.networks import known_weights
from bench.networks.libraries.found import LIBRARY_VERSION, Found
from bench.networks.libraries.request import Request
from bench.networks.libraries.sources import Fetch, Source
from bench.networks.subject import Subject, Triple

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Listed:
    """One network that a library has, for `bench list networks`."""

    scheme: str
    name: str
    weights: str
    """In a word or two: whether weights can be had."""

    @property
    def text(self) -> str:
        """What `--model` takes."""
        return f"{self.scheme}:{self.name}"


class Library(ABC):
    """One source of networks."""

    scheme: ClassVar[str]
    package: ClassVar[str]
    """The distribution whose version is a part of what a network computes."""
    module: ClassVar[str]
    """What is imported of it."""
    title: ClassVar[str] = ""
    """What the library is called, where it is not the package's name."""
    extra: ClassVar[str | None] = None
    """The extra of this program that installs it."""

    # --- what each library answers ---

    @abstractmethod
    def list_all(self) -> dict[str, str]:
        """All networks that the installed library has, without their scheme, and in words whether weights can be had.

        Empty where nobody can list them.
        """

    @abstractmethod
    def check(self, request: Request) -> None:
        """Raises WrongName for a name or options that the library lacks, with the nearest ones; asks for no files."""

    @abstractmethod
    def files(self, request: Request) -> Sequence[Path]:
        """The files of the library's own weights on this machine; no network is asked.

        Raises BadInput, with the command that fetches them, where they are not here.
        """

    @abstractmethod
    def build(self, request: Request, files: Sequence[Path], output_stride: int | None) -> nn.Module:
        """The network, with the weights of these files, or as the library draws them where there are none.

        Raises WrongName for options or an output stride that the network does not take.
        """

    # --- what only some have to answer ---

    def require_there(self, request: Request) -> None:
        """Raises BadInput where configuration or code is missing, with the command that fetches it, or not trusted."""
        return

    def sources(self, request: Request) -> Sequence[Source]:
        """What `bench download` fetches for a network. Raises BenchError for one that has nothing to fetch."""
        return ()

    def fetch_more(self, request: Request, fetch: Fetch) -> None:
        """Fetch what only the network's own code asks for, once the sources are there."""
        return

    def licence(self, request: Request) -> str:
        """The terms of the library's own weights."""
        return "not stated"

    def page(self, request: Request) -> str:
        """Where the library's own weights come from: an address, or in words."""
        return "no address"

    def outline(self, request: Request) -> nn.Module:
        """The network without weights, for `bench show`; on torch's meta device where the library can do that."""
        import torch

        with torch.device("meta"):
            return self.build(replace(request, seed=0, weights=None), (), None)

    def more(self, request: Request) -> dict[str, Any]:
        """What else defines the network, as plain JSON values: hashes of its configuration and its code, a commit."""
        return {}

    def definite(self, request: Request) -> bool:
        """Whether name, options, version and files tell the network from any other."""
        return True

    def cacheable(self, request: Request) -> bool:
        """Whether what is computed with the network may be kept."""
        return self.definite(request)

    def normalisation(self, request: Request) -> tuple[Triple | None, Triple | None]:
        """Mean and standard deviation that the library states, RGB in 0…1, where the module does not."""
        return None, None

    # --- the same for all ---

    def names(self, cache: Path) -> list[Listed]:
        """All networks that the installed library has; kept for each version, since to ask takes seconds."""
        kept = self.kept_names(cache)
        if kept is None:
            found = self.list_all()
            known_weights.keep(cache, self._listing, {"names": found})
            kept = self._listed(found)
        return kept

    def kept_names(self, cache: Path) -> list[Listed] | None:
        """The same, if they are kept; the library is not imported."""
        kept = (known_weights.find(cache, self._listing) or {}).get("names")
        whole = isinstance(kept, dict) and all(isinstance(weights, str) for weights in kept.values())
        return self._listed(kept) if kept and whole else None

    @property
    def _listing(self) -> dict[str, Any]:
        return {"networks of": self.package, "version": self.version(), "library": LIBRARY_VERSION}

    def _listed(self, names: dict[str, str]) -> list[Listed]:
        return [Listed(self.scheme, name, weights) for name, weights in names.items()]

    def version(self) -> str:
        """Of the package."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return "not installed"

    def require(self) -> None:
        """Raises BadEnvironment where the library is not installed. It is not imported."""
        if importlib.util.find_spec(self.module) is None:
            extra = f"maskcontrast-bench[{self.extra}]" if self.extra else self.package
            raise BadEnvironment(
                f"{self.scheme}: needs the package {self.package}, which is not installed",
                f"Install it with `pip install '{extra}'`.",
            )

    def subject(self, request: Request) -> Subject:
        """The model of a run. Raises BenchError: what is wrong with the name or the weights is said here."""
        self.require()
        self.check(request)
        self.require_there(request)
        found = Found(self, request)
        return Subject(
            id=request.card.id if request.card else found.id,
            title=request.card.title if request.card else found.source,
            weights_sha256=found.weights_sha256,
            weights_source=found.source,
            network=found.network,
            training=self._training(request),
            card=request.card,
            structure=found.structure,
            origin=found.origin,
            reads=found.reads,
            layer=request.features,
            what=f"a network of {self.title or self.package}",
            has_embedding=False,
            cacheable=self.cacheable(request),
            identity=found.identity,
        )

    def _training(self, request: Request) -> Training:
        """Of the card; drawn weights have seen nothing, but a function of the user's may give others, seed or not."""
        if request.card:
            return request.card.training
        return DRAWN if request.seed is not None and self.definite(request) else NOT_STATED

    def missing(self, request: Request, what: str = "weights") -> BadInput:
        """The error for files that are not on this machine."""
        licence = self.licence(request)
        return BadInput(
            f"the {what} of {request.text} are not on this machine",
            f"`bench download {request.word}` fetches them"
            + (f" (licence: {licence})." if licence != "not stated" else "."),
        )

    def unknown(self, request: Request) -> WrongName:
        """The error for a name that the library lacks."""
        from bench.networks.libraries.nearest import unknown_network

        return unknown_network(self, request)
