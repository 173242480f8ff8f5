"""transformers modules: read through `output_hidden_states`, and backbones through their `feature_maps`.

`last` is the last block after the final norm, for CLIP too, whose own `last_hidden_state` is without it; a CNN's and a
hierarchical transformer's `last_hidden_state`, which is Swin's after the final norm. A head
(`ViTForImageClassification`) is left out.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, WrongName
from bench.networks.reading.block_reader import BlockReader, block_layers
from bench.networks.reading.hooks import attention_part
from bench.networks.reading.layers import Layer
from bench.networks.reading.maps import NAME_A_LAYER, as_map, words
from bench.networks.reading.paths import read_path
from bench.networks.reading.reader import Read, Reader, Structure

if TYPE_CHECKING:
    from torch import Tensor, nn

_NORMS = ("layernorm", "norm", "post_layernorm", "rms_norm")
"""Names of the final norm: ViT's, DINOv3's, CLIP's, AIMv2's."""
_TOKENS = ("cls_token", "class_embedding", "distillation_token", "register_tokens")
"""Names of the embeddings that come before the patches."""


def _of_transformers(module: nn.Module) -> bool:
    """Whether it is a PreTrainedModel, without importing the library."""
    return any(kind.__module__ == "transformers.modeling_utils" for kind in type(module).__mro__)


def _body(module: Any) -> Any:
    """The model without its head. Raises WrongName for one that reads no images, or not only images."""
    name, kinds = type(module).__name__, getattr(module, "input_modalities", None)
    config = module.config
    if hasattr(config, "vision_config") and hasattr(module, "vision_model"):
        raise WrongName(f"{name} reads images and text", "Give its image part alone: model.vision_model.")
    if getattr(module, "main_input_name", "") != "pixel_values" or "video" in (kinds or ()):
        what = kinds if isinstance(kinds, str) else " and ".join(kinds or ()) or "text"
        raise WrongName(
            f"{name} is a model of {what}, which has no features of an image", "Give a model that takes `pixel_values`."
        )
    inner = getattr(module.base_model, "vision_model", module.base_model)
    headed = not hasattr(module, "out_features") and "pixel_values" in inspect.signature(inner.forward).parameters
    return inner if headed else module


def _call(body: Any, images: Tensor, **more: Any) -> Any:
    """Its outputs with all hidden states; position embeddings interpolated where that must be asked for."""
    known = inspect.signature(body.forward).parameters
    if "interpolate_pos_encoding" in known:
        more["interpolate_pos_encoding"] = True
    with _unmasked(body, images, known) as given:
        return body(pixel_values=images, output_hidden_states=True, return_dict=True, **given, **more)


@contextlib.contextmanager
def _unmasked(body: Any, images: Tensor, known: Any) -> Iterator[dict[str, Any]]:
    """ViTMAE hides and shuffles patches whenever it runs; here it keeps all of them, in order."""
    if "noise" not in known or body.config.model_type != "vit_mae":
        yield {}
        return
    import torch

    ratio = body.config.mask_ratio
    patches = (images.shape[-2] // body.config.patch_size) * (images.shape[-1] // body.config.patch_size)
    body.config.mask_ratio = 0.0
    try:
        yield {"noise": torch.arange(patches, device=images.device).expand(len(images), -1)}
    finally:
        body.config.mask_ratio = ratio


def _patch(config: Any) -> int | None:
    patch = getattr(config, "patch_size", None)
    return max(patch) if isinstance(patch, (list, tuple)) else patch


class TransformersReader(BlockReader):
    """Reads a ViT of transformers: ViT, DeiT, BEiT, MAE, DINOv2, DINOv3, the image part of CLIP and SigLIP."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether its configuration has one patch size, one width and one depth, and it is no backbone."""
        if not _of_transformers(module) or hasattr(module, "out_features"):
            return False
        config: Any = module.config
        equal = not any(hasattr(config, name) for name in ("depths", "hidden_sizes", "vision_config"))
        known = all(isinstance(getattr(config, name, None), int) for name in ("num_hidden_layers", "hidden_size"))
        return equal and known and _patch(config) is not None

    @property
    def structure(self) -> Structure:
        """What the configuration and the embeddings say."""
        body = _body(self.module)
        config, patch = body.config, _patch(body.config) or 1
        size = getattr(config, "image_size", None)
        sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        embedded = any(name.startswith("position_embedding") for name in _embeddings(body))
        return Structure(
            family="transformers",
            patch=patch,
            width=config.hidden_size,
            depth=config.num_hidden_layers,
            tokens=self._tokens(body),
            grid=(sides[0] // patch, sides[1] // patch) if embedded and size else None,
            layers=block_layers(config.num_hidden_layers),
        )

    def _tokens(self, body: Any) -> int:
        parts = _embeddings(body)
        sizes = (parts[name].numel() for name in _TOKENS if getattr(parts.get(name), "numel", None))
        return sum(size // body.config.hidden_size for size in sizes)

    def maps(self, images: Tensor, blocks: Sequence[int], norm: bool) -> Sequence[Tensor]:
        """The hidden states after the blocks, the first of which is what goes into the first block."""
        body = _body(self.module)
        depth, tokens, final = body.config.num_hidden_layers, self._tokens(body), _norm(body)
        output = _call(body, images)
        states, last = output.hidden_states, output.last_hidden_state
        # CLIP applies its norm to the class token alone
        outside = final is not None and final is getattr(body, "post_layernorm", None)
        found = []
        for block in blocks:
            if norm and block == depth and not outside:
                state = last  # as the library itself normalises it
            elif norm and final is None:
                raise WrongName(f"{type(body).__name__} has no final norm that is known", "Name a block without +norm.")
            else:
                state = states[block] if outside else self._raw(states[block], last, final)
                state = final(state) if norm else state
            found.append(as_map(state, tokens, self._grid(images)))
        return found

    def _raw(self, state: Tensor, last: Tensor, final: Any) -> Tensor:
        """A hidden state, if it is none after the norm: some models put theirs in the last one's place."""
        from torch import nn

        if state is last and isinstance(final, nn.Module) and not isinstance(final, nn.Identity):
            raise BadInput(
                f"{type(self.module).__name__} gives its last block's output only after the norm", "Name `last`."
            )
        return state

    def attention(self, block: int, kind: str) -> Read:
        """From the linear layers of the block's attention: transformers has no means of its own."""
        from torch import nn

        body = _body(self.module)
        depth = body.config.num_hidden_layers
        lists = [part for part in body.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
        if not lists:
            raise WrongName(f"{type(body).__name__} has no list of {depth} blocks", "Name a block: block1.")
        part, tokens = attention_part(lists[0][block - 1], kind), self._tokens(body)
        return lambda images: as_map(part(lambda: _call(body, images)), tokens, self._grid(images))

    def _grid(self, images: Tensor) -> tuple[int, int]:
        patch = _patch(_body(self.module).config) or 1
        return images.shape[-2] // patch, images.shape[-1] // patch


def _embeddings(body: Any) -> dict[str, Any]:
    """The parameters and modules of a model's embeddings, by name."""
    part = getattr(body, "embeddings", None)
    return {**part._parameters, **part._modules} if part is not None else {}


def _norm(body: Any) -> Any:
    return next((getattr(body, name) for name in _NORMS if callable(getattr(body, name, None))), None)


class TransformersPyramidReader(Reader):
    """Reads CNNs, hierarchical transformers and backbones of transformers, and refuses what reads no images."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether it is of transformers."""
        return _of_transformers(module)

    @property
    def structure(self) -> Structure:
        """What the configuration says."""
        body = _body(self.module)
        named = getattr(body, "out_features", None)
        stages = len(getattr(body.config, "depths", None) or getattr(body.config, "hidden_sizes", None) or ())
        known = ("last", *named, f"output1 to output{len(named)}") if named else ("last",)
        return Structure(
            family="transformers",
            patch=_patch(body.config) if named and not stages else None,
            width=None if named else (getattr(body.config, "hidden_sizes", None) or [None])[-1],
            stages=stages or None,
            layers=known if named or not stages else ("last", f"stage1 to stage{stages}"),
        )

    def reading(self, layer: Layer) -> Read:
        """What gives a stage, or one of a backbone's maps."""
        body = _body(self.module)
        if layer.kind in ("path", "part"):
            return read_path(self.module, layer.name)
        named = getattr(body, "out_features", None)
        if named:
            return self._of_backbone(body, list(named), layer)
        if layer.name == "last":
            return lambda images: _last(_call(body, images))
        stages = self.structure.stages or 0
        if layer.kind != "stage" or (layer.number or 0) > stages:
            raise self.unknown(layer)
        back = stages + 1 - (layer.number or 1)

        def read(images: Tensor) -> Tensor:
            with _before_downsampling(body):
                return _states(_call(body, images))[-back]

        return read

    def _of_backbone(self, body: Any, named: list[str], layer: Layer) -> Read:
        if layer.name == "last":
            place = len(named) - 1
        elif layer.kind == "output" and (layer.number or 0) <= len(named):
            place = (layer.number or 1) - 1
        elif layer.name in named:
            place = named.index(layer.name)
        else:
            raise self.unknown(layer)
        return lambda images: _call(body, images).feature_maps[place]


@contextlib.contextmanager
def _before_downsampling(body: Any) -> Iterator[None]:
    """Swin and its kin state the end of a stage after it was made smaller, unless their encoder is told otherwise."""
    encoder, name = getattr(body, "encoder", None), "output_hidden_states_before_downsampling"
    if encoder is None or name not in inspect.signature(encoder.forward).parameters:
        yield
        return
    handle = encoder.register_forward_pre_hook(lambda _, given, more: (given, {**more, name: True}), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _states(output: Any) -> list[Tensor]:
    """The hidden states that are maps, B×D×h×w. Raises BadInput where there are none."""
    states = getattr(output, "reshaped_hidden_states", None) or getattr(output, "hidden_states", None) or ()
    maps = [state for state in states if getattr(state, "ndim", 0) == 4]
    if not maps:
        raise BadInput(f"a {type(output).__name__} has no hidden state B×D×h×w", NAME_A_LAYER)
    return maps


def _last(output: Any) -> Tensor:
    """The last hidden state, its tokens in the shape of the last map."""
    last = getattr(output, "last_hidden_state", None)
    if getattr(last, "ndim", 0) == 4:
        return last  # type: ignore[return-value]
    if last is None or last.ndim != 3:
        raise BadInput(f"a {type(output).__name__} has {words(last)} as its last hidden state", NAME_A_LAYER)
    rows, columns = _states(output)[-1].shape[-2:]
    return as_map(last, last.shape[1] - rows * columns, (rows, columns))
