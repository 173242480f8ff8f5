"""timm: the networks of PyTorch Image Models."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName
from bench.networks import known_weights
from bench.networks.libraries.hub_files import Repository, require_weights
from bench.networks.libraries.library import Library
from bench.networks.libraries.options import named_options, refuse_own, refuse_unknown
from bench.networks.libraries.other_size import of_another_size
from bench.networks.libraries.request import Request
from bench.networks.libraries.sources import Source

if TYPE_CHECKING:
    from torch import nn

_ANY_SIZE: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""Arguments by which a network takes inputs of other sizes than its own, as far as it has any; the first is taken."""
_NOT_OPTIONS = {
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path", "cache_dir"),
    *("num_classes", "features_only", "output_stride"),
}
"""Arguments that say which weights are read, or what is: others say that."""
_PARTS = ("hf_hub_id", "license", "custom_load", "architecture", "tag")
"""What is kept of timm's configuration of pretrained weights."""


class Timm(Library):
    """`timm:vit_small_patch14_dinov2.lvd142m`."""

    scheme, package, module, extra = "timm", "timm", "timm", "timm"

    def list_all(self) -> dict[str, str]:
        """Architectures, and pretrained weights by their tags."""
        import timm

        tagged = timm.list_models(pretrained=True)
        defaults = {}
        for name in timm.list_models():
            config = timm.get_pretrained_cfg(name)
            defaults[name] = f"pretrained, {config.tag}" if config and config.hf_hub_id else "random only"
        return dict(sorted((defaults | dict.fromkeys(tagged, "pretrained")).items()))

    def check(self, request: Request) -> None:
        """By the list of names."""
        if request.revision is not None:
            raise WrongName(
                f"timm's weights have no revision: '@{request.revision}'", f"Write timm:{request.name}, with its tag."
            )
        if request.name not in {one.name for one in self.names(request.cache)}:
            raise self.unknown(request)
        refuse_own(request, _NOT_OPTIONS)

    def files(self, request: Request) -> Sequence[Path]:
        """The files of the network's pretrained weights."""
        return self._repository(request).weights()

    def sources(self, request: Request) -> Sequence[Source]:
        """The repository's weights."""
        if request.seed is not None:
            return ()
        repository = self._repository(request)
        return repository.sources(lambda names: require_weights(names, repository.name))

    def page(self, request: Request) -> str:
        """The repository's address."""
        return self._repository(request).address

    def licence(self, request: Request) -> str:
        """As timm states it."""
        return self._repository(request).licence

    def more(self, request: Request) -> dict[str, Any]:
        """Which weights a name without a tag stands for, and of which commit."""
        if request.seed is not None or request.weights is not None:
            return {}
        config = self._config(request)
        return {"weights": f"{config['architecture']}.{config['tag']}", "commit": self._repository(request).commit}

    def _repository(self, request: Request) -> Repository:
        config = self._config(request)
        if not config.get("hf_hub_id"):
            raise WrongName(
                f"timm has no pretrained weights of {request.name}",
                f"Write timm:{request.name}?random=0, or give a file with --weights.",
            )
        if config.get("custom_load") == "hf":
            raise BadInput(
                f"the weights of timm:{request.name} are in a form of their own, which is not read",
                "Choose another network, or convert them and give the file with --weights.",
            )
        return Repository(request, str(config["hf_hub_id"]), str(config.get("license") or "not stated"))

    def _config(self, request: Request) -> dict[str, Any]:
        """What timm says of the pretrained weights; kept, for a run that finds all else in the cache."""
        subject = {"pretrained": request.name, "timm": self.version()}
        kept = known_weights.find(request.cache, subject)
        if kept is None:
            import timm

            config = timm.get_pretrained_cfg(request.name)
            kept = {key: getattr(config, key, None) for key in _PARTS} if config else {}
            known_weights.keep(request.cache, subject, kept)
        return kept

    def build(self, request: Request, files: Sequence[Path], output_stride: int | None) -> nn.Module:
        """Without its classifier; a transformer for inputs of any multiple of its patch."""
        options: dict[str, Any] = dict(request.options) | ({"output_stride": output_stride} if output_stride else {})
        if files and request.weights is None:
            from bench.networks.libraries.state_files import read_states

            overlay = {"state_dict": read_states(files), "custom_load": False}
            options |= {"pretrained": True, "pretrained_cfg_overlay": overlay}
        with named_options(request):
            module = self._create(request, options, output_stride)
        if files and request.weights is not None:
            from bench.networks.libraries.state_files import load_state

            convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
            with of_another_size(request, module, "img_size"):
                note = load_state(module, files[0], convert)
            if note:
                request.warn(f"{files[0].name}: {note}")
        return module

    def _create(self, request: Request, options: dict[str, Any], output_stride: int | None) -> nn.Module:
        import timm

        for more in _ANY_SIZE:
            try:
                module: nn.Module = timm.create_model(request.name, num_classes=0, **{**more, **options})
            except (TypeError, RuntimeError, NotImplementedError) as error:
                if any(f"'{key}'" in str(error) for key in more):
                    continue
                refuse_unknown(request, error)
                if output_stride and ("output_stride" in str(error) or isinstance(error, NotImplementedError)):
                    raise WrongName(
                        f"timm:{request.name} cannot be given an output stride of {output_stride}",
                        "Leave `output_stride` out.",
                    ) from error
                raise
            return module
        raise AssertionError("the last of these has no argument of its own")
