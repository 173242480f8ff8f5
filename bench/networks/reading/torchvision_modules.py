"""torchvision modules: read through torchvision's own `create_feature_extractor`.

`last` is what the classifier pools: `layer4` of a ResNet, `features` of VGG, DenseNet, ConvNeXt, EfficientNet and
MobileNet (the convolution that ends the latter two included, and no norm after ConvNeXt's), Swin's and ViT's output
after the final norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.networks.reading.block_reader import BlockReader, block_layers
from bench.networks.reading.layers import Layer
from bench.networks.reading.maps import as_map, channels_second
from bench.networks.reading.paths import read_path
from bench.networks.reading.reader import Read, Reader, Structure

if TYPE_CHECKING:
    from torch import Tensor, nn

_EVERY_OTHER = tuple(f"features.{place}" for place in (1, 3, 5, 7))
_STAGES = {
    "ResNet": ("layer1", "layer2", "layer3", "layer4"),
    "RegNet": tuple(f"trunk_output.block{place}" for place in (1, 2, 3, 4)),
    "ConvNeXt": _EVERY_OTHER,
    "SwinTransformer": _EVERY_OTHER,
    "DenseNet": (*(f"features.denseblock{place}" for place in (1, 2, 3)), "features"),
    "ShuffleNetV2": ("stage2", "stage3", "stage4"),
    "MaxVit": tuple(f"blocks.{place}" for place in range(4)),
}
"""Class → the nodes that end its stages. A stem is none of them."""
_LAST = {
    "RegNet": "trunk_output",
    "SwinTransformer": "permute",
    "ShuffleNetV2": "conv5",
    "MNASNet": "layers",
    "GoogLeNet": "inception5b",
    "Inception3": "Mixed_7c",
    "MaxVit": "blocks",
}
"""Class → the node that is pooled; where it is not named here, the last of the stages, or `features`."""
_OTHER_SIZES = (
    "Make it for others: image_size=…, with the position embeddings of "
    "torchvision.models.vision_transformer.interpolate_embeddings."
)


def _class_of(module: nn.Module) -> str:
    """The name of torchvision's class whose `forward` the module runs; empty where that is none of its classifiers.

    `forward` counts: that of a subclass is as its author wrote it.
    """
    where = getattr(module.forward, "__module__", "")
    if not where.startswith("torchvision.models.") or where.startswith(
        ("torchvision.models.segmentation", "torchvision.models.detection", "torchvision.models.video")
    ):
        return ""
    return next(kind.__name__ for kind in type(module).__mro__ if "forward" in vars(kind))


def _extractor(module: nn.Module, nodes: Sequence[str]) -> Any:
    """What gives the outputs of `nodes`, as a tuple, of images."""
    from torchvision.models.feature_extraction import create_feature_extractor

    names = {node: str(place) for place, node in enumerate(nodes)}
    extract = create_feature_extractor(module, names)
    extract.train(module.training)

    def outputs(images: Tensor) -> list[Tensor]:
        found = extract(images)
        return [found[names[node]] for node in nodes]

    return outputs


class TorchvisionReader(Reader):
    """Reads torchvision's CNNs and hierarchical transformers."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether it is a classifier of torchvision with feature maps that are known."""
        name = _class_of(module)
        return bool(name) and (name in _STAGES or name in _LAST or "features" in module._modules)

    @property
    def _name(self) -> str:
        return _class_of(self.module)

    @property
    def _stages(self) -> tuple[str, ...]:
        """The nodes that end a stage: of `features`, those before what makes the map smaller."""
        if self._name in _STAGES:
            return _STAGES[self._name]
        if "features" not in self.module._modules:
            return ()
        children = [name for name, _ in self.module.features.named_children()]
        smaller = [place for place, name in enumerate(children) if _shrinks(getattr(self.module.features, name))]
        return (*(f"features.{children[place - 1]}" for place in smaller if place > 0), "features")

    @property
    def structure(self) -> Structure:
        """What its class says; torchvision's weights state their normalisation apart from the module."""
        stages = len(self._stages)
        return Structure(
            family="torchvision",
            stages=stages or None,
            layers=("last", f"stage1 to stage{stages}", "a submodule's dotted path") if stages else ("last",),
        )

    def reading(self, layer: Layer) -> Read:
        """What gives a stage."""
        if layer.kind in ("path", "part"):
            return read_path(self.module, layer.name)
        stages = self._stages
        if layer.name == "last":
            node = _LAST.get(self._name) or (stages[-1] if stages else "features")
        elif layer.kind == "stage" and (layer.number or 0) <= len(stages):
            node = stages[(layer.number or 1) - 1]
        else:
            raise self.unknown(layer)
        extract = _extractor(self.module, [node])
        if self._name == "SwinTransformer" and node != "permute":
            return lambda images: channels_second(extract(images)[0])
        return lambda images: extract(images)[0]


def _shrinks(part: nn.Module) -> bool:
    """Whether any layer within has a stride above 1."""
    strides = (getattr(layer, "stride", 1) for layer in part.modules())
    return any(stride > 1 if isinstance(stride, int) else max(stride) > 1 for stride in strides)


class TorchvisionBlockReader(BlockReader):
    """Reads torchvision's ViT."""

    @classmethod
    def reads(cls, module: nn.Module) -> bool:
        """Whether it is torchvision's VisionTransformer."""
        return _class_of(module) == "VisionTransformer"

    @property
    def structure(self) -> Structure:
        """What the module's attributes say."""
        module, depth = self.module, len(self.module.encoder.layers)
        cells = module.image_size // module.patch_size
        return Structure(
            family="torchvision",
            patch=module.patch_size,
            size=(module.image_size, module.image_size),
            width=module.hidden_dim,
            depth=depth,
            tokens=1,
            grid=(cells, cells),
            layers=block_layers(depth),
            other_sizes=_OTHER_SIZES,
        )

    def reading(self, layer: Layer) -> Read:
        """What gives a block; the extractor is made once for all images."""
        self._extractors: dict[tuple[str, ...], Any] = {}
        return super().reading(layer)

    def _outputs(self, images: Tensor, nodes: Sequence[str]) -> list[Tensor]:
        """The nodes' outputs, B×N×D each."""
        key = tuple(nodes)
        if key not in self._extractors:
            self._extractors[key] = _extractor(self.module, nodes)
        return self._extractors[key](images)

    def maps(self, images: Tensor, blocks: Sequence[int], norm: bool) -> Sequence[Tensor]:
        """The outputs of the encoder's layers."""
        outputs = self._outputs(images, [f"encoder.layers.encoder_layer_{block - 1}" for block in blocks])
        return [self._map(self.module.encoder.ln(tokens) if norm else tokens, images) for tokens in outputs]

    def attention(self, block: int, kind: str) -> Read:
        """The third of the attention's joint projection, which is one weight and no layer."""
        from torch.nn.functional import linear

        layer = self.module.encoder.layers[block - 1]
        attention = layer.self_attention
        place = ("query", "key", "value").index(kind)
        # by what goes into the block: torchvision counts nodes, and gives `ln_2` as the node named `ln_1`
        node = f"encoder.layers.encoder_layer_{block - 2}" if block > 1 else "encoder.dropout"

        def read(images: Tensor) -> Tensor:
            tokens = layer.ln_1(self._outputs(images, [node])[0])
            joint = linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
            return self._map(joint.chunk(3, -1)[place], images)

        return read

    def _map(self, tokens: Tensor, images: Tensor) -> Tensor:
        height, width = (side // self.module.patch_size for side in images.shape[-2:])
        return as_map(tokens, 1, (height, width))
