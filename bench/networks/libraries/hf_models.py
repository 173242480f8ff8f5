"""Hugging Face transformers: networks of pictures, from the hub or from a folder that `save_pretrained` wrote."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName, unknown_name
from bench.base.files import read_regular, said, sha256_file
from bench.base.paths import expand
from bench.cards.network_folders import meant
from bench.networks.libraries.found import short
from bench.networks.libraries.hub_files import CONFIG, PREPROCESSOR, Repository, require_weights
from bench.networks.libraries.library import Library
from bench.networks.libraries.options import named_options, no_stride, refuse_own
from bench.networks.libraries.other_size import of_another_size
from bench.networks.libraries.preprocessor import normalisation_of, takes_bgr
from bench.networks.libraries.request import Request, is_path
from bench.networks.libraries.sources import Source
from bench.networks.libraries.strangers_code import about_code, require_trust
from bench.networks.subject import Triple

if TYPE_CHECKING:
    from torch import nn

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_LONGEST = 16 << 20
"""Bytes of a file of settings."""
_MAY_LACK = ("mask_token", "pooler.")
"""What no feature map depends on."""
_NOT_OPTIONS = {"trust_remote_code", "config", "state_dict", "cache_dir", "revision", "token", "code_revision"}


class HuggingFace(Library):
    """`hf:facebook/dinov2-small`, `hf:./folder`."""

    scheme, package, module, extra = "hf", "transformers", "transformers", "hf"

    def list_all(self) -> dict[str, str]:
        """Nobody can list the hub."""
        return {}

    def check(self, request: Request) -> None:
        """A folder must be there, and the name of a repository must be one."""
        refuse_own(request, _NOT_OPTIONS)
        if is_path(request.name):
            folder = expand(request.name)
            if not (folder / CONFIG).is_file():
                what = f"{folder} has no {CONFIG}" if folder.is_dir() else f"there is no folder {folder}"
                raise BadInput(what, "Name a folder that save_pretrained() of transformers wrote.")
        elif not _NAME.fullmatch(request.name):
            raise WrongName(
                f"'{request.name}' is no repository of the Hugging Face hub",
                f"{meant(request.name)}Write hf:OWNER/NAME, hf:OWNER/NAME@REVISION, or hf:./FOLDER.",
            )

    def require_there(self, request: Request) -> None:
        """The configuration is there, and its code trusted if it has any."""
        if self._has_code(request):
            require_trust(request, self.page(request))

    def files(self, request: Request) -> Sequence[Path]:
        """The files of the weights."""
        if not is_path(request.name):
            return Repository(request, request.name).weights()
        folder = expand(request.name)
        return [folder / name for name in require_weights([path.name for path in folder.iterdir()], str(folder))]

    def sources(self, request: Request) -> Sequence[Source]:
        """Configuration and weights; code only where it is trusted, weights only where they are not drawn."""
        if is_path(request.name):
            return ()

        def choose(names: Sequence[str]) -> list[str]:
            if CONFIG not in names:
                raise BadInput(f"{request.name} has no {CONFIG}: it is not of transformers", "Name another repository.")
            chosen = [CONFIG, *([PREPROCESSOR] if PREPROCESSOR in names else [])]
            chosen += [name for name in names if name.endswith(".py")] if request.trust_code else []
            return chosen + ([] if request.seed is not None else require_weights(names, request.name))

        return Repository(request, request.name).sources(choose)

    def page(self, request: Request) -> str:
        """The repository's address, or the folder."""
        return request.name if is_path(request.name) else Repository(request, request.name).address

    def more(self, request: Request) -> dict[str, Any]:
        """The hash of the configuration; the commit; of code of the hub that it is trusted, and its hash."""
        folder = self._folder(request)
        told: dict[str, Any] = {"config_sha256": sha256_file(folder / CONFIG, _LONGEST)}
        if not is_path(request.name):
            told["commit"] = folder.name
        if takes_bgr(self._preprocessor(request)):
            told["channels"] = "BGR"
        return told | (about_code(folder) if self._has_code(request) else {})

    def normalisation(self, request: Request) -> tuple[Triple | None, Triple | None]:
        """That of the preprocessor's file."""
        path = self._folder(request) / PREPROCESSOR
        return normalisation_of(self._preprocessor(request), path) if path.is_file() else (None, None)

    def _preprocessor(self, request: Request) -> dict[str, Any]:
        path = self._folder(request) / PREPROCESSOR
        return _read_json(path) if path.is_file() else {}

    def _folder(self, request: Request) -> Path:
        if is_path(request.name):
            return expand(request.name)
        repository = Repository(request, request.name)
        folder = repository.local()
        if not (folder / CONFIG).is_file():
            raise repository.missing("files")
        return folder

    def _has_code(self, request: Request) -> bool:
        """Whether the network is one that transformers lacks, and that the repository's own code defines."""
        told = _read_json(self._folder(request) / CONFIG)
        if not isinstance(told.get("auto_map"), dict):
            return False
        from transformers import CONFIG_MAPPING

        return told.get("model_type") not in CONFIG_MAPPING

    def build(self, request: Request, files: Sequence[Path], output_stride: int | None) -> nn.Module:
        """The network without heads."""
        if output_stride is not None:
            raise no_stride(request, output_stride)
        with _quiet():
            module = self._loaded(request, files)
        if takes_bgr(self._preprocessor(request)):
            module.register_forward_pre_hook(_in_bgr, with_kwargs=True)
        return module

    def _loaded(self, request: Request, files: Sequence[Path]) -> nn.Module:
        config, kind = self._class(request)
        more = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
        if files and request.weights is None:
            return _load_own(kind, config, files, more, request)
        with named_options(request):
            module: nn.Module = kind(config, **more).float()
        if files:
            _load_given(module, files[0], request)
        return module

    def _class(self, request: Request) -> tuple[Any, Any]:
        """The configuration and the class of the network."""
        from transformers import AutoConfig

        folder, trust = self._folder(request), self._has_code(request)
        asked = {"local_files_only": True, "trust_remote_code": trust}
        try:
            config = AutoConfig.from_pretrained(str(folder), **asked)
        except Exception as error:
            raise BadInput(
                f"{request.text}: transformers {self.version()} cannot read its {CONFIG}: {short(error)}",
                "Correct the file, or install the version of transformers that wrote it.",
            ) from error
        known = config.to_dict()
        for key, value in request.options.items():
            if key not in known:
                raise unknown_name(f"option of hf:{request.name}", key, known, f"bench show hf:{request.name}")
            with named_options(request):
                setattr(config, key, value)
        return config, _require_pictures(_class_of(config, folder, trust), request, config)


def _class_of(config: Any, folder: Path, trust: bool) -> Any:
    from transformers import AutoBackbone, AutoModel

    if trust:
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        mapped = config.auto_map
        name = mapped.get("AutoModel") or mapped.get("AutoBackbone") or next(iter(mapped.values()))
        return get_class_from_dynamic_module(name, str(folder), local_files_only=True)
    for auto in (AutoModel, AutoBackbone):
        if type(config) in auto._model_mapping:
            found = auto._model_mapping[type(config)]
            return found[0] if isinstance(found, (tuple, list)) else found
    return None


def _require_pictures(kind: Any, request: Request, config: Any) -> Any:
    """The class. Raises BadInput for one whose input is not pictures alone."""
    if any(hasattr(config, f"{other}_config") for other in ("text", "audio", "qformer")):
        raise BadInput(
            f"{request.text} is a model of pictures and of something else ({config.model_type})",
            "Save its part for pictures with save_pretrained() of transformers, and name the folder: hf:./FOLDER.",
        )
    takes = getattr(kind, "main_input_name", None)
    if takes != "pixel_values":
        what = {"input_ids": "text", "input_values": "sound", "input_features": "sound"}.get(str(takes), "no pictures")
        raise BadInput(
            f"{request.text} is a model of {what} ({config.model_type}), and not of pictures",
            "Name a model whose input is one picture, such as a ViT, DINOv2, Swin or ConvNeXt.",
        )
    return kind


def _load_own(kind: Any, config: Any, files: Sequence[Path], more: dict[str, Any], request: Request) -> nn.Module:
    """By transformers' own way of loading, which knows older names; the tensors come from our reader."""
    import torch

    from bench.networks.libraries.state_files import read_states, shortened

    module, told = kind.from_pretrained(
        None, config=config, state_dict=read_states(files), dtype=torch.float32, output_loading_info=True, **more
    )
    lacks = sorted(key for key in told["missing_keys"] if not any(part in key for part in _MAY_LACK))
    if lacks or told["mismatched_keys"]:
        wrong = (
            f"lack '{lacks[0]}'" if lacks else f"have '{sorted(map(str, told['mismatched_keys']))[0]}' in another shape"
        )
        raise BadInput(
            f"the weights of {request.text} {wrong}: they are not of the network in its {CONFIG}",
            "Fetch the files again, or save the network again with save_pretrained().",
        )
    if other := sorted(map(str, told["unexpected_keys"])):
        request.warn(f"{request.shown}: left out {shortened(other)}")
    found: nn.Module = module
    return found


def _in_bgr(_: nn.Module, given: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Every image in the channels' other order."""
    images = [one.flip(1) for one in given[:1]]
    return (*images, *given[1:]), {key: one.flip(1) if key == "pixel_values" else one for key, one in named.items()}


def _load_given(module: nn.Module, path: Path, request: Request) -> None:
    from bench.networks.libraries.state_files import load_state

    heads = tuple(key for key in module.state_dict() if any(part in key for part in _MAY_LACK))
    with of_another_size(request, module, "image_size"):
        note = load_state(module, path, may_lack=heads)
    if note:
        request.warn(f"{path.name}: {note}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(read_regular(path, _LONGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read: {said(error)}", "Fetch or save the network again.") from error
    if not isinstance(told, dict):
        raise BadInput(f"{path} is not a table of settings", "Fetch or save the network again.")
    return told


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own reports: what matters in them is said by us."""
    from transformers import utils

    logging: Any = utils.logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
