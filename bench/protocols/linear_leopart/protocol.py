"""The protocol `linear-leopart`, from a plan to its result."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.base.environment import torch_version
from bench.data.decoding import Label
from bench.data.samples import Samples, require_labelled_pixels
from bench.passes import tokens as token_pass
from bench.passes.cache import ShardStore
from bench.passes.classify import MAP_BYTES, Classifiers, decode_map
from bench.passes.features import Features
from bench.passes.tokens import ImageTokens, Tokens
from bench.protocols import shared_by_pixel, shared_by_token
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.linear import training
from bench.protocols.linear.training import Training
from bench.protocols.linear_leopart.augmentation import batches, to_train_grid
from bench.protocols.linear_leopart.preset import LeopartPreset
from bench.protocols.prediction_maps import Map
from bench.scoring.id_counts import Painted, given_classes
from bench.scoring.metrics import seed_metrics

TRAIN = "train"
HEAD_VERSION = 1
"""Raised whenever training would give other weights."""
_TRAINING_ENTRIES = (
    "train_grid", "batch", "lr", "momentum", "weight_decay", "lr_decay", "lr_decay_after", "init_std", "flip",
    "crop_area", "crop_aspect",
)  # fmt: skip
"""Of the preset, what decides the weights after an epoch beside what the network sees."""


@dataclass(frozen=True)
class Head:
    """What one seed gave."""

    training: Training
    epoch: int
    """The one that counts, from 0."""
    online: tuple[float, ...]
    """mIoU of each epoch where one was chosen by it, percent."""
    painted: Painted
    kept: ShardStore

    @property
    def classifier(self) -> Classifiers:
        """Of that epoch."""
        return Classifiers(self.training.weights, self.training.biases).only(self.epoch)


class LinearLeopart(Protocol[LeopartPreset]):
    """A 1×1 convolution on tokens, trained at 100×100."""

    in_list_order = frozenset({TRAIN})

    def splits(self, preset: LeopartPreset, evaluated: str) -> dict[str, str]:
        """The one to train on."""
        return {TRAIN: preset.train}

    def measure(self, run: Run[LeopartPreset]) -> Result:
        """Train a head for each seed, choose its epoch, and classify the evaluated images at the input size."""
        features: Callable[[], Features] = functools.cache(run.features)
        heads = [_head(run, features, seed) for seed in run.plan.seeds]
        require_labelled_pixels(any(len(table) for table in heads[0].painted.counts), run.samples)
        rows = given_classes([head.painted for head in heads], run.num_classes)
        detail = {
            "classifier": {"on": run.subject.features_are(run.preset.features), "kind": "trained"},
            "training": [_history(head, run) for head in heads],
        }

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            return map(decode_map, heads[seed].kept.iterate_apart(run.samples.keys, chosen))

        solver = {"library": "torch", "version": torch_version(), "device": run.engine.device, "algorithm": "SGD"}
        return shared_by_pixel.result(run, rows, heads[0].painted, solver, detail=detail, paint=paint)

    def cached(self, run: Run[LeopartPreset]) -> str:
        """How many epochs of training."""
        return f"{_done(run)} of {run.preset.epochs * len(run.plan.seeds)} epochs of training are cached"

    def forwards(self, run: Run[LeopartPreset]) -> int:
        """The epochs of training that are not cached, and the evaluated images for each seed."""
        preset, seeds = run.preset, len(run.plan.seeds)
        left = preset.epochs * seeds - (0 if run.fresh else _done(run))
        chosen = min(preset.selection_images, len(run.samples)) if preset.selection != "last" else 0
        return left * (len(_train_samples(run)) // preset.batch) * preset.batch + seeds * len(run.samples) + chosen

    def kept_bytes(self, run: Run[LeopartPreset], width: int) -> int:
        """The head after each epoch, and a map of each image."""
        seeds = len(run.plan.seeds)
        return seeds * (4 * width * run.num_classes * run.preset.epochs + MAP_BYTES * len(run.samples))


def _done(run: Run[LeopartPreset]) -> int:
    folder = _folder(run, _train_samples(run))
    known = [Training.read(folder / f"seed-{seed}.npz") for seed in run.plan.seeds]
    return sum(min(len(one), run.preset.epochs) for one in known if one)


def _train_samples(run: Run[LeopartPreset]) -> Samples:
    return run.plan.others[TRAIN].first(run.preset.train_images)


def _folder(run: Run[LeopartPreset], samples: Samples) -> Path:
    """Where trainings by this recipe on these images are kept, of whatever length."""
    entries = {key: run.preset.resolved()[key] for key in _TRAINING_ENTRIES}
    versions = [training.TRAINER_VERSION, HEAD_VERSION]
    return run.learnt_folder("linear-leopart", [run.recipe(samples), entries, versions], samples)


def _head(run: Run[LeopartPreset], features: Callable[[], Features], seed: int) -> Head:
    samples, show = _train_samples(run), run.settings.progress
    learnt = training.train(
        *(features, samples, run.preset, seed, _folder(run, samples) / f"seed-{seed}.npz", run.engine),
        report=functools.partial(show, f"training, seed {seed}") if show else None,
        batches=batches,
        fresh=run.fresh,
    )
    classifiers = Classifiers(learnt.weights, learnt.biases)
    online = _online(run, features, classifiers) if run.preset.selection != "last" else ()
    epoch = online.index(max(online)) if online else len(learnt) - 1
    found, kept = shared_by_pixel.paint_all(run, features, classifiers.only(epoch), {"crf": None})
    return Head(learnt, epoch, online, found[0][run.preset.grid], kept)


def _online(run: Run[LeopartPreset], features: Callable[[], Features], classifiers: Classifiers) -> tuple[float, ...]:
    """mIoU of each epoch's head at `train_grid` on the first evaluated images: what the reference keeps heads by."""
    tokens = _first_tokens(run, features)
    recipe = {"heads": classifiers.digest(), "train_grid": run.preset.train_grid}
    painted = shared_by_token.count(
        run,  # type: ignore[type-var]  # tokens need no entry that this preset lacks
        tokens,
        lambda: functools.partial(paint_at_grid, classifiers=classifiers, cells=run.preset.train_grid),
        lambda image: _at_grid(image, run.preset),
        recipe,
        "choosing an epoch",
    )
    require_labelled_pixels(bool(painted), tokens.samples)
    return tuple(one["mIoU"] for one in seed_metrics(given_classes(painted, run.num_classes), run.preset.absent))


def _first_tokens(run: Run[LeopartPreset], features: Callable[[], Features]) -> Tokens:
    samples = run.samples.first(run.preset.selection_images)
    kept = token_pass.store(run.cache, run.recipe(samples), "float32")
    return token_pass.fill(features, samples, run.preset, kept, run.on("observing"), fresh=run.fresh)


def _at_grid(image: ImageTokens, preset: LeopartPreset) -> Label | None:
    return None if image.label is None else to_train_grid(image.label, preset)


def paint_at_grid(image: ImageTokens, classifiers: Classifiers, cells: int) -> list[Map]:
    """What each of E heads makes of an image's tokens (N×D) at cells×cells: class ids.

    Logits are upsampled in place of features: a head is affine, and the weights of an interpolation sum to one.
    """
    import torch

    from bench.passes.features import upsample

    rows, columns = image.grid
    tokens = torch.from_numpy(image.tokens)
    found = []
    with torch.inference_mode():
        for weight, bias in zip(classifiers.weights, classifiers.biases, strict=True):
            logits = (tokens @ torch.from_numpy(weight).T + torch.from_numpy(bias)).T.reshape(1, -1, rows, columns)
            found.append(upsample(logits, (cells, cells))[0].argmax(dim=0).numpy().astype("uint16"))
    return found


def _history(head: Head, run: Run[LeopartPreset]) -> dict[str, Any]:
    """How a training went, for the record: per epoch its mean loss, learning rate, and mIoU where one was chosen."""
    learnt, preset = head.training, run.preset
    chosen = f"best on the first {min(preset.selection_images, len(run.samples))} images of {run.samples.split}"
    return {
        "selection": "last" if preset.selection == "last" else chosen,
        "epoch": head.epoch + 1,
        "epochs": len(learnt),
        "steps": learnt.losses.shape[1],
        "loss": learnt.losses.mean(axis=1).tolist(),
        "learning_rate": learnt.rates.tolist(),
        **({"online_mIoU": list(head.online)} if head.online else {}),
        **training.told_timing(learnt.timing.sum(axis=0)),
    }
