"""Other networks: what a checkpoint looks like that is no ResNet-18 or ResNet-50, for the message that refuses it.

Sources of the names: torchvision (`models/resnet.py`, `vision_transformer.py`, `vgg.py`, `densenet.py`,
`swin_transformer.py`, `convnext.py`), timm (`resnet.py`, `vision_transformer.py`), transformers, CLIP (`model.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_OTHERS = (
    (r"relative_position_bias_table", "a Swin transformer"),
    (r"(^|\.)(cls_token|class_token|pos_embed|patch_embed\.proj\.weight)$", "a vision transformer"),
    (r"(^|\.)blocks\.\d+\.attn\.|encoder_layer_\d+\.self_attention", "a vision transformer"),
    (r"(^|\.)attention\.(attention\.)?query\.weight$", "a transformer of the transformers library"),
    (r"(^|\.)embedder\.embedder\.convolution\.weight$", "a ResNet of the transformers library, with names of its own"),
    (r"(dwconv|conv_dw)\.weight$|layer_scale$", "a ConvNeXt, MobileNet or EfficientNet"),
    (r"(^|\.)denseblock1\.", "a DenseNet"),
    (r"(^|\.)features\.0\.(0\.)?weight$", "a VGG, AlexNet or MobileNet"),
)
"""What a name is found in → the network that has such names."""

_BLOCKS = (
    (r"\.se(_module|_layer)?\.|\.fc[12]\.(weight|bias)$", "an SE-ResNet, with squeeze and excitation"),
    (r"^(attnpool|conv3)\.", "a ResNet of CLIP"),
    (r"^stem\.|^conv1\.\d", "a ResNet with a deep stem (ResNet-C, ResNet-D, ResNetV1c)"),
    (r"^gn1\.", "a ResNet with group normalisation"),
)
"""The same within a ResNet."""

_DEPTHS: dict[tuple[int | bool, ...], int] = {
    (2, 2, 2, 2, False): 18,
    (3, 4, 6, 3, False): 34,
    (3, 4, 6, 3, True): 50,
    (3, 4, 23, 3, True): 101,
    (3, 8, 36, 3, True): 152,
}
"""Blocks of the four stages, and whether they are bottlenecks → layers."""
_READ = (18, 50)


Shapes = Mapping[str, tuple[int, ...]]
"""Of tensors, by their names."""


def looks_like(state: Shapes) -> str:
    """What other network tensors are of, by their names and shapes; empty where nothing speaks for another one.

    `state` has the names that `checkpoint_names.choose_network` gives: those of a ResNet begin with `backbone.`.
    """
    trunk = {key.removeprefix("backbone."): shape for key, shape in state.items() if key.startswith("backbone.")}
    if not any(key.startswith("layer1.0.") for key in trunk):
        return next((what for name, what in _OTHERS if any(re.search(name, key) for key in state)), "")
    named = next((what for name, what in _BLOCKS if any(re.search(name, key) for key in trunk)), "")
    return named or _by_shape(trunk) or _by_depth(trunk)


def _by_shape(trunk: Shapes) -> str:
    """Two tensors must say the same, so that a single wrong one is named as that one."""
    shapes = {key: shape for key, shape in trunk.items() if len(shape) in (1, 4)}
    first, second = shapes.get("layer1.0.conv2.weight"), shapes.get("layer1.1.conv2.weight")
    if first and second and first[1:2] < first[:1] and second[1:2] < second[:1]:
        return "a ResNeXt, with grouped convolutions"
    stem, norm = shapes.get("conv1.weight"), shapes.get("bn1.weight")
    inner = shapes.get("layer1.0.conv1.weight"), shapes.get("layer1.1.conv1.weight")
    width = norm[0] if stem and norm and stem[0] == norm[0] else 0
    if "layer1.0.conv3.weight" in shapes and width and all(shape and shape[0] > width for shape in inner):
        return "a wide ResNet"
    return "a ResNet for small images, with a 3×3 stem" if stem and stem[2:] == (3, 3) else ""


def _by_depth(trunk: Shapes) -> str:
    blocks = {match[0] for key in trunk if (match := re.match(r"layer[1-4]\.\d+\.", key))}
    counts = tuple(sum(block.startswith(f"layer{stage}.") for block in blocks) for stage in range(1, 5))
    bottleneck = sum(".conv3." in key for key in trunk) > 1
    depth = _DEPTHS.get((*counts, bottleneck))
    if depth in _READ:
        return ""
    if depth:
        return f"a ResNet-{depth}"
    expected = (3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)
    more = any(have > want for have, want in zip(counts, expected, strict=True))
    return f"a ResNet of another depth ({', '.join(map(str, counts))} blocks)" if more else ""
