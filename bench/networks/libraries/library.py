"""Library: where networks of other programs come from, and how a name becomes the subject of a run.

An adapter is a `Library`, registered under the entry points `bench.networks` (`bench.networks.adapters`). What a
network says of itself is kept in the cache, so that a run that finds all else there loads neither the library nor
torch.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.base.environment import torch_version
from bench.base.errors import BadEnvironment, BadInput, BenchError, WrongName, unknown_name
from bench.base.files import printable_name, sha256_file
from bench.cards.card import as_id
from bench.cards.models import NOT_STATED
from bench.networks import known_weights
from bench.networks.libraries.request import Request
from bench.networks.reading import layers
from bench.networks.reading.reader import Read, Structure
from bench.networks.subject import Subject

if TYPE_CHECKING:
    from torch import nn

LIBRARY_VERSION = 1
"""Raised whenever building or reading a network of a library would come to something else."""


@dataclass(frozen=True)
class Listed:
    """One network that a library has, for `bench list networks`."""

    name: str
    """With its scheme: what `--model` takes."""
    weights: str = ""
    """In a word or two: whether weights can be had."""


class Library(ABC):
    """One source of networks."""

    scheme: ClassVar[str]
    package: ClassVar[str]
    """The distribution whose version is a part of what a network computes."""
    module: ClassVar[str]
    """What is imported of it."""
    extra: ClassVar[str | None] = None
    """The extra of this program that installs it."""

    # --- what each library answers ---

    @abstractmethod
    def names(self, cache: Path) -> Sequence[Listed]:
        """All networks that the installed library has; empty where nobody can list them."""

    @abstractmethod
    def check(self, request: Request) -> None:
        """Raises WrongName for a name that the library lacks, with the nearest ones."""

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

    def facts(self, request: Request) -> dict[str, str]:
        """What else the library says of the network, in words: `licence`, `weights`, `input`."""
        return {}

    def source_of(self, request: Request) -> str:
        """Where the library's own weights come from: an address, or the name of a repository."""
        return request.text

    def cacheable(self, request: Request) -> bool:
        """Whether name, options, version and weights tell the network from any other."""
        return True

    def normalisation(self, structure: Structure, request: Request) -> Structure:
        """The structure with the normalisation that the network's card states, where the network states none."""
        network = request.card.network if request.card else None
        if network is None:
            return structure
        own = {"mean": structure.mean or network.mean, "std": structure.std or network.std}
        return Structure(**{one.name: getattr(structure, one.name) for one in fields(structure)} | own)

    # --- the same for all ---

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
        found = _Found(self, request)
        return Subject(
            id=request.card.id if request.card else found.id,
            title=request.card.title if request.card else request.text,
            weights_sha256=found.weights_sha256,
            weights_source=found.source,
            network=found.network,
            training=request.card.training if request.card else NOT_STATED,
            card=request.card,
            structure=found.structure,
            origin=found.origin,
            reads=found.reads,
            layer=request.features,
            what=f"a network of {self.package}",
            has_embedding=False,
            cacheable=self.cacheable(request),
            identity=found.identity,
        )

    def unknown(self, request: Request) -> WrongName:
        """The error for a name that the library lacks."""
        known = [one.name for one in self.names(request.cache)]
        listing = f"bench list networks {request.name[:12]}"
        return unknown_name("network", f"{self.scheme}:{request.name}", known, listing)


class _Found:
    """A network on its way from a name to a subject."""

    def __init__(self, library: Library, request: Request) -> None:
        self.library, self.request = library, request
        self.given: tuple[Path, ...] = ()
        if request.seed is None:
            self.given = (request.weights,) if request.weights else tuple(library.files(request))
        self.hashes = [sha256_file(path) for path in self.given]
        self.build = functools.cache(self._build)

    @property
    def named(self) -> dict[str, Any]:
        """All that the network is defined by, but its weights, as plain JSON values."""
        request = self.request
        return {
            "source": request.source,
            "name": request.name,
            "revision": request.revision,
            "options": dict(request.options),
            "library": self.library.package,
            "version": self.library.version(),
        }

    @functools.cached_property
    def known(self) -> dict[str, Any]:
        """What was kept of the network, or is found by building it."""
        drawn = {"seed": self.request.seed, "torch": torch_version()} if not self.given else {}
        subject = {"library": LIBRARY_VERSION, "files": self.hashes, **self.named, **drawn}
        kept = known_weights.find(self.request.cache, subject) if self.library.cacheable(self.request) else None
        if kept is None or {"structure", "class", "parameters", "state"} - kept.keys():
            kept = self._look()
            known_weights.keep(self.request.cache, subject, kept)
        return kept

    def _look(self) -> dict[str, Any]:
        from bench.networks.checkpoints import hash_module
        from bench.networks.reading.reader import reader_of

        module = self.build(None)
        structure = self.library.normalisation(reader_of(module).structure, self.request)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        state = "" if self.given else hash_module(module)
        return {"structure": asdict(structure), "class": kind, "parameters": parameters, "state": state}

    @functools.cached_property
    def structure(self) -> Structure:
        """What the network says of itself."""
        told: dict[str, Any] = self.known["structure"]
        return Structure(**{key: tuple(value) if isinstance(value, list) else value for key, value in told.items()})

    @property
    def weights_sha256(self) -> str:
        """Of the file; of several files, over their hashes; of the values where there is no file."""
        if not self.hashes:
            return str(self.known["state"])
        return self.hashes[0] if len(self.hashes) == 1 else hashlib.sha256("".join(self.hashes).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """SHA-256 over all that tells this network from any other."""
        parts = {
            "library": LIBRARY_VERSION,
            "weights": self.weights_sha256,
            "layer": self.request.features,
            **self.named,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def origin(self) -> dict[str, Any]:
        """For the record."""
        told = {"class": self.known["class"], "parameters": self.known["parameters"]}
        return self.named | told | ({"seed": self.request.seed} if self.request.seed is not None else {})

    @property
    def id(self) -> str:
        """Of the model, for one without a card: its name, and a hash where the name does not tell the weights."""
        name = as_id(self.request.text)
        plain = self.request.weights is None and len(self.request.text) <= 60
        return name if plain and self.library.cacheable(self.request) else f"{name[:48]}-{self.identity[:8]}"

    @property
    def source(self) -> str:
        """Where the weights come from, in words."""
        if self.request.weights:
            return f"{printable_name(self.request.weights)} in {self.request.text}"
        return self.request.text

    def _build(self, output_stride: int | None) -> nn.Module:
        import torch

        request = self.request
        with torch.random.fork_rng(devices=[]), _explained(request):
            torch.manual_seed(request.seed or 0)
            module = self.library.build(request, self.given, output_stride)
        return module.eval().requires_grad_(False)

    def network(self, device: str) -> nn.Module:
        """On a device."""
        return self.build(None).to(device)

    def reads(self, device: str, layer: str | None, output_stride: int | None) -> Read:
        """What gives the layer's features, on a device."""
        from bench.networks.reading.reader import reader_of

        return reader_of(self.build(output_stride).to(device)).read(layers.parse(layer or "last"))


@contextlib.contextmanager
def _explained(request: Request) -> Iterator[None]:
    """What a library raises becomes one line that names the network."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise BadInput(
            f"{request.text} cannot be built: {type(error).__name__}: {said}",
            f"Check the name and its options; `bench show {request.source}:{request.name}` tells about it.",
        ) from error
