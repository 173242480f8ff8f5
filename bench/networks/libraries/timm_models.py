"""timm: the networks of PyTorch Image Models."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName
from bench.networks import known_weights
from bench.networks.libraries.hub_files import Repository
from bench.networks.libraries.library import Library, Listed
from bench.networks.libraries.request import Request

if TYPE_CHECKING:
    from torch import nn

_ANY_SIZE: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""Arguments by which a network takes inputs of other sizes than its own, as far as it has any; the first is taken."""


class Timm(Library):
    """`timm:vit_small_patch14_dinov2.lvd142m`."""

    scheme, package, module, extra = "timm", "timm", "timm", "timm"

    def names(self, cache: Path) -> Sequence[Listed]:
        """Architectures, and pretrained weights by their tags; kept for each version, since to ask takes seconds."""
        subject = {"names of timm": self.version()}
        kept = known_weights.find(cache, subject)
        if kept is None or not isinstance(kept.get("names"), list):
            import timm

            pretrained = timm.list_models(pretrained=True)
            kept = {"names": sorted({*timm.list_models(), *pretrained}), "pretrained": sorted(pretrained)}
            known_weights.keep(cache, subject, kept)
        tagged = set(kept["pretrained"])
        return [Listed(f"timm:{name}", "pretrained" if name in tagged else "random only") for name in kept["names"]]

    def check(self, request: Request) -> None:
        """By the list of names."""
        if f"timm:{request.name}" not in {one.name for one in self.names(request.cache)}:
            raise self.unknown(request)

    def files(self, request: Request) -> Sequence[Path]:
        """The file of the network's pretrained weights."""
        return [self._repository(request).local()]

    def source_of(self, request: Request) -> str:
        """The repository's address."""
        return self._repository(request).address

    def _repository(self, request: Request) -> Repository:
        config = self._config(request)
        if not config or not config.hf_hub_id:
            raise WrongName(
                f"timm has no pretrained weights of {request.name}",
                f"Write {request.source}:{request.name}?random=0, or give a file with --weights.",
            )
        if config.custom_load:
            raise BadInput(
                f"the weights of timm:{request.name} are in a form of their own, which is not read",
                "Choose another network, or convert them and give the file with --weights.",
            )
        file = config.hf_hub_filename or "model.safetensors"
        return Repository(request, config.hf_hub_id or "", file, str(config.license or "not stated"))

    def _config(self, request: Request) -> Any:
        import timm

        return timm.get_pretrained_cfg(request.name)

    def build(self, request: Request, files: Sequence[Path], output_stride: int | None) -> nn.Module:
        """Without its classifier; a transformer for inputs of any multiple of its patch."""
        import timm

        options: dict[str, Any] = dict(request.options) | ({"output_stride": output_stride} if output_stride else {})
        if files and request.weights is None:
            from bench.networks.libraries.state_files import read_state

            overlay = {"state_dict": read_state(files[0]), "custom_load": False}
            options |= {"pretrained": True, "pretrained_cfg_overlay": overlay}
        for more in _ANY_SIZE:
            try:
                module = timm.create_model(request.name, num_classes=0, **{**more, **options})
                break
            except (TypeError, RuntimeError, NotImplementedError) as error:
                if not more or "unexpected keyword" not in str(error):
                    raise self._refused(request, output_stride, error) from error
        if files and request.weights is not None:
            from bench.networks.libraries.state_files import load_state

            convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
            note = load_state(module, files[0], convert)
            if note:
                request.warn(f"{files[0].name}: {note}")
        return module

    def _refused(self, request: Request, output_stride: int | None, error: Exception) -> Exception:
        if output_stride and ("output_stride" in f"{error}" or isinstance(error, NotImplementedError)):
            return WrongName(
                f"timm:{request.name} cannot be given an output stride of {output_stride}", "Leave `output_stride` out."
            )
        if "unexpected keyword" in str(error):
            name = str(error).rpartition("argument ")[2].strip("'\" ")
            return WrongName(f"timm:{request.name} has no option {name}", "Leave it out.")
        return error
