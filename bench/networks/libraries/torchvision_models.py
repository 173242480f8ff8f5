"""torchvision: its classification networks, with the weights that it publishes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from bench.base.errors import WrongName
from bench.networks import known_weights
from bench.networks.libraries.library import Library
from bench.networks.libraries.options import named_options, refuse_own, refuse_unknown
from bench.networks.libraries.other_size import of_another_size
from bench.networks.libraries.request import Request
from bench.networks.libraries.sources import Source, WebFile
from bench.networks.subject import Triple

if TYPE_CHECKING:
    from torch import nn

_LICENCE = "not stated for the weights; torchvision itself is BSD-3-Clause"
_PAGE = "https://docs.pytorch.org/vision/stable/models.html"
_HASH = re.compile(r"-([0-9a-f]{8,64})\.pth")
"""The names of torchvision's files have the first digits of their SHA-256 (torch.hub.load_state_dict_from_url)."""
_NOT_OPTIONS = {"weights", "weights_backbone", "progress", "pretrained"}
_DILATED = {8: [False, True, True], 16: [False, False, True]}
"""Output stride → whether each of a ResNet's stages 2 to 4 is dilated in place of strided."""
_HEADS = ("fc.", "classifier.", "heads.", "head.", "AuxLogits.", "aux1.", "aux2.")
"""Classifiers, which are not read, and which a user's file may lack."""
_PARTS = ("url", "mean", "std")


class Torchvision(Library):
    """`torchvision:resnet50@IMAGENET1K_V1`."""

    scheme, package, module = "torchvision", "torchvision", "torchvision"

    def list_all(self) -> dict[str, str]:
        """Its networks for the classification of pictures."""
        from torchvision import models

        names = models.list_models(module=models)
        # to go through an enumeration leaves out DEFAULT, which is another name of one of the others
        known = {name: [one.name for one in models.get_model_weights(name)] for name in names}
        return {name: ", ".join(weights) or "random only" for name, weights in known.items()}

    def check(self, request: Request) -> None:
        """By the list of names, and of the names of weights."""
        weights = {one.name: one.weights for one in self.names(request.cache)}.get(request.name)
        if weights is None:
            raise self.unknown(request)
        refuse_own(request, _NOT_OPTIONS)
        known = [] if weights == "random only" else weights.split(", ")
        if request.revision is not None and request.seed is not None:
            raise WrongName(f"{request.text} names weights and draws them", "Leave @… or ?random=… out.")
        if request.revision is None and request.seed is None and request.weights is None:
            raise WrongName(
                f"torchvision:{request.name} names no weights",
                (f"Write {' or '.join(f'torchvision:{request.name}@{one}' for one in known)}; " if known else "Write ")
                + f"torchvision:{request.name}?random=0 draws them from a seed.",
            )
        if request.revision is not None and request.revision not in known:
            moving = " What DEFAULT means changes with the version." if request.revision == "DEFAULT" else ""
            raise WrongName(
                f"torchvision:{request.name} has no weights '{request.revision}'",
                f"It has {', '.join(known) or 'none'}.{moving}",
            )

    def files(self, request: Request) -> Sequence[Path]:
        """The file of the weights."""
        path = self._path(request)
        if not path.is_file():
            raise self.missing(request)
        return [path]

    def sources(self, request: Request) -> Sequence[Source]:
        """The file, whose name has the first digits of its hash."""
        if request.seed is not None:
            return ()
        url = str(self._told(request)["url"])
        match = _HASH.search(url)
        return [WebFile(url, url, self._path(request), _LICENCE, match[1] if match else None)]

    def _path(self, request: Request) -> Path:
        return request.cache / "libraries" / "torchvision" / str(self._told(request)["url"]).rpartition("/")[2]

    def licence(self, request: Request) -> str:
        """torchvision states none for weights."""
        return _LICENCE

    def page(self, request: Request) -> str:
        """The address of the file."""
        return str(self._told(request)["url"]) if request.revision else _PAGE

    def normalisation(self, request: Request) -> tuple[Triple | None, Triple | None]:
        """That of the weights' own transforms; none where no weights of torchvision's are named."""
        told = self._told(request) if request.revision and request.weights is None else {}
        mean, std = (tuple(told[key]) if told.get(key) else None for key in ("mean", "std"))
        return mean, std

    def _told(self, request: Request) -> dict[str, Any]:
        """What torchvision says of the weights; kept, for a run that finds all else in the cache."""
        subject = {"weights": [request.name, request.revision], "torchvision": self.version()}
        kept = known_weights.find(request.cache, subject)
        if kept is None or set(_PARTS) - kept.keys():
            from torchvision.models import get_model_weights

            weights = get_model_weights(request.name)[str(request.revision)]
            applied = weights.transforms()
            triples = {key: getattr(applied, key, None) for key in ("mean", "std")}
            kept = {"url": weights.url} | {key: list(one) if one else None for key, one in triples.items()}
            known_weights.keep(request.cache, subject, kept)
        return kept

    def build(self, request: Request, files: Sequence[Path], output_stride: int | None) -> nn.Module:
        """With its classifier, which is not read."""
        options: dict[str, Any] = dict(request.options)
        if output_stride not in (None, 32):
            options["replace_stride_with_dilation"] = self._dilated(request, output_stride)
        with named_options(request):
            module = self._create(request, options, output_stride, files)
        if request.weights is not None:
            from bench.networks.libraries.state_files import load_state

            with of_another_size(request, module, "image_size"):
                note = load_state(module, files[0], may_lack=_HEADS)
            if note:
                request.warn(f"{files[0].name}: {note}")
        return module

    def _dilated(self, request: Request, output_stride: int | None) -> list[bool]:
        if output_stride not in _DILATED:
            raise WrongName(
                f"torchvision:{request.name} cannot be given an output stride of {output_stride}",
                "A ResNet takes 8, 16 or 32; for other networks leave `output_stride` out.",
            )
        return _DILATED[output_stride]

    def _create(
        self, request: Request, options: dict[str, Any], output_stride: int | None, files: Sequence[Path]
    ) -> nn.Module:
        from torchvision.models import get_model

        own = bool(files) and request.weights is None
        try:
            with _weights_of(files) if own else contextlib.nullcontext():
                module: nn.Module = get_model(request.name, weights=request.revision if own else None, **options)
        except TypeError as error:
            refuse_unknown(request, error)
            if output_stride and "replace_stride_with_dilation" in str(error):
                raise WrongName(
                    f"torchvision:{request.name} cannot be given an output stride of {output_stride}",
                    "Leave `output_stride` out.",
                ) from error
            raise
        except NotImplementedError as error:  # ResNet-18 and -34 have blocks that cannot be dilated
            raise WrongName(
                f"torchvision:{request.name} cannot be given an output stride of {output_stride}: {error}",
                "Leave `output_stride` out.",
            ) from error
        return module


@contextlib.contextmanager
def _weights_of(files: Sequence[Path]) -> Iterator[None]:
    """torchvision gets the tensors of our file where it would fetch its own, and gives them its names itself."""
    from torchvision.models import WeightsEnum

    from bench.networks.libraries.state_files import read_states

    with mock.patch.object(WeightsEnum, "get_state_dict", lambda *given, **named: read_states(files)):
        yield
