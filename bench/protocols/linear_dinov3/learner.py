"""The learner of `linear-dinov3`: the head, its optimiser, and the frozen network below it."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.decoding import Label
from bench.passes.engine import Engine, arithmetic
from bench.passes.features import Features, fill_up, require_variety, upsample
from bench.protocols.linear.learner import frozen_features
from bench.protocols.linear_dinov3.preset import Dinov3Preset
from bench.protocols.linear_dinov3.training import EPSILON, MOMENTS, Float32, Training, parameters

_DROPOUT = 1
"""Ends the seed of a step's dropout, so that it meets no other draw."""


class Head(nn.Module):
    """Batch norm, if asked for, and a 1×1 convolution from D features to C classes."""

    def __init__(self, width: int, classes: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, eps=EPSILON) if batch_norm else nn.Identity()
        self.convolution = nn.Conv2d(width, classes, 1)

    def forward(self, features: Tensor, kept: Tensor | None = None) -> Tensor:
        """B×D×h×w → B×C×h×w; normalised features are multiplied by `kept`, where there is a dropout."""
        normed = self.norm(features)
        found: Tensor = self.convolution(normed if kept is None else normed * kept)
        return found

    def named(self) -> dict[str, Tensor]:
        """The arrays of `Training.head`, with the shapes that they have here."""
        found: dict[str, Tensor] = {"weight": self.convolution.weight, "bias": self.convolution.bias}  # type: ignore[dict-item]
        if isinstance(self.norm, nn.BatchNorm2d):
            found |= {"gamma": self.norm.weight, "beta": self.norm.bias}
            found |= {"mean": self.norm.running_mean, "variance": self.norm.running_var}  # type: ignore[dict-item]
        return found


class Learner:
    """The head, its optimiser, and the frozen network below it."""

    def __init__(
        self, extract: Features, preset: Dinov3Preset, seed: int, classes: int, ignore: int, engine: Engine
    ) -> None:
        self.extract: Features = lambda images: extract(fill_up(images, preset.multiple, preset.pad))
        self.preset, self.seed, self.ignore, self.engine = preset, seed, ignore, engine
        self.seen = np.zeros(classes, np.bool_)
        self.losses: list[float] = []
        self.before = np.zeros(2)

    @property
    def steps(self) -> int:
        """How many were made."""
        return len(self.losses)

    @functools.cached_property
    def head(self) -> Head:
        """Put there by `start`."""
        raise AssertionError("no step was made")

    @functools.cached_property
    def optimiser(self) -> torch.optim.Optimizer:
        """Of the head's parameters, in the order of `parameters`."""
        kind = torch.optim.AdamW if self.preset.optimiser == "adamw" else torch.optim.Adam
        named = self.head.named()
        own = [named[name] for name in parameters(self.preset.batch_norm)]
        return kind(own, lr=self.preset.lr, weight_decay=self.preset.weight_decay)

    def start(self, width: int) -> None:
        """Draw a head for features of this width."""
        head = Head(width, len(self.seen), batch_norm=self.preset.batch_norm)
        noise = np.random.default_rng([self.seed]).standard_normal((len(self.seen), width))
        with torch.no_grad():
            head.convolution.weight.copy_(torch.from_numpy(self.preset.init_std * noise)[..., None, None])
            head.convolution.bias.zero_()  # type: ignore[union-attr]
        self.head = head.to(self.engine.device).train()

    def resume(self, training: Training) -> None:
        """Go on where a training stopped, the optimiser's moments included."""
        self.start(training.head["weight"].shape[1])
        named = self.head.named()
        with torch.no_grad():
            for name, values in training.head.items():
                named[name].copy_(torch.from_numpy(values).reshape(named[name].shape))
        for name in parameters(self.preset.batch_norm):
            like = named[name]
            first, second = (
                torch.from_numpy(training.optimiser[f"{name}.{moment}"]).reshape(like.shape).to(like.device)
                for moment in MOMENTS
            )
            step = torch.tensor(float(training.steps))
            self.optimiser.state[like] = {"step": step, "exp_avg": first, "exp_avg_sq": second}
        self.losses, self.seen = training.losses.tolist(), training.seen.copy()
        self.before = training.timing.copy()

    def step(self, images: npt.NDArray[Any], labels: Label, rate: float) -> float:
        """One step on a batch of crops; returns its loss, the mean cross-entropy over labelled pixels."""
        frozen = frozen_features(self.extract, images, self.preset, self.engine)
        if "head" not in self.__dict__:
            require_variety(frozen, 1, f"the first {len(images)} crops")
            self.start(frozen.shape[1])
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        with arithmetic(replace(self.engine, precision="float32")):
            logits = self.head(frozen, self._kept(frozen))
            loss, gradient = loss_gradient(logits.detach(), labels, self.ignore)
            logits.backward(gradient)
            self.optimiser.step()
        self.losses.append(loss)
        found = np.unique(labels)
        self.seen[found[found != self.ignore]] = True
        return loss

    def _kept(self, features: Tensor) -> Tensor | None:
        """What features are multiplied by in this step's dropout; it is the same on every device."""
        share = self.preset.dropout
        if not share:
            return None
        shape = (*features.shape[:2], 1, 1) if self.preset.dropout_of == "channels" else tuple(features.shape)
        drawn = np.random.default_rng([self.seed, self.steps, 0, _DROPOUT]).random(shape, np.float32)
        return torch.from_numpy((drawn >= share) / np.float32(1 - share)).to(features.device)

    def training(self, seconds: float, waited: float) -> Training:
        """The training up to here; so long it took since it was begun or resumed."""
        named = self.head.named()

        def array(tensor: Tensor, name: str) -> Float32:
            values = tensor.detach().cpu().numpy().astype(np.float32)
            return values.reshape(len(values), -1).copy() if name == "weight" else values.copy()

        moments = {
            f"{name}.{moment}": array(self.optimiser.state[named[name]][key], name)
            for name in parameters(self.preset.batch_norm)
            for moment, key in zip(MOMENTS, ("exp_avg", "exp_avg_sq"), strict=True)
        }
        return Training(
            {name: array(tensor, name) for name, tensor in named.items()},
            moments,
            np.array(self.losses, np.float32),
            self.seen.copy(),
            self.before + np.array([seconds, waited]),
        )


def loss_gradient(logits: Tensor, labels: Label, ignore: int) -> tuple[float, Tensor]:
    """The mean cross-entropy over a batch's labelled pixels, and its gradient by the logits B×C×h×w.

    Logits are upsampled to the labels' size B×H×W before. Images go one by one: C×H×W logits of a whole batch fit no
    cache and much of no memory.
    """
    leaf = logits.requires_grad_()
    target = torch.from_numpy(labels).to(logits.device).long()
    valid = max(1, int((target != ignore).sum()))
    total = torch.zeros((), device=logits.device)
    for one, wanted in zip(leaf, target, strict=True):
        whole = upsample(one[None], tuple(wanted.shape))
        loss = F.cross_entropy(whole, wanted[None], ignore_index=ignore, reduction="sum") / valid
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    assert leaf.grad is not None
    return float(total), leaf.grad
