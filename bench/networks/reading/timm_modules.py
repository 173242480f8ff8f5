"""timm modules: read through timm's own `forward_intermediates`.

`last` is the deepest entry of the model's `feature_info`, with the final norm wherever `forward_intermediates` applies
one: to the tokens of every ViT, to the last stage of Swin. ConvNeXt and the CNNs have none before their pooling. The
head's convolution of EfficientNet and MobileNetV2 is no stage, and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.networks.reading.block_reader import BlockReader, block_layers
from bench.networks.reading.hooks import attention_part
from bench.networks.reading.layers import Layer
from bench.networks.reading.maps import as_map, channels_second
from bench.networks.reading.paths import read_path
from bench.networks.reading.reader import Read, Reader, Structure

if TYPE_CHECKING:
    from torch import Tensor, nn

_STEM = re.compile(r"(stem\b.*|act\d?|bn\d?|conv\w*|layer0|features\.(norm0|conv1_1)|)")
"""What timm calls an entry of `feature_info` that comes before the first stage; only the first entry can be one."""
_WITHOUT_NORM = ("Hiera", "HieraDet")
"""Their `forward_intermediates` refuses to apply one: their final norm comes after the pooling."""
_OTHER_SIZES = "Make it for others: timm.create_model(…, dynamic_img_size=True) or timm.create_model(…, img_size=448)."


def _written_by_timm(module: nn.Module) -> bool:
    """Whether its `forward` is timm's: that of a subclass counts as its author wrote it."""
    return getattr(module.forward, "__module__", "").startswith("timm.")


class TimmReader(BlockReader):
    """Reads what `timm.create_model` makes, ViTs by their blocks and everything else by its stages."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether it is a model of timm that lists its own features."""
        listed = getattr(module, "feature_info", None)
        able = hasattr(module, "forward_intermediates") or hasattr(module, "forward_features")
        return _written_by_timm(module) and able and isinstance(listed, (list, tuple)) and bool(listed)

    @property
    def _info(self) -> Sequence[Mapping[str, Any]]:
        return self.module.feature_info

    @property
    def _of_blocks(self) -> bool:
        return _of_blocks(self._info)

    @property
    def _stages(self) -> list[int]:
        """The places of the stages, stem excluded, in `feature_info`."""
        return list(range(bool(_STEM.fullmatch(self._info[0]["module"])), len(self._info)))

    @property
    def structure(self) -> Structure:
        """What its `feature_info`, its patch embedding and its `pretrained_cfg` say."""
        depth, stages = (len(self._info), 0) if self._of_blocks else (0, len(self._stages))
        embedding = getattr(self.module, "patch_embed", None)
        grid = getattr(embedding, "grid_size", None)
        positions = getattr(self.module, "pos_embed", None)
        last = self._info[-1]
        return Structure(
            family="timm",
            patch=_patch(self.module, self._info),
            size=_only_size(self.module),
            width=last.get("num_chs_norm", last["num_chs"]),
            depth=depth or None,
            stages=stages or None,
            tokens=getattr(self.module, "num_prefix_tokens", 0),
            grid=tuple(grid) if grid and getattr(positions, "ndim", 0) >= 3 else None,
            mean=_stated(self.module, "mean"),
            std=_stated(self.module, "std"),
            layers=block_layers(depth) if depth else ("last", f"stage1 to stage{stages}"),
            other_sizes=_OTHER_SIZES,
        )

    def reading(self, layer: Layer) -> Read:
        """What gives a block or a stage."""
        if self._of_blocks or layer.kind in ("path", "part"):
            return super().reading(layer)
        if layer.name == "last":
            return lambda images: self._features(images, [len(self._info) - 1], True)[0]
        if layer.kind != "stage" or (layer.number or 0) > len(self._stages):
            raise self.unknown(layer)
        place = self._stages[(layer.number or 1) - 1]
        return lambda images: self._features(images, [place], False)[0]

    def maps(self, images: Tensor, blocks: Sequence[int], norm: bool) -> Sequence[Tensor]:
        """The blocks' outputs, as `forward_intermediates` gives them."""
        return self._features(images, [block - 1 for block in blocks], norm)

    def _features(self, images: Tensor, places: Sequence[int], norm: bool) -> Sequence[Tensor]:
        """The entries of `feature_info` at `places`, counted from 0, B×D×h×w."""
        norm = norm and type(self.module).__name__ not in _WITHOUT_NORM
        wanted = {"indices": list(places), "norm": norm, "output_fmt": "NCHW", "intermediates_only": True}
        if hasattr(self.module, "forward_intermediates"):
            return self.module.forward_intermediates(images, **wanted)
        if list(places) != [len(self._info) - 1] or not norm:
            raise self.unknown(Layer("an earlier one", "block"))
        output = self.module.forward_features(images)  # timm before 1.0
        if output.ndim == 3:
            output = as_map(output, self.structure.tokens, self._grid(images))
        return [channels_second(output) if getattr(self.module, "output_fmt", "NCHW") == "NHWC" else output]

    def attention(self, block: int, kind: str) -> Read:
        """From the linear layers of the block's attention: timm has no means of its own."""
        part = attention_part(self.module.get_submodule(self._info[block - 1]["module"]), kind)
        tokens = self.structure.tokens
        return lambda images: as_map(part(lambda: self.module.forward_features(images)), tokens, self._grid(images))

    def _grid(self, images: Tensor) -> tuple[int, int]:
        height, width = images.shape[-2:]
        embedding: Any = getattr(self.module, "patch_embed", None)
        if hasattr(embedding, "dynamic_feat_size"):
            return tuple(embedding.dynamic_feat_size((height, width)))
        stride = self._info[-1]["reduction"]
        return height // stride, width // stride


class TimmListReader(Reader):
    """Reads what `timm.create_model(…, features_only=True)` makes: several maps, `last` the deepest.

    `stage3` is the same one as of the whole model, if it is among them; `output3` is the third that is returned.
    """

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether it is one of timm's wrappers that return several maps."""
        return _written_by_timm(module) and hasattr(getattr(module, "feature_info", None), "out_indices")

    @property
    def _names(self) -> list[str]:
        """The names of what is returned, in its order: `stage3`, or none for a stem."""
        info = self.module.feature_info
        if _of_blocks(info.info):
            return [f"block{place % len(info) + 1}" for place in info.out_indices]
        stem = bool(_STEM.fullmatch(info.info[0]["module"]))
        return [f"stage{place % len(info) + 1 - stem}" for place in info.out_indices]

    @property
    def structure(self) -> Structure:
        """What its `feature_info` says, and the model inside of it if there is one."""
        inner = self.module._modules.get("model", self.module)
        outputs = len(self._names)
        return Structure(
            family="timm",
            patch=_patch(inner, self.module.feature_info.info),
            size=_only_size(inner),
            width=self.module.feature_info.channels()[-1],
            stages=outputs,
            tokens=getattr(inner, "num_prefix_tokens", 0),
            mean=_stated(self.module, "mean") or _stated(inner, "mean"),
            std=_stated(self.module, "std") or _stated(inner, "std"),
            layers=("last", f"output1 to output{outputs}", *(name for name in self._names if name != "stage0")),
            other_sizes=_OTHER_SIZES,
        )

    def reading(self, layer: Layer) -> Read:
        """What gives one of its maps."""
        if layer.kind in ("path", "part"):
            return read_path(self.module, layer.name)
        names = self._names
        if layer.name == "last":
            place = len(names) - 1
        elif layer.kind == "output" and (layer.number or 0) <= len(names):
            place = (layer.number or 1) - 1
        elif layer.name in names and layer.name != "stage0":
            place = names.index(layer.name)
        else:
            raise self.unknown(layer)

        def read(images: Tensor) -> Tensor:
            output = self.module(images)
            found = list(output.values() if isinstance(output, Mapping) else output)[place]
            return channels_second(found) if getattr(self.module, "output_fmt", "NCHW") == "NHWC" else found

        return read


def _of_blocks(info: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a `feature_info` is a list of blocks of one stride: that of a ViT."""
    return "blocks." in info[0]["module"] and len({entry["reduction"] for entry in info}) == 1


def _patch(module: Any, info: Sequence[Mapping[str, Any]]) -> int | None:
    """What both sides of an input must be multiples of; None where any size will do."""
    embedding = getattr(module, "patch_embed", None)
    if getattr(embedding, "dynamic_img_pad", False):
        return None
    if _of_blocks(info):
        return int(info[-1]["reduction"])
    if not hasattr(embedding, "strict_img_size"):  # overlapping patches, as PVT's, take any size
        return None
    return max(embedding.patch_size)  # type: ignore[union-attr]


def _only_size(module: Any) -> tuple[int, int] | None:
    """The only size of input that a model of timm takes; None where it takes others."""
    embedding = getattr(module, "patch_embed", None)
    strict = getattr(embedding, "strict_img_size", None)
    if strict is not None:
        size = embedding.img_size  # type: ignore[union-attr]
        return tuple(size) if strict and size and not getattr(module, "dynamic_img_size", False) else None
    config = getattr(module, "pretrained_cfg", None) or {}
    traits = getattr(module, "_traits", {})  # of timm from 1.0.30 on: how this very model was made
    if not traits.get("fixed_input_size", config.get("fixed_input_size", False)):
        return None
    return tuple(traits.get("img_size") or config["input_size"][-2:])


def _stated(module: Any, key: str) -> tuple[float, float, float] | None:
    """The mean or the standard deviation that a model's configuration states."""
    values = tuple((getattr(module, "pretrained_cfg", None) or {}).get(key) or ())
    return values if len(values) == 3 else None
