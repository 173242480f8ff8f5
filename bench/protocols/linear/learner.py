"""The learner: the linear classifier, its optimiser, and the frozen network below it (docs/protocols.md#linear)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.cards.presets import Preset
from bench.data.decoding import Label
from bench.data.preprocessing import normalise
from bench.passes.engine import Engine, arithmetic, call, halving
from bench.passes.features import Features, feature_map, require_variety, upsample
from bench.protocols.linear.preset import TrainedPreset
from bench.protocols.linear.training import Float32, Training


class Learner:
    """The classifier, its optimiser, and the frozen network below it."""

    def __init__(
        self, extract: Features, preset: TrainedPreset, seed: int, classes: int, ignore: int, engine: Engine
    ) -> None:
        self.extract, self.preset, self.seed, self.engine = extract, preset, seed, engine
        self.classes, self.ignore = classes, ignore
        self.classifier: nn.Conv2d | None = None
        self.optimiser: torch.optim.SGD | None = None

    def start(self, weight: Float32, bias: Float32) -> None:
        """Take up a classifier, C×D and C."""
        self.classifier = nn.Conv2d(weight.shape[1], len(weight), 1)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.from_numpy(weight)[:, :, None, None])
            self.classifier.bias.copy_(torch.from_numpy(bias))  # type: ignore[union-attr]
        self.classifier.to(self.engine.device)
        self.optimiser = torch.optim.SGD(
            self.classifier.parameters(),
            lr=self.preset.lr,
            momentum=self.preset.momentum,
            weight_decay=self.preset.weight_decay,
        )

    def resume(self, training: Training) -> None:
        """Go on where a training stopped, the optimiser's momentum included."""
        self.start(training.weights[-1], training.biases[-1])
        assert self.classifier is not None and self.optimiser is not None
        for parameter, velocity in zip(self.classifier.parameters(), training.velocity, strict=True):
            buffer = torch.from_numpy(velocity).reshape(parameter.shape).to(parameter.device)
            self.optimiser.state[parameter]["momentum_buffer"] = buffer

    def step(self, images: npt.NDArray[Any], labels: Label, rate: float) -> float:
        """One step of SGD on a batch; returns its loss."""
        frozen = frozen_features(self.extract, images, self.preset, self.engine)
        if self.classifier is None:
            require_variety(frozen, 1, f"the first {len(images)} images")
            noise = np.random.default_rng([self.seed]).standard_normal((self.classes, frozen.shape[1]))
            self.start((self.preset.init_std * noise).astype(np.float32), np.zeros(self.classes, np.float32))
        assert self.classifier is not None and self.optimiser is not None
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        loss = accumulate_gradient(self.classifier, frozen, labels, self.ignore)
        self.optimiser.step()
        return loss

    def after_epoch(
        self, before: Training | None, losses: Sequence[float], rate: float, timing: tuple[float, float]
    ) -> Training:
        """The training with one more epoch."""
        assert self.classifier is not None and self.optimiser is not None
        weight, bias = (p.detach().cpu().numpy().reshape(len(p), -1).copy() for p in self.classifier.parameters())
        velocities = (self.optimiser.state[p].get("momentum_buffer") for p in self.classifier.parameters())
        velocity = [np.zeros(shape, np.float32) for shape in (weight.shape, bias.shape)]
        for target, value in zip(velocity, velocities, strict=True):
            if value is not None:
                target[:] = value.cpu().numpy().reshape(target.shape)
        epoch = {
            "weights": weight[None],
            "biases": bias[:, 0][None],
            "losses": np.array([losses], np.float32),
            "rates": np.array([rate]),
            "timing": np.array([timing]),
        }
        arrays = {n: np.concatenate([getattr(before, n), a]) if before else a for n, a in epoch.items()}
        return Training(velocity=(velocity[0], velocity[1][:, 0]), **arrays)


def frozen_features(extract: Features, images: npt.NDArray[Any], preset: Preset, engine: Engine) -> Tensor:
    """B×D×h×w float32 features of B×H×W×3 images, 0…255, without autograd, yet of use to it."""

    def forward(part: Sequence[npt.NDArray[Any]]) -> list[Tensor]:
        tensor = torch.from_numpy(np.stack(part)).to(engine.device, non_blocking=True)
        with torch.inference_mode(), arithmetic(engine):
            network_input = normalise(tensor, preset)
            return list(feature_map(call(extract, network_input), network_input))

    parts: list[Tensor] = []
    start = 0
    while start < len(images):
        size = engine.batch_size
        parts += halving(forward, list(images[start : start + size]), engine)
        start += size
    # made outside of inference mode: autograd may keep it for the classifier's gradient
    return torch.stack([part.to(torch.float32, copy=True) for part in parts])


def accumulate_gradient(classifier: nn.Conv2d, features: Tensor, labels: Label, ignore: int) -> float:
    """Add the gradient of the mean cross-entropy over a batch's valid pixels; returns that mean.

    Logits are upsampled to the labels' size before the loss. Images go one by one: C×H×W logits of a whole
    batch fit no cache and much of no memory.
    """
    target = torch.from_numpy(labels).to(features.device).long()
    valid = max(1, int((target != ignore).sum()))
    total = torch.zeros((), device=features.device)
    for feature, wanted in zip(features, target, strict=True):
        logits = upsample(classifier(feature[None]), tuple(wanted.shape))
        loss = F.cross_entropy(logits, wanted[None], ignore_index=ignore, reduction="sum") / valid
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return float(total)
