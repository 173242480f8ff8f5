"""The protocol `linear-dinov3`, from a plan to its result: heads are trained on crops, and paint window by window."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.environment import torch_version
from bench.base.errors import Warn
from bench.data.samples import Samples, require_labelled_pixels
from bench.passes import windows
from bench.passes.classify import MAP_BYTES, Classifiers, decode_map
from bench.protocols import shared_by_pixel
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.linear.training import told_timing
from bench.protocols.linear_dinov3 import training
from bench.protocols.linear_dinov3.preset import TRAINING_ENTRIES, Dinov3Preset
from bench.protocols.linear_dinov3.training import Training
from bench.protocols.prediction_maps import Map
from bench.scoring.further_figures import further_figures
from bench.scoring.id_counts import given_classes

TRAIN = "train"
_RECIPE = {"crf": None}
_CURVE = 100
"""Points of a training's curves in the record."""
_SHAPE = 4 / 3
"""Of a picture of unknown size, for estimates."""


class LinearDinov3(Protocol[Dinov3Preset]):
    """Batch norm, dropout and a 1×1 convolution on frozen features; sliding windows."""

    in_list_order = frozenset({TRAIN})

    def splits(self, preset: Dinov3Preset, evaluated: str) -> dict[str, str]:
        """The one to train on."""
        return {TRAIN: preset.train}

    def adapt(self, preset: Dinov3Preset, samples: Samples, asked: Mapping[str, Any], warn: Warn) -> Dinov3Preset:
        """As it is; a training that ends in its warm-up is warned of."""
        if preset.steps <= preset.warmup:
            warn(
                f"all {preset.steps} steps are in the warm-up of {preset.warmup}: the learning rate never reaches "
                f"{preset.lr:g} (--set warmup=N sets another)"
            )
        return preset

    def measure(self, run: Run[Dinov3Preset]) -> Result:
        """Train a head for each seed, and classify with all of them in one pass."""
        features = functools.cache(run.features)
        samples, folder = _train_samples(run), _folder(run)
        learnt = []
        for seed in run.plan.seeds:
            show = run.settings.progress
            report = functools.partial(show, f"training, seed {seed}") if show else None
            path = _path(folder, seed)
            learnt.append(
                training.train(features, samples, run.preset, seed, path, run.engine, report, fresh=run.fresh)
            )
        weights, biases = zip(*(one.classifier() for one in learnt), strict=True)
        classifiers = Classifiers(np.stack(weights), np.stack(biases))
        painted, kept = shared_by_pixel.paint_all(run, features, classifiers, _RECIPE)
        painted_at_own_size = [one["label"] for one in painted]
        require_labelled_pixels(any(len(table) for table in painted_at_own_size[0].counts), run.samples)
        rows = given_classes(painted_at_own_size, run.num_classes)

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            if len(classifiers) == 1:
                return map(decode_map, kept.iterate_apart(run.samples.keys, chosen))
            # of several at once no map was kept
            return shared_by_pixel.paint_again(run, features, classifiers.only(seed), _RECIPE, chosen)

        detail = {
            "classifier": {"on": run.subject.features_are(run.preset.features), "kind": "trained"},
            "training": [_history(one, run.preset) for one in learnt],
        }
        algorithm = {"adamw": "AdamW", "adam": "Adam"}[run.preset.optimiser]
        solver = {"library": "torch", "version": torch_version(), "device": run.engine.device, "algorithm": algorithm}
        extra = further_figures(rows, run.preset.resolved(), ("mDice", "mFscore"))
        return shared_by_pixel.result(
            run, rows, painted_at_own_size[0], solver, extra=extra, detail=detail, paint=paint
        )

    def cached(self, run: Run[Dinov3Preset]) -> str:
        """How many steps of training."""
        return f"{_steps_done(run)} of {run.preset.steps * len(run.plan.seeds)} steps of training are cached"

    def forwards(self, run: Run[Dinov3Preset]) -> int:
        """The crops of the steps that are not cached, and the windows of the evaluated images, taken to be 4:3."""
        preset = run.preset
        left = preset.steps * len(run.plan.seeds) - (0 if run.fresh else _steps_done(run))
        return left * preset.batch + len(run.samples) * windows_of(preset)

    def kept_bytes(self, run: Run[Dinov3Preset], width: int) -> int:
        """The head with its optimiser's moments, and a map for each evaluated image."""
        return 3 * 4 * width * run.num_classes * len(run.plan.seeds) + MAP_BYTES * len(run.samples)


def windows_of(preset: Dinov3Preset) -> int:
    """How many windows a picture of 4:3 has, in all its views."""
    height, width = preset.input
    if preset.fit in ("shorter", "own"):
        height, width = preset.input[0], round(preset.input[0] * _SHAPE)
    elif preset.fit == "longer":
        height, width = round(preset.input[0] / _SHAPE), preset.input[0]
    sizes = ((max(1, round(height * scale)), max(1, round(width * scale))) for scale in preset.scales)
    found = sum(len(windows.boxes(size, preset.window, preset.window_stride)) for size in sizes)
    return found * (2 if preset.mirror else 1)


def _history(learnt: Training, preset: Dinov3Preset) -> dict[str, Any]:
    """How a training went, for the record: its loss and learning rate, each the mean over a hundredth of the steps."""
    ends = np.unique(np.linspace(0, learnt.steps, min(_CURVE, learnt.steps) + 1).astype(np.int64))
    rates = np.array([preset.learning_rate(step) for step in range(learnt.steps)])
    return {
        "steps": learnt.steps,
        "crops": learnt.steps * preset.batch,
        "step": ends[1:].tolist(),
        "loss": [float(learnt.losses[a:b].mean()) for a, b in itertools.pairwise(ends)],
        "learning_rate": [float(rates[a:b].mean()) for a, b in itertools.pairwise(ends)],
        **told_timing(learnt.timing),
    }


def _train_samples(run: Run[Dinov3Preset]) -> Samples:
    return run.plan.others[TRAIN].first(run.preset.train_images)


def _folder(run: Run[Dinov3Preset]) -> Path:
    """Where trainings by this recipe on these images are kept."""
    samples, resolved = _train_samples(run), run.preset.resolved()
    seen = {key: value for key, value in run.recipe(samples).items() if key not in Dinov3Preset.unlike_training}
    entries = {key: resolved[key] for key in TRAINING_ENTRIES}
    return run.learnt_folder("linear-dinov3", [seen, entries, training.HEAD_VERSION], samples)


def _path(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}.npz"


def _steps_done(run: Run[Dinov3Preset]) -> int:
    folder, classes, batch_norm = _folder(run), run.num_classes, run.preset.batch_norm
    found = [Training.read(_path(folder, seed), classes, batch_norm=batch_norm) for seed in run.plan.seeds]
    return sum(min(one.steps, run.preset.steps) for one in found if one)
