"""The preset of `linear-dinov3`."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import Positive, Presets, Rate, Seeds, Share, Side, WindowsPreset, learns_from

Least = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Dinov3Preset(WindowsPreset):
    """A linear classifier trained on crops by DINOv3's public recipe, scored by mmsegmentation's rules
    (docs/protocols.md#linear-dinov3)."""

    filled_up: ClassVar[tuple[str, ...]] = (*WindowsPreset.filled_up, "crop")

    interpolation: Literal["cubic", "linear", "area", "nearest"] = "linear"
    """How the image is resized, in training too. Labels are always resized with nearest."""
    absent: Literal["zero", "skip"] = "skip"
    """A class in no label and no prediction is left out of the mean (`skip`), or counts as IoU 0 (`zero`)."""
    train: str = "train"
    """The split to train on."""
    train_images: Positive | None = None
    """Train on only this many images, the first of the split. null: all."""
    steps: Positive = 40_000
    """Number of steps of training."""
    batch: Positive = 16
    """Crops in a step. Images are shuffled anew whenever all have been taken."""
    crop: Side = 512
    """Height and width of a training crop, pixels. What an image is too small for is filled with zeros, void."""
    scale: tuple[Rate, Rate] = (0.5, 2.0)
    """An image is resized by a factor between the two, uniform, beyond what `fit` asks for, before it is cropped."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    optimiser: Literal["adamw", "adam"] = "adamw"
    """`adam` adds the weight decay to the gradient, `adamw` takes it off the weights."""
    lr: Rate = 1e-3
    """Largest learning rate."""
    weight_decay: Least = 1e-3
    """Weight decay, of all parameters."""
    warmup: Annotated[int, Field(ge=0, le=10**6)] = 1500
    """Steps in which the learning rate rises linearly, from `warmup_ratio` times `lr`."""
    warmup_ratio: Share = 1e-6
    """Of the largest learning rate, that of the first step."""
    schedule: Literal["cosine", "poly"] = "cosine"
    """How the learning rate falls after the warm-up: half a cosine, or a power of the share of the steps that is left.
    """
    power: Rate = 0.9
    """That power, for `poly`."""
    lr_end: Least = 0.0
    """What the learning rate falls to."""
    batch_norm: bool = True
    """Whether a batch norm stands before the convolution. When images are evaluated it is folded into it."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the features that is dropped in training, after the batch norm."""
    dropout_of: Literal["channels", "values"] = "channels"
    """Whether whole channels of an image are dropped, or single values."""
    init_std: Rate = 0.01
    """Standard deviation of the initial weights; the bias starts at 0."""
    seeds: Seeds = 1
    """Number of classifiers to train; their seeds count up from the first. Not part of the fingerprint."""

    @model_validator(mode="after")
    def _ascends(self) -> Dinov3Preset:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: {self.scale[0]:g} is larger than {self.scale[1]:g}; the smaller factor is first")
        return self

    @property
    def num_seeds(self) -> int:
        """As the preset says."""
        return self.seeds

    def unread(self) -> dict[str, str]:
        """As of all windows, and what other entries switch off."""
        off = {
            "power": (self.schedule != "poly", "the schedule is no poly"),
            "warmup_ratio": (not self.warmup, "there is no warm-up"),
            "dropout_of": (not self.dropout, "nothing is dropped"),
        }
        return super().unread() | {key: reason for key, (unread, reason) in off.items() if unread}

    def learning_rate(self, step: int) -> float:
        """The rate of a step, counted from 0: up to `lr` linearly, then down to `lr_end` over the rest of the steps."""
        if step < self.warmup:
            return self.lr * (self.warmup_ratio + (1 - self.warmup_ratio) * step / self.warmup)
        left = 1 - (step - self.warmup) / max(1, self.steps - self.warmup)
        share = left**self.power if self.schedule == "poly" else (1 - math.cos(math.pi * left)) / 2
        return self.lr_end + (self.lr - self.lr_end) * share

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """How the classifier comes about, and how images are seen."""
        train = counting.shown(run.entries["train"]) if "train" in run.entries else "labelled images"
        few, steps, window = run.number("train_images"), run.number("steps"), run.number("window")
        over = f" for {steps} steps" if steps is not None else ""
        return [
            counting.mean(run),
            counting.OWN_SIZE,
            counting.VOID,
            counting.absent(run),
            f"a linear classifier is trained{over} on crops of {f'{few} images of ' if few else ''}{train}",
            f"images are classified in windows of {window} pixels" if window else "",
            counting.drawn(run),
        ]

    @classmethod
    def fallback(cls, presets: Presets) -> Dinov3Preset | None:
        """The recipe as it is, trained on the split that `linear` trains on, or from which others take their bank."""
        train = learns_from(presets, "train")
        return cls() if train is None else cls(train=train)


TRAINING_ENTRIES = (
    "steps", "batch", "crop", "scale", "flip", "optimiser", "lr", "weight_decay", "warmup", "warmup_ratio", "schedule",
    "power", "lr_end", "batch_norm", "dropout", "dropout_of", "init_std",
)  # fmt: skip
"""Entries that only training reads, beside the images to train on."""
