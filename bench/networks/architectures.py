"""The network: a dilated ResNet, a DeepLabV3 head, and two 1×1 heads (docs/protocols.md#network).

Module names follow torchvision's, which are the released checkpoints' keys. The assembly is ours: torchvision refuses
dilation for ResNet-18 and has no width below 64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.cards.models import Architecture
from bench.networks.blocks import ASPP, BasicBlock, Bottleneck

_STAGES: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
ASPP_RATES = [12, 24, 36]
_FEW = 8
"""Input channels below which `memory_format` avoids a strided 1×1 convolution in channels last."""


class DilatedResNet(nn.Module):
    """ResNet with output stride 8: `layer3` and `layer4` trade their stride for dilation 2 and 4.

    In each of the two the first 3×3 convolution keeps the dilation of the layer before (1, then 2), as in
    torchvision's `replace_stride_with_dilation=[False, True, True]`.
    """

    def __init__(self, backbone: str, width: int = 64) -> None:
        super().__init__()
        block, depths = _STAGES[backbone]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = width
        for number, (depth, stride, first, rest) in enumerate(
            zip(depths, (1, 2, 1, 1), (1, 1, 1, 2), (1, 1, 2, 4), strict=True), start=1
        ):
            planes = width << (number - 1)
            stage = _stage(block, channels, planes, depth, stride, first, rest)
            setattr(self, f"layer{number}", stage)
            channels = planes * block.expansion
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W normalised images → B×C×(H/8)×(W/8) features."""
        features: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for number in range(1, 5):
            features = getattr(self, f"layer{number}")(features)
        return features


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    channels: int,
    planes: int,
    depth: int,
    stride: int,
    first: int,
    rest: int,
) -> nn.Sequential:
    """One ResNet stage; its first 3×3 convolution has dilation `first`, all others `rest`."""
    blocks = [block(channels, planes, stride, first, rest)]
    blocks += [block(planes * block.expansion, planes, 1, rest, rest) for _ in range(1, depth)]
    return nn.Sequential(*blocks)


class WideConvolution(nn.Conv2d):
    """A dilated 3×3 convolution that, in training on maps no larger than its dilation, uses its centre alone.

    All other taps lie in the padding there, so that the function is the same, and a ninth of the work.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """B×C×h×w → B×D×h×w, as `nn.Conv2d`."""
        if self.training and min(self.dilation) >= max(maps.shape[-2:]):
            return functional.conv2d(maps, self.weight[:, :, 1:2, 1:2], self.bias)
        return super().forward(maps)


def deeplab_decoder(channels: int, width: int, classes: int = 0) -> nn.Sequential:
    """DeepLabV3 head; index 4 is the identity in the contrastive model, its 1×1 classifier in a linear one."""
    aspp = ASPP(channels, ASPP_RATES, width)
    # put in afterwards: drawn at once instead, all weights that follow would be others for the same seed
    for branch, rate in zip(list(aspp.convs)[1:], ASPP_RATES, strict=False):
        assert isinstance(branch, nn.Sequential)
        branch[0] = WideConvolution(channels, width, 3, padding=rate, dilation=rate, bias=False)
    return nn.Sequential(
        aspp,
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, classes, 1) if classes else nn.Identity(),
    )


class FeatureNetwork(nn.Module):
    """A backbone, and a decoder if the architecture has one: what linear classifiers stand on.

    See docs/protocols.md#linear.

    A decoder's `classes` outputs are part of it as a module, so that released files load strictly, but not of
    its features.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = DilatedResNet(architecture.backbone, architecture.width)
        if architecture.decoder_width:
            self.decoder = deeplab_decoder(self.backbone.channels, architecture.decoder_width, architecture.classes)

    def features(self, images: Tensor) -> Tensor:
        """B×3×H×W normalised images → B×C×(H/8)×(W/8): the decoder's output, else the last feature map."""
        features: Tensor = self.backbone(images)
        if self.architecture.decoder_width:
            for layer in list(self.decoder)[:4]:
                features = layer(features)
        return features


class MaskContrastNetwork(FeatureNetwork):
    """Images to pixel embeddings and saliency logits, both at stride 8.

    The paper upsamples both to the input size (bilinear, `align_corners=False`); here that is left to the
    observer, which needs the embedding only in a sum and so never builds the large tensor.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.head = nn.Conv2d(architecture.decoder_width, architecture.embedding, 1)
        self.classification_head = nn.Conv2d(architecture.decoder_width, 1, 1, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """B×3×H×W → embedding B×D×(H/8)×(W/8) and saliency logit B×(H/8)×(W/8), float32."""
        features = self.features(images)
        return self.head(features), self.classification_head(features).squeeze(1)


def assemble(architecture: Architecture) -> FeatureNetwork:
    """The network of an architecture, with weights as torch draws them."""
    return MaskContrastNetwork(architecture) if architecture.embedding else FeatureNetwork(architecture)


def memory_format(network: nn.Module) -> torch.memory_format:
    """The layout in memory in which a network can be trained: channels last, or plain for very narrow ones.

    Channels last is what convolutions like best, on CPUs and GPUs. In that layout oneDNN's kernels for AVX2
    (torch 2.14) write beyond a buffer in the backward pass of a strided 1×1 convolution with fewer than 8 input
    channels: gradients of its weight are wrong in about half of the calls, and the process may die. A ResNet-18
    of width 4 to 7 has one. Its images must be plain as well, as those of `bench train` are. The forward pass
    is sound in both layouts.
    """
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    if any(c.in_channels < _FEW and c.kernel_size == (1, 1) and max(c.stride) > 1 for c in convolutions):
        return torch.contiguous_format
    return torch.channels_last


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold every batch norm that directly follows a convolution into it, in place; for inference only.

    Relies on the order in which modules are registered, which in `blocks` is the order of use.
    """
    for module in network.modules():
        previous: tuple[str, nn.Conv2d] | None = None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and previous is not None:
                module._modules[previous[0]] = fuse_conv_bn_eval(previous[1], child)
                module._modules[name] = nn.Identity()
            previous = (name, child) if isinstance(child, nn.Conv2d) else None
    return network
