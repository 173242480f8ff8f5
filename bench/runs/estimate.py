"""Estimate: what a run will cost, from a batch that is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.base.environment import peak_memory_mb
from bench.cards.foreground import ForegroundPreset
from bench.cards.models import ModelCard
from bench.cards.presets import ImagePreset, Preset
from bench.passes.engine import Engine, arithmetic, tried
from bench.protocols import registry
from bench.protocols.base import Protocol, Run
from bench.runs.fit_to_model import fit_to_model

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


def seconds_of_card(card: ModelCard, preset: Preset, engine: Engine, cache: Path) -> float:
    """Seconds that an image takes a card's network, with weights of no meaning: those of the card need not be here.

    Raises what a library raises that cannot build the network without its files.
    """
    import torch

    read, preset = _drawn(card, preset, engine, cache)
    images = torch.randn(1, 3, *size_of(preset), generator=torch.Generator().manual_seed(0)).to(engine.device)
    with torch.inference_mode(), arithmetic(engine):
        read(images)
        return _timed(read, images, engine.device)


def _drawn(card: ModelCard, preset: Preset, engine: Engine, cache: Path) -> tuple[Callable[[Any], Any], Preset]:
    """What is read of the network, and the preset with an input that fits it."""
    import torch

    from bench.networks import adapters
    from bench.networks.architectures import assemble, fold_batch_norm

    if card.architecture is not None:
        built = assemble(card.architecture).eval().requires_grad_(False)
        fold_batch_norm(built).to(engine.device).to(memory_format=torch.channels_last)
        return built.features, preset
    assert card.network is not None  # as the card's form has it
    options = {**card.network.options, "random": 0}
    network = card.network.model_copy(update={"options": options, "revision": None})
    drawn = card.model_copy(update={"network": network, "weights": None})
    subject = adapters.of_card(drawn, network, cache)
    return subject.features(engine.device), fit_to_model(preset, subject, {}, strict=False)


def _timed(network: Callable[[Any], Any], images: Any, device: str) -> float:
    import torch

    started = time.perf_counter()
    network(images)
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def input_of(run: Run[Any]) -> tuple[int, int]:
    """Height and width of the network's input."""
    return size_of(run.preset)


def size_of(preset: Any) -> tuple[int, int]:
    """Height and width of the network's input; of video, of a frame of 16:9, of images of any size, of one of 4:3."""
    if isinstance(preset, ImagePreset):
        return preset.seen()
    multiple = getattr(preset, "multiple", 8)
    if isinstance(preset, ForegroundPreset):
        width, height = _OWN if preset.longer_side is None else (preset.longer_side, round(preset.longer_side * 3 / 4))
        return height + -height % multiple, width + -width % multiple
    return preset.height, max(1, round(preset.height * 16 / 9 / multiple)) * multiple
