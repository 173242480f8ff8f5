"""Families: the readers, in the order in which they are asked; the last one reads whatever has a `forward`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.networks.reading.dino_modules import DinoReader
from bench.networks.reading.plain_modules import PlainReader
from bench.networks.reading.reader import Reader
from bench.networks.reading.timm_modules import TimmListReader, TimmReader
from bench.networks.reading.torchvision_modules import TorchvisionBlockReader, TorchvisionReader
from bench.networks.reading.transformers_modules import TransformersReader
from bench.networks.reading.transformers_pyramids import TransformersPyramidReader

if TYPE_CHECKING:
    from torch import nn

READERS: tuple[type[Reader], ...] = (
    TimmReader,
    TimmListReader,
    TorchvisionBlockReader,
    TorchvisionReader,
    TransformersReader,
    TransformersPyramidReader,
    DinoReader,
    PlainReader,
)
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "TimmWrapperModel": "timm_model",
    "TimmWrapperForImageClassification": "timm_model",
}
"""Classes of torch and transformers that hold a module, and under which name."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside of `torch.compile`, `DataParallel`, and transformers' wrappers of timm."""
    inner: Any = module
    while name := _WRAPPERS.get(type(inner).__name__):
        if not type(inner).__module__.startswith(("torch.", "transformers.")):
            break
        inner = getattr(inner, name)
    return inner
