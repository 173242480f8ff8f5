"""Linear classifier: a 1×1 convolution trained on frozen features as published (docs/protocols.md#linear).

The frozen part runs in inference mode, once per image and step; the classifier's own step is all that has a
gradient. What the classifier was after each epoch is kept, so an interrupted training goes on from its last
epoch, a longer one from a shorter one's end, and any epoch can be evaluated afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.own_files import drop, load_arrays, save_arrays
from bench.base.parallel import batched, prefetch
from bench.data.decoding import Label, read_sample
from bench.data.picture_files import Image8
from bench.data.samples import Samples
from bench.passes.engine import Engine
from bench.passes.features import Features
from bench.protocols.linear.augmentation import augment, draw, order
from bench.protocols.linear.preset import LinearPreset, TrainedPreset

TRAINER_VERSION = 1
"""Raised whenever training would give other weights: old ones are then not gone on from."""

_FORMS = {
    "weights": (3, "float32"),
    "biases": (2, "float32"),
    "losses": (2, "float32"),
    "rates": (1, "float64"),
    "timing": (2, "float64"),
}
"""Dimensions and dtype of the arrays of a `Training`."""
Float32 = npt.NDArray[np.float32]
Batch = tuple[npt.NDArray[Any], Label]
"""Images B×H×W×3, 0…255, and labels B×H×W."""
Place = TypeVar("Place")
P = TypeVar("P", bound=TrainedPreset)
Batches = Callable[[Samples, P, int, int, Engine], Iterator[Batch]]
"""Called with samples, preset, seed and epoch."""
Report = Callable[[int, int, str], None]
"""Called with (images done, images in all, a note)."""


@dataclass(frozen=True)
class Training:
    """A training so far: the classifier after each of its E epochs."""

    weights: Float32
    """E×C×D."""
    biases: Float32
    """E×C."""
    losses: Float32
    """E×S: the loss of every step."""
    rates: npt.NDArray[np.float64]
    """E: learning rates."""
    velocity: tuple[Float32, Float32]
    """SGD's momentum buffers of weight (C×D) and bias (C) after the last epoch."""
    timing: npt.NDArray[np.float64]
    """E×2, seconds: of the whole epoch, and in it those spent waiting for images."""

    def __len__(self) -> int:
        return len(self.weights)

    def first(self, epochs: int) -> Training:
        """The first `epochs` epochs; `velocity` then belongs to a later one."""
        names = ("weights", "biases", "losses", "rates", "timing")
        return replace(self, **{name: getattr(self, name)[:epochs] for name in names})

    def write(self, path: Path) -> None:
        """Write to an .npz, atomically."""
        arrays = {name: getattr(self, name) for name in Training.__annotations__ if name != "velocity"}
        save_arrays(path, arrays | {"velocity_weight": self.velocity[0], "velocity_bias": self.velocity[1]})

    @classmethod
    def read(cls, path: Path) -> Training | None:
        """What `write` wrote; None where it is absent or damaged."""
        arrays = load_arrays(path)
        if arrays is None:
            return None
        if not _is_training(arrays):
            drop(path)
            return None
        velocity = (arrays.pop("velocity_weight"), arrays.pop("velocity_bias"))
        return cls(velocity=velocity, **arrays)


def _is_training(arrays: dict[str, npt.NDArray[Any]]) -> bool:
    """Whether arrays from a file are a `Training`: all of them there, of one number of epochs, classes and features."""
    if arrays.keys() != {*_FORMS, "velocity_weight", "velocity_bias"}:
        return False
    if any((arrays[name].ndim, arrays[name].dtype.name) != form for name, form in _FORMS.items()):
        return False
    epochs, classes, width = arrays["weights"].shape
    shapes = {name: arrays[name].shape for name in arrays}
    return (
        epochs > 0
        and all(shape[0] == epochs for name, shape in shapes.items() if name in _FORMS)
        and shapes["biases"] == (epochs, classes)
        and shapes["timing"] == (epochs, 2)
        and (shapes["velocity_weight"], shapes["velocity_bias"]) == ((classes, width), (classes,))
    )


def learning_rate(preset: TrainedPreset, epoch: int) -> float:
    """The rate of an epoch, counted from 0. The comparison is strict, as published."""
    return preset.lr * (preset.lr_decay if epoch > preset.lr_decay_after else 1.0)


def train(
    features: Callable[[], Features],
    samples: Samples,
    preset: P,
    seed: int,
    path: Path,
    engine: Engine,
    report: Report | None = None,
    *,
    batches: Batches[Any] | None = None,
    fresh: bool = False,
) -> Training:
    """Train for `preset.epochs` epochs, going on from what `path` holds; it is rewritten after each epoch.

    `features` is called only when there is something left to train. `batches` gives an epoch's, those of
    `linear` by default. Raises BadInput for fewer images than a batch, and when the loss is no longer finite: the
    epochs before that stay in `path`.
    """
    steps = len(samples) // preset.batch
    if not steps:
        raise BadInput(
            f"{len(samples)} training images do not fill one batch of {preset.batch}",
            "Use more images, or a smaller batch with --set batch=N.",
        )
    training = None if fresh else Training.read(path)
    done = len(training) if training else 0
    if training and done >= preset.epochs:
        return training.first(preset.epochs)
    from bench.protocols.linear.learner import Learner

    each: Batches[Any] = batches or augmented_batches
    extract, total = features(), preset.epochs * steps * preset.batch
    learner = Learner(extract, preset, seed, len(samples.card.classes), samples.card.labels.ignore, engine)
    if training:
        learner.resume(training)
    for epoch in range(done, preset.epochs):
        rate, started = learning_rate(preset, epoch), time.perf_counter()
        losses: list[float] = []
        loader = WaitingTime(each(samples, preset, seed, epoch, engine))
        for images, labels in loader:
            losses.append(learner.step(images, labels, rate))
            if not math.isfinite(losses[-1]):
                raise _diverged(epoch, len(losses), rate)
            if report:
                images_done = (epoch * steps + len(losses)) * preset.batch
                report(images_done, total, f"epoch {epoch + 1}/{preset.epochs}  loss {losses[-1]:.3f}  lr {rate:g}")
        training = learner.after_epoch(training, losses, rate, (time.perf_counter() - started, loader.seconds))
        training.write(path)
    assert training is not None
    return training


def _diverged(epoch: int, step: int, rate: float) -> BadInput:
    kept = (
        f"the classifier of epoch {epoch} is kept: --epochs {epoch} evaluates it" if epoch else "no epoch was finished"
    )
    return BadInput(
        f"the loss is no longer finite in epoch {epoch + 1}, step {step}, at learning rate {rate:g}; {kept}",
        "Check that the network's file is whole, or try a lower rate (--set lr=0.01).",
    )


def told_timing(timing: npt.NDArray[np.float64]) -> dict[str, float]:
    """For the record: seconds in all, and the share of them that training waited; of (seconds, seconds waited)."""
    whole, waiting = timing.tolist()
    return {"seconds": whole, "waiting_share": waiting / whole if whole else 0.0}


class WaitingTime:
    """An iterator that knows how long its user waited for it."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self.batches = batches
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            started = time.perf_counter()
            batch = next(self.batches, None)
            self.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def augmented_batches(samples: Samples, preset: LinearPreset, seed: int, epoch: int, engine: Engine) -> Iterator[Batch]:
    """One epoch's batches, decoded and augmented in threads; the last, incomplete one is dropped."""

    def load(index: int) -> tuple[npt.NDArray[Any], Label]:
        image, label = labelled_image(samples, index)
        return augment(image, label, draw(preset, seed, epoch, index), preset)

    indices = (int(i) for i in order(len(samples), seed, epoch))
    return loaded_batches(load, indices, preset.batch, engine)


def labelled_image(samples: Samples, index: int) -> tuple[Image8, Label]:
    """An image and its label, decoded. Raises BadInput for a split without labels."""
    image, label, _ = read_sample(samples.entries[index], samples.card)
    if label is None:
        raise BadInput(f"{samples.card.id} has no labels for {samples.split}", "Choose another split to train on.")
    return image, label


def loaded_batches(
    load: Callable[[Place], tuple[npt.NDArray[Any], Label]], places: Iterable[Place], size: int, engine: Engine
) -> Iterator[Batch]:
    """Batches of what `load` makes of each place, in threads and in order; the last, incomplete one is dropped."""
    cv2.setNumThreads(1)  # the loader's threads are the parallelism
    with ThreadPoolExecutor(max(1, engine.workers), "bench-loader") as pool:
        try:
            for batch in batched(prefetch(pool, load, places, depth=2 * size), size):
                if len(batch) == size:
                    yield np.stack([image for image, _ in batch]), np.stack([label for _, label in batch])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
