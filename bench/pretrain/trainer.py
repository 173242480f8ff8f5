"""The trainer: steps, checkpoints and log, from the first step or from the last checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bench.base.errors import BadInput, Warn
from bench.cards.recipes import Recipe
from bench.networks.architectures import memory_format
from bench.pretrain import checkpoint, ranks
from bench.pretrain.log import Log, Row
from bench.pretrain.momentum import MomentumContrast
from bench.pretrain.pairs import Batch, Pairs, batches
from bench.pretrain.schedule import learning_rate, make_optimizer, set_learning_rate

SAVE_SECONDS = 120.0
"""A checkpoint is written whenever the last one is older than this, and at the end."""
FIGURES = ("loss", "contrastive", "saliency", "accuracy")
_DROPOUT = 2  # a random stream apart from those of `pairs`

Report = Callable[[int, int, str], None]
"""Called with (images done, images in all, how it stands)."""


@dataclass
class Job:
    """Everything that a training run is given."""

    recipe: Recipe
    pairs: Pairs
    out: Path
    device: torch.device
    seed: int
    workers: int
    identity: dict[str, Any]
    """What must be the same for a run to be resumed, as plain values; kept in the checkpoint."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """The entries of the recipe that the user changed; kept in the checkpoint."""
    evaluate: Callable[[nn.Module], float | None] | None = None
    """Held-out mIoU in percent of a network, where there is one."""
    eval_every: int = 0
    report: Report | None = None
    warn: Warn = lambda message: None


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * len(FIGURES))
    """Of the figures of this epoch's steps."""
    seconds: float = 0.0
    """Spent on this epoch."""


class Trainer:
    """Trains a module. On a CPU, killed and resumed it arrives at the same weights, bit by bit.

    That holds because batches, dropout and shuffles are functions of (seed, step, rank): there is no state of
    a random generator to be kept, and none that could differ between ranks.
    """

    def __init__(self, job: Job, module: MomentumContrast) -> None:
        self.job = job
        self.recipe = job.recipe
        self.module = module.to(job.device).to(memory_format=memory_format(module))
        self.optimizer = make_optimizer(self.module, job.recipe)
        self.progress = Progress()
        self.path = job.out / checkpoint.FILE
        self.steps = job.recipe.epochs * job.pairs.steps_per_epoch

    def resume(self) -> None:
        """Go on from the checkpoint in the output folder. Raises BadInput where it is another run's."""
        self.progress = Progress(**checkpoint.load(self.path, self.module, self.optimizer, vars(self.progress)))

    def train(self) -> None:
        """Train to the end. Raises BadInput where a loss is not finite; the last checkpoint is then good."""
        wrapped = self._wrap()
        log = Log(self.job.out, self.progress.step, self.job.warn) if ranks.rank() == 0 else None
        stream = batches(
            self.job.pairs, self.job.seed, self.progress.step, self.steps, ranks.rank(), ranks.world(), self.job.workers
        )
        saved = time.monotonic()
        try:
            started = time.perf_counter()
            for batch in stream:
                self._step(wrapped, batch)
                self.progress.seconds += time.perf_counter() - started
                started = time.perf_counter()
                if self.progress.step % self.job.pairs.steps_per_epoch == 0:
                    self._finish_epoch(log)
                if time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
            self.save()
        finally:
            stream.close()
            if log is not None:
                log.close()

    def _wrap(self) -> nn.Module:
        if ranks.world() == 1:
            return self.module
        devices = [self.job.device] if self.job.device.type == "cuda" else None
        return DistributedDataParallel(self.module, device_ids=devices)

    def _step(self, wrapped: nn.Module, batch: Batch) -> None:
        """One step of the optimiser."""
        step, device = self.progress.step, self.job.device
        keys = (self.job.seed, _DROPOUT, step, ranks.rank())
        torch.manual_seed(int(np.random.SeedSequence(keys).generate_state(1)[0]))
        set_learning_rate(self.optimizer, learning_rate(self.recipe, step, self.job.pairs.steps_per_epoch))
        tensors = [tensor.to(device, non_blocking=True) for tensor in batch]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            losses = wrapped(*tensors)
        figures = ranks.mean(torch.stack([value.detach() for value in losses])).tolist()
        if not math.isfinite(figures[0]):
            raise self._diverged(f"the loss is {figures[0]} at step {self.progress.step + 1}")
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        self.optimizer.step()
        self.progress.step += 1
        self.progress.sums = [a + b for a, b in zip(self.progress.sums, figures, strict=True)]
        if self.job.report and ranks.rank() == 0:
            done = self.progress.step * self.recipe.batch
            self.job.report(done, self.steps * self.recipe.batch, _describe(figures))

    def _diverged(self, what: str) -> BadInput:
        kept = "holds the last good checkpoint" if self.path.is_file() else "was not written yet"
        or_else = ", or use --precision float32" if self.recipe.precision != "float32" else ""
        return BadInput(f"{what}; {self.path} {kept}", f"Lower the learning rate (--set lr=…){or_else}.")

    def _finish_epoch(self, log: Log | None) -> None:
        """Write the epoch's row, with the held-out figure where it is due; begin the next epoch's sums."""
        per_epoch = self.job.pairs.steps_per_epoch
        epoch = self.progress.step // per_epoch
        if log is not None:
            held_out = None
            if self.job.evaluate and self.job.eval_every and epoch % self.job.eval_every == 0:
                held_out = self.job.evaluate(self.module.model_q)
            means = [total / per_epoch for total in self.progress.sums]
            row: Row = dict(zip(FIGURES, means, strict=True)) | {
                "epoch": epoch,
                "step": self.progress.step,
                "lr": self.optimizer.param_groups[0]["lr"],
                "images_per_second": per_epoch * self.recipe.batch / self.progress.seconds,
                "seconds": self.progress.seconds,
                "held_out_miou": held_out,
            }
            log.add(row)
        self.progress.sums, self.progress.seconds = [0.0] * len(FIGURES), 0.0

    def save(self) -> None:
        """Write the checkpoint; rank 0 does it for all. Raises BadInput where a weight is not finite."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.module.model_q.parameters()):
            raise self._diverged(f"weights are not finite after step {self.progress.step}")
        if ranks.rank() == 0:
            epoch = self.progress.step // self.job.pairs.steps_per_epoch
            entries = {"epoch": epoch, "identity": self.job.identity, "overrides": self.job.overrides}
            checkpoint.save(self.path, self.module, self.optimizer, entries | vars(self.progress))


def _describe(figures: list[float]) -> str:
    loss, contrastive, saliency, accuracy = figures
    return f"loss {loss:.3f} = {contrastive:.3f} + {saliency:.3f}, accuracy {accuracy:.0%}"
