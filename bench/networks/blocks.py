"""Blocks: the two residual blocks of ResNet (He et al., 2016) and DeepLabV3's ASPP (Chen et al., 2017).

Names and order of the modules are torchvision's, since the released checkpoints' keys and the weights that a seed
draws follow from them; outputs and gradients equal torchvision's to the last bit. It is not imported: that takes
seconds, and its usual build brings CUDA along.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def _conv3(channels: int, out: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3×3 convolution that keeps the size but for its stride."""
    return nn.Conv2d(channels, out, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def _conv1(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 1, stride=stride, bias=False)


def _shortcut(channels: int, out: int, stride: int) -> nn.Sequential | None:
    """A projection where the block changes shape; None stands for the identity."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(_conv1(channels, out, stride), nn.BatchNorm2d(out))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, of dilation `first` and `rest`, and a shortcut; as in ResNet-18."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int = 1, first: int = 1, rest: int = 1) -> None:
        super().__init__()
        shortcut = _shortcut(channels, planes, stride)  # its weights are drawn first, its place is the last
        self.conv1 = _conv3(channels, planes, stride, first)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3(planes, planes, dilation=rest)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """B×C×h×w → B×planes×(h/stride)×(w/stride)."""
        residual = self.relu(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        residual += maps if self.downsample is None else self.downsample(maps)
        return self.relu(residual)


class Bottleneck(nn.Module):
    """A 3×3 convolution of dilation `first` between two 1×1 ones, and a shortcut; as in ResNet-50.

    The stride is the 3×3 convolution's, as in torchvision. There is no second 3×3 convolution to have dilation `rest`.
    """

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int = 1, first: int = 1, rest: int = 1) -> None:
        super().__init__()
        out = planes * self.expansion
        shortcut = _shortcut(channels, out, stride)  # its weights are drawn first, its place is the last
        self.conv1 = _conv1(channels, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3(planes, planes, stride, first)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = _conv1(planes, out)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """B×C×h×w → B×4·planes×(h/stride)×(w/stride)."""
        residual = self.relu(self.bn1(self.conv1(maps)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        residual += maps if self.downsample is None else self.downsample(maps)
        return self.relu(residual)


def _branch(convolution: nn.Conv2d, *before: nn.Module) -> list[nn.Module]:
    """A convolution with its batch norm and ReLU."""
    return [*before, convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


class _ImagePooling(nn.Sequential):
    """ASPP's branch for the whole image: the mean of the map, projected, at each pixel."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(*_branch(_conv1(channels, out), nn.AdaptiveAvgPool2d(1)))

    def forward(self, maps: Tensor) -> Tensor:
        """B×C×h×w → B×out×h×w, the same at every pixel."""
        mean = maps
        for layer in self:
            mean = layer(mean)
        return functional.interpolate(mean, maps.shape[-2:], mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: a 1×1 convolution, a dilated 3×3 one per rate, and the mean of the image."""

    def __init__(self, channels: int, rates: Sequence[int], out: int) -> None:
        super().__init__()
        convolutions = [_conv1(channels, out), *(_conv3(channels, out, dilation=rate) for rate in rates)]
        branches = [nn.Sequential(*_branch(convolution)) for convolution in convolutions]
        self.convs = nn.ModuleList([*branches, _ImagePooling(channels, out)])
        self.project = nn.Sequential(*_branch(_conv1(len(self.convs) * out, out)), nn.Dropout(0.5))

    def forward(self, maps: Tensor) -> Tensor:
        """B×C×h×w → B×out×h×w."""
        return self.project(torch.cat([branch(maps) for branch in self.convs], 1))
