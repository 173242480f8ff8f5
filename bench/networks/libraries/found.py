"""Found: a network of a library on its way from a name to a subject."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from bench.base.environment import torch_version
from bench.base.errors import BadInput, BenchError
from bench.base.files import printable_name, sha256_file
from bench.cards.card import as_id
from bench.cards.pins import Pins
from bench.networks import known_weights
from bench.networks.checkpoint_files import require_file
from bench.networks.libraries.offline import no_network
from bench.networks.libraries.request import Request, is_path
from bench.networks.reading import layers
from bench.networks.reading.reader import Read, Structure
from bench.networks.subject import Triple

if TYPE_CHECKING:
    from torch import nn

    from bench.networks.libraries.library import Library

LIBRARY_VERSION = 1
"""Raised whenever building or reading a network of a library would come to something else."""
_WORD = r"[a-z0-9._+]*[a-z0-9]"
_ITS_OWN_ID = re.compile(
    rf"hf:({_WORD}|{_WORD}/[a-z0-9._+-]*[a-z0-9])|hub:{_WORD}/{_WORD}:{_WORD}:{_WORD}"
    rf"|(?!hf:|hub:)[a-z0-9_-]+:{_WORD}(@[A-Za-z0-9_]+)?(\?{_WORD}={_WORD}(&{_WORD}={_WORD})*)?"
)
"""Names of networks that no two of come to one id, though signs between their words all come to hyphens: hyphens of
their own and capitals are only where a library has no other name like it."""


class Found:
    """All that is known of a network; it is built only where the cache does not tell."""

    def __init__(self, library: Library, request: Request) -> None:
        self.library, self.request = library, request
        self.given: tuple[Path, ...] = ()
        if request.seed is None:
            self.given = (request.weights,) if request.weights else tuple(library.files(request))
        if request.weights:
            require_file(request.weights)
        self.hashes = [sha256_file(path) for path in self.given]
        if request.weights is None:
            self._hold_to_pins()
        self.build = functools.cache(self._build)

    def _hold_to_pins(self) -> None:
        """Raises BadInput for a file that is not the one that was fetched first."""
        pins = Pins(self.request.cache)
        for path, digest in zip(self.given, self.hashes, strict=True):
            pin = pins.find(f"{self.request.place}/{path.name}")
            if pin is not None and pin.sha256 != digest:
                raise BadInput(
                    f"{printable_name(path)} is not the file of {self.request.text}: SHA-256 {digest[:12]}… instead of "
                    f"{pin.sha256[:12]}…, pinned on {pin.date[:10]}",
                    f"Fetch it again with `bench download {self.request.word} --fresh`, or give a file with --weights.",
                )

    @functools.cached_property
    def named(self) -> dict[str, Any]:
        """All that the network is defined by, but its weights, as plain JSON values."""
        request = self.request
        return {
            "source": request.source,
            "name": request.shown_name,
            "revision": request.revision,
            "options": dict(request.options),
            "library": self.library.package,
            "version": self.library.version(),
            **self.library.more(request),
            **({"channels": "BGR"} if self._is_bgr else {}),
        }

    @functools.cached_property
    def known(self) -> dict[str, Any]:
        """What was kept of the network, or is found by building it."""
        drawn = {"seed": self.request.seed, "torch": torch_version()} if not self.given else {}
        stated = dict(zip(("mean", "std"), self._stated(), strict=True))
        subject = {"library": LIBRARY_VERSION, "files": self.hashes, **self.named, **drawn, **stated}
        keeps = self.library.definite(self.request)
        kept = known_weights.find(self.request.cache, subject) if keeps else None
        if kept is None or not _whole(kept):
            kept = self._look()
            if keeps:
                known_weights.keep(self.request.cache, subject, kept)
        return kept

    @property
    def _is_bgr(self) -> bool:
        """By the card, unless the library has turned them already."""
        card = self.request.card
        own = "channels" in self.library.more(self.request)
        return bool(card and card.network and card.network.channels == "BGR" and not own)

    def _stated(self) -> tuple[Triple | None, Triple | None]:
        """Mean and standard deviation that the card states, else the library: a file beside the weights may."""
        network = self.request.card.network if self.request.card else None
        mean, std = self.library.normalisation(self.request)
        return (network.mean or mean, network.std or std) if network else (mean, std)

    def _look(self) -> dict[str, Any]:
        from bench.networks.module_hash import hash_module
        from bench.networks.reading.reader import reader_of

        module = self.build(None)
        structure = reader_of(module).structure
        mean, std = self._stated()
        structure = replace(structure, mean=mean or structure.mean, std=std or structure.std)
        structure = replace(structure, channels=self.named.get("channels", structure.channels))
        parameters = sum(parameter.numel() for parameter in module.parameters())
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        state = "" if self.given else hash_module(module)
        return {"structure": asdict(structure), "class": kind, "parameters": parameters, "state": state}

    @functools.cached_property
    def structure(self) -> Structure:
        """What the network says of itself."""
        told: dict[str, Any] = self.known["structure"]
        entries: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in told.items()}
        return Structure(**entries)

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
        name = as_id(self.request.shown)
        plain = self.request.weights is None and len(self.request.shown) <= 60 and not is_path(self.request.name)
        plain = plain and bool(_ITS_OWN_ID.fullmatch(self.request.shown))
        return name if plain and self.library.definite(self.request) else f"{name[:48]}-{self.identity[:8]}"

    @property
    def source(self) -> str:
        """Where the weights come from, in words."""
        if self.request.weights:
            return f"{printable_name(self.request.weights)} in {self.request.shown}"
        return self.request.shown

    def _build(self, output_stride: int | None) -> nn.Module:
        import torch

        request = self.request
        with torch.random.fork_rng(devices=[]), no_network(request), explained(request):
            torch.manual_seed(request.seed or 0)
            module = self.library.build(request, self.given, output_stride)
        return module.eval().requires_grad_(False)

    def network(self, device: str) -> nn.Module:
        """On a device."""
        return self.build(None).to(device)

    def reads(self, device: str, layer: str | None, output_stride: int | None) -> Read:
        """What gives the layer's features, on a device."""
        from bench.networks.reading.reader import reader_of

        read = reader_of(self.build(output_stride).to(device)).read(layers.parse(layer or "last"))
        return (lambda images: read(images.flip(1))) if self._is_bgr else read


def _whole(kept: dict[str, Any]) -> bool:
    """Whether what was kept of a network is what this version keeps."""
    kinds = {"structure": dict, "class": str, "parameters": int, "state": str}
    if not all(isinstance(kept.get(key), kind) for key, kind in kinds.items()):
        return False
    if kept["structure"].keys() - {entry.name for entry in fields(Structure)}:
        return False
    try:
        TypeAdapter(Structure).validate_python(kept["structure"])
    except ValidationError:
        return False
    return True


@contextlib.contextmanager
def explained(request: Request) -> Iterator[None]:
    """What a library raises becomes one line that names the network."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        raise BadInput(
            f"{request.text} cannot be built: {short(error)}",
            f"Check the name and its options; `bench show {request.source}:{request.name}` tells about it.",
        ) from error


def short(error: BaseException) -> str:
    """A library's error on one line."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
