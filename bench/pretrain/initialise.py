"""Initialise: the first weights of training: random, or a backbone from torchvision or MoCo v2.

See docs/pre-training.md#the-method.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bench.base.errors import BadInput, Warn, WrongName
from bench.base.paths import expand
from bench.cards.recipes import Recipe
from bench.networks.architectures import MaskContrastNetwork
from bench.networks.checkpoints import read_checkpoint

BACKBONE = "backbone."
RANDOM = "random"

_REMEDY = {
    "imagenet": "Give torchvision's ImageNet weights of this backbone, e.g. --init resnet50-0676ba61.pth from "
    "https://download.pytorch.org/models/, or --init random.",
    "moco": "Give MoCo v2's file of 800 epochs, --init moco_v2_800ep_pretrain.pth.tar from "
    "https://github.com/facebookresearch/moco, or --init random.",
}


def initial_network(
    recipe: Recipe, init: str | None, seed: int, warn: Warn = lambda message: None
) -> MaskContrastNetwork:
    """The network before the first step; `init` is `random`, a file, or None for what the recipe says.

    Raises WrongName where the recipe needs a file and none is given, BadInput for a file that does not fit.
    """
    if init is None and recipe.initialisation != RANDOM:
        raise WrongName(
            f"recipe {recipe.id} starts from {recipe.initialisation} weights, which are not on this machine",
            _REMEDY[recipe.initialisation],
        )
    torch.manual_seed(seed)
    network = MaskContrastNetwork(recipe.architecture)
    _set_dropout(network, recipe.dropout)
    _draw_backbone(network.backbone)
    if recipe.zero_sum:
        _centre(network)
    if init is not None and init != RANDOM:
        _load_backbone(network.backbone, expand(init), recipe, warn)
    return network


def _set_dropout(network: MaskContrastNetwork, share: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def _draw_backbone(backbone: nn.Module) -> None:
    """torchvision's own initialisation of a ResNet: He-normal by fan-out. The decoder keeps torch's default."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _centre(network: MaskContrastNetwork) -> None:
    """Make first filters and rows of the embedding head sum to zero, and its bias zero.

    Filters then begin with form and not with brightness. Features are positive after the ReLU, and what they
    have in common would make all embeddings alike.
    """
    first, head = network.backbone.conv1.weight.detach(), network.head.weight.detach()
    first -= first.mean(dim=(2, 3), keepdim=True)
    head -= head.mean(dim=1, keepdim=True)
    nn.init.zeros_(network.get_parameter("head.bias"))


def _load_backbone(backbone: nn.Module, path: Path, recipe: Recipe, warn: Warn) -> None:
    """Load a backbone whole; what a file has besides, `fc.*` above all, is left out with a warning."""
    weights = read_checkpoint(path)
    state = {key.removeprefix(BACKBONE): value for key, value in weights.state.items()}
    expected = backbone.state_dict()
    wrong = [
        key
        for key in (*expected, *state)
        if key not in state or key not in expected or state[key].shape != expected[key].shape
    ]
    if wrong:
        architecture = recipe.architecture
        raise BadInput(
            f"{path} does not fit a {architecture.backbone} of width {architecture.width}: "
            f"{len(set(wrong))} tensors are missing, unexpected or of another shape ('{wrong[0]}')",
            "Give a file of this backbone, in torchvision's layout or as MoCo v2 saves it.",
        )
    backbone.load_state_dict(state)
    if weights.note and not weights.routine:
        warn(f"{weights.source}: {weights.note}")
