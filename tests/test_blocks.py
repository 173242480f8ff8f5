"""Our blocks against torchvision's, bit by bit: keys, order, weights that a seed draws, outputs and gradients."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from bench.networks import blocks
from bench.networks.architectures import fold_batch_norm
from tests.conftest import ROOT

resnet = pytest.importorskip("torchvision.models.resnet")
deeplab = pytest.importorskip("torchvision.models.segmentation.deeplabv3")


def theirs(name, channels, planes, stride, first, rest):
    """torchvision's block; its BasicBlock takes no dilation, so that one is set afterwards."""
    block = getattr(resnet, name)
    out = planes * block.expansion
    shortcut = None
    if stride > 1 or channels != out:
        shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))
    made = block(channels, planes, stride, shortcut)
    wide = [layer for layer in made.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    for layer, dilation in zip(wide, (first, rest), strict=False):
        layer.dilation = layer.padding = (dilation, dilation)
    return made


def drawn(make):
    """A module of seed 0 and the generator's state after it, so that the weights of later modules are the same, too."""
    torch.manual_seed(0)
    return make(), torch.get_rng_state()


def passes(module, maps):
    """What a module answers in training and in evaluation, and the gradients of all its weights and of its input."""
    maps = maps.clone().requires_grad_()
    torch.manual_seed(1)  # dropout
    output = module.train()(maps * 1)  # the blocks work in place
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    with torch.inference_mode():
        evaluated = module.eval()(maps * 1)
    return {
        "train": output.detach(),
        "eval": evaluated,
        "input": maps.grad,
        **{key: weight.grad for key, weight in module.named_parameters()},
        **dict(module.named_buffers()),
    }


def compare(ours, others, maps):
    (mine, mine_after), (other, other_after) = drawn(ours), drawn(others)
    assert torch.equal(mine_after, other_after)
    assert [name for name, _ in mine.named_modules()] == [name for name, _ in other.named_modules()]
    assert list(mine.state_dict()) == list(other.state_dict())
    for key, value in other.state_dict().items():
        assert torch.equal(mine.state_dict()[key], value), key
    found, expected = passes(mine, maps), passes(other, maps)
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fold_batch_norm(mine).modules())
    with torch.inference_mode():
        assert torch.equal(mine(maps * 1), fold_batch_norm(other)(maps * 1))


@pytest.mark.parametrize("name", ["BasicBlock", "Bottleneck"])
@pytest.mark.parametrize(
    ("channels", "stride", "first", "rest"),
    [(16, 1, 1, 1), (8, 1, 1, 1), (8, 2, 1, 1), (8, 1, 1, 2), (16, 1, 2, 2), (16, 1, 2, 4), (16, 1, 4, 4)],
)
def test_blocks_are_torchvisions(name, channels, stride, first, rest):
    planes = 16 // getattr(resnet, name).expansion  # 16 channels need no shortcut
    compare(
        lambda: getattr(blocks, name)(channels, planes, stride, first, rest),
        lambda: theirs(name, channels, planes, stride, first, rest),
        torch.randn(2, channels, 17, 12, generator=torch.Generator().manual_seed(2)),
    )


@pytest.mark.parametrize("rates", [[12, 24, 36], [2, 3]])
def test_the_pyramid_is_torchvisions(rates):
    compare(
        lambda: blocks.ASPP(8, rates, 4),
        lambda: deeplab.ASPP(8, rates, 4),
        torch.randn(2, 8, 17, 12, generator=torch.Generator().manual_seed(2)),
    )


@pytest.mark.slow
def test_the_program_does_not_import_torchvision():
    code = """
import sys
import bench.networks.find_model, bench.pretrain.run, bench.pretrain.views
sys.exit(int("torchvision" in sys.modules))"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode == 0
