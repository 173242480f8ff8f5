"""The training of `linear-dinov3`: steps on random crops, and what is kept of them (docs/protocols.md#linear-dinov3).

Crops are new at every step, so the network sees each of them; nothing of it can be kept. What the head and its
optimiser were is kept every half minute, so an interrupted training goes on from there, and ends as an undisturbed one.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.own_files import drop, load_arrays, save_arrays
from bench.data.samples import Samples
from bench.passes.engine import Engine
from bench.passes.features import Features
from bench.protocols.linear.training import Report, WaitingTime
from bench.protocols.linear_dinov3.crops import batches
from bench.protocols.linear_dinov3.preset import Dinov3Preset

HEAD_VERSION = 1
"""Raised whenever training would give other weights: old ones are then not gone on from."""
KEEP_SECONDS = 30.0
EPSILON = 1e-5
"""Added to the variance by the batch norm."""
Float32 = npt.NDArray[np.float32]
MOMENTS = ("first", "second")
"""What Adam keeps of each parameter: means of its gradient and of the gradient's square."""


def parameters(batch_norm: bool) -> tuple[str, ...]:
    """The head's, in the optimiser's order."""
    return ("weight", "bias", *(("gamma", "beta") if batch_norm else ()))


@dataclass(frozen=True)
class Training:
    """A training so far."""

    head: dict[str, Float32]
    """`weight` C×D, `bias` C; of a batch norm `gamma`, `beta`, and the running `mean` and `variance`, each D."""
    optimiser: dict[str, Float32]
    """`weight.first`, `weight.second`, …: the moments of each parameter."""
    losses: Float32
    """Of every step."""
    seen: npt.NDArray[np.bool_]
    """C: which classes were in a crop."""
    timing: npt.NDArray[np.float64]
    """2, seconds: of the training, and in it those spent waiting for images."""

    @property
    def steps(self) -> int:
        """How many were made."""
        return len(self.losses)

    def classifier(self) -> tuple[Float32, Float32]:
        """C×D and C of the linear classifier that the head is in evaluation: the batch norm is folded into it."""
        return fold(self.head)

    def write(self, path: Path) -> None:
        """Write to an .npz, atomically."""
        rest = {"losses": self.losses, "seen": self.seen, "timing": self.timing}
        arrays = {**self.head, **self.optimiser, **rest}
        save_arrays(path, {**arrays, "digest": _digest(arrays)})

    @classmethod
    def read(cls, path: Path, classes: int, *, batch_norm: bool) -> Training | None:
        """What `write` wrote, for so many classes; None where it is absent or damaged."""
        arrays = load_arrays(path)
        if arrays is None:
            return None
        if not _is_training(arrays, classes, batch_norm):
            drop(path)
            return None
        own = parameters(batch_norm)
        head = {name: arrays[name] for name in (*own, *(("mean", "variance") if batch_norm else ()))}
        moments = {f"{name}.{moment}": arrays[f"{name}.{moment}"] for name in own for moment in MOMENTS}
        return cls(head, moments, arrays["losses"], arrays["seen"], arrays["timing"])


def _is_training(arrays: dict[str, npt.NDArray[Any]], classes: int, batch_norm: bool) -> bool:
    """Whether arrays from a file are a `Training`: all of them there, of one number of classes and features."""
    weight = arrays.get("weight")
    if weight is None or weight.ndim != 2 or len(weight) != classes:
        return False
    width = (weight.shape[1],)
    shapes: dict[str, tuple[int, ...]] = {"weight": weight.shape, "bias": (classes,), "gamma": width, "beta": width}
    shapes = {name: shapes[name] for name in parameters(batch_norm)}
    shapes |= {f"{name}.{moment}": shape for name, shape in shapes.items() for moment in MOMENTS}
    shapes |= {"mean": width, "variance": width} if batch_norm else {}
    shapes |= {"losses": arrays["losses"].shape[:1] if "losses" in arrays else (), "seen": (classes,), "timing": (2,)}
    shapes |= {"digest": (32,)}
    kinds = dict.fromkeys(shapes, "float32") | {"seen": "bool", "timing": "float64", "digest": "uint8"}
    fits = arrays.keys() == shapes.keys() and all(
        (array.shape, array.dtype.name) == (shapes[name], kinds[name]) for name, array in arrays.items()
    )
    return fits and np.array_equal(
        arrays["digest"], _digest({name: array for name, array in arrays.items() if name != "digest"})
    )


def _digest(arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    """32 bytes over all of them: losses that tell of other steps than the head has seen would go on elsewhere."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape}\n".encode() + arrays[name].tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def fold(head: dict[str, Float32]) -> tuple[Float32, Float32]:
    """A batch norm in evaluation and a 1×1 convolution (`Training.head`) as the one convolution that they are."""
    weight, bias = head["weight"].astype(np.float64), head["bias"].astype(np.float64)
    if "gamma" in head:
        gamma, beta, mean, variance = (head[name].astype(np.float64) for name in ("gamma", "beta", "mean", "variance"))
        factor = gamma / np.sqrt(variance + EPSILON)
        weight, bias = weight * factor, bias + weight @ (beta - mean * factor)
    return weight.astype(np.float32), bias.astype(np.float32)


def train(
    features: Callable[[], Features],
    samples: Samples,
    preset: Dinov3Preset,
    seed: int,
    path: Path,
    engine: Engine,
    report: Report | None = None,
    *,
    fresh: bool = False,
    keep_seconds: float = KEEP_SECONDS,
) -> Training:
    """Train for `preset.steps` steps, going on from what `path` holds; it is rewritten every so many seconds.

    `features` is called only when there is something left to train. Raises BadInput when the loss is no longer finite,
    and where the crops show no more than one class.
    """
    training = None if fresh else Training.read(path, len(samples.card.classes), batch_norm=preset.batch_norm)
    if training and training.steps >= preset.steps:
        return training
    from bench.protocols.linear_dinov3.learner import Learner

    learner = Learner(features(), preset, seed, len(samples.card.classes), samples.card.labels.ignore, engine)
    if training:
        learner.resume(training)
    clock = _Clock(keep_seconds)
    loader = WaitingTime(batches(samples, preset, seed, learner.steps, engine))
    for images, labels in loader:
        step, rate = learner.steps, preset.learning_rate(learner.steps)
        loss = learner.step(images, labels, rate)
        if not math.isfinite(loss):
            raise _diverged(step, rate)
        if learner.steps == preset.steps or learner.steps == -(-len(samples) // preset.batch):
            _require_classes(learner.seen, samples, learner.steps * preset.batch)
        if report:
            done, total = (count * preset.batch for count in (learner.steps, preset.steps))
            report(done, total, f"step {learner.steps}/{preset.steps}  loss {loss:.3f}  lr {rate:.2e}")
        if learner.steps == preset.steps or clock.strikes():
            training = learner.training(clock.since(), loader.seconds)
            training.write(path)
    assert training is not None
    return training


class _Clock:
    """Says when it is time to keep what is there."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started = seconds, time.perf_counter()
        self.last = self.started

    def strikes(self) -> bool:
        now = time.perf_counter()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True

    def since(self) -> float:
        return time.perf_counter() - self.started


def _diverged(step: int, rate: float) -> BadInput:
    return BadInput(
        f"the loss is no longer finite at step {step + 1}, at learning rate {rate:g}",
        "Check that the network's file is whole, or try a lower rate (--set lr=1e-4).",
    )


def _require_classes(seen: npt.NDArray[np.bool_], samples: Samples, crops: int) -> None:
    if seen.sum() > 1:
        return
    found = np.flatnonzero(seen)
    what = f"show only {samples.card.classes[found[0]]}" if len(found) else "have no labelled pixel"
    raise BadInput(
        f"{crops} crops of {samples.card.id} {samples.split} {what}: a classifier needs two classes to tell apart",
        "Train on another split with --set train=SPLIT, or look at the labels with `bench show`.",
    )
