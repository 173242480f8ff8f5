"""Estimate: what a run will cost, from a batch that is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.base.environment import peak_memory_mb
from bench.cards.foreground import ForegroundPreset
from bench.cards.models import Architecture
from bench.cards.presets import ImagePreset
from bench.passes.engine import Engine, arithmetic, tried
from bench.protocols import registry
from bench.protocols.base import Protocol, Run

_OWN = (500, 375)
"""Width and height of an image of PASCAL VOC, pixels."""


@dataclass(frozen=True)
class Estimate:
    """Of the network's part alone: reading images, clustering and counting come on top."""

    forwards: int
    """Images, or frames, that the network still has to see."""
    seconds_each: float
    batch_size: int
    memory_mb: float
    """Of this process on a CPU, of the device's memory on a GPU, with that batch."""
    cache_mb: float
    """What the run will keep in the cache, about."""

    @property
    def seconds(self) -> float:
        """In all."""
        return self.forwards * self.seconds_each


def estimate(run: Run[Any]) -> Estimate | None:
    """What the run will cost; None where the network has nothing left to do. It runs the network on two batches."""
    room: Protocol[Any] = registry.load(run.plan.base)
    forwards = room.forwards(run)
    if not forwards:
        return None
    import torch

    device, batch = run.engine.device, run.engine.batch_size
    network = run.network()
    images = torch.randn(batch, 3, *input_of(run), generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode(), arithmetic(run.engine):
        output = tried(network, images[:1], run.engine)
        seconds = _timed(lambda batch: tried(network, batch, run.engine), images, device)
    first = output[0] if isinstance(output, (tuple, list)) else output
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.startswith("cuda") else peak_memory_mb()
    kept = room.kept_bytes(run, first.shape[1]) / 1e6
    return Estimate(forwards, seconds / batch, batch, memory, kept)


def seconds_of_architecture(architecture: Architecture, size: tuple[int, int], engine: Engine) -> float:
    """Seconds that an image of this height and width takes, by a network of this shape with weights of no meaning."""
    import torch

    from bench.networks.architectures import assemble, fold_batch_norm

    network = assemble(architecture).eval().requires_grad_(False)
    fold_batch_norm(network).to(engine.device).to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(engine.device)
    with torch.inference_mode(), arithmetic(engine):
        network.features(images)
        return _timed(network.features, images, engine.device)


def _timed(network: Callable[[Any], Any], images: Any, device: str) -> float:
    import torch

    started = time.perf_counter()
    network(images)
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def input_of(run: Run[Any]) -> tuple[int, int]:
    """Height and width of the network's input; of video, of a frame of 16:9, of images of any size, of one of 4:3."""
    preset = run.preset
    if isinstance(preset, ImagePreset):
        return preset.seen()
    multiple = getattr(preset, "multiple", 8)
    if isinstance(preset, ForegroundPreset):
        width, height = _OWN if preset.longer_side is None else (preset.longer_side, round(preset.longer_side * 3 / 4))
        return height + -height % multiple, width + -width % multiple
    return preset.height, max(1, round(preset.height * 16 / 9 / multiple)) * multiple
