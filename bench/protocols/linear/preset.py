"""The preset of `linear`: a training, its augmentation, and the CRF."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import FeaturesPreset, Positive, Preset, Rate, Seeds, Share


class TrainedPreset(FeaturesPreset):
    """Entries of the linear classifiers that are trained by SGD in epochs over augmented images."""

    train: str = "trainaug"
    """The split to train on."""
    train_images: Positive | None = None
    """Train on only this many images, the first of the split. null: all."""
    epochs: Positive = 60
    """Number of epochs (`--epochs`)."""
    batch: Positive = 16
    """Images in a step. The last, incomplete batch of an epoch is dropped."""
    lr: Rate = 0.1
    """Learning rate of SGD."""
    momentum: Share = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    """Weight decay of SGD."""
    lr_decay: Rate = 0.1
    """Factor of the learning rate in all epochs after `lr_decay_after`; it is applied once."""
    lr_decay_after: Annotated[int, Field(ge=0, le=10**6)] = 25
    """Index, from 0, of the last epoch with the full learning rate."""
    init_std: Rate = 0.01
    """Standard deviation of the initial weights; the bias starts at 0."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    selection: Literal["best on val", "last"] = "last"
    """The epoch that is reported: the best by mIoU on the evaluated split, or the last."""
    seeds: Seeds = 1
    """Number of classifiers to train; their seeds count up from the first. Not part of the fingerprint."""


class LinearPreset(TrainedPreset):
    """A 1×1 convolution on frozen features, trained here with these entries, or released by its authors
    (docs/protocols.md#linear)."""

    classifier: Literal["trained", "released"] = "trained"
    """Set by the model: `released` if the checkpoint has a classifier. It is then evaluated without training."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 5.0
    """Rotation about the image's centre: uniform between minus this and this, in degrees."""
    scale: tuple[Rate, Rate] = (0.75, 1.25)
    """Scale, in the same warp: uniform between the two. Pixels from outside the image become black background."""
    selection: Literal["best on val", "last"] = "best on val"
    """The epoch that is reported: the best by mIoU on the evaluated split at the input size, or the last."""
    crf: bool = False
    """Refine the logits with a dense CRF (`--crf`)."""

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`; a released classifier has no training entries."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """The training entries and the seeds, if the classifier is released."""
        if self.classifier == "trained":
            return {}
        return dict.fromkeys((*TRAINING_ENTRIES, "seeds"), "the checkpoint's own classifier is evaluated")

    @property
    def num_seeds(self) -> int:
        """As the preset says; 0 for a released classifier."""
        return self.seeds if self.classifier == "trained" else 0

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """Where the classifier comes from, which epoch of it counts, and whether a CRF refines it."""
        train = counting.shown(run.entries["train"]) if "train" in run.entries else "labelled images"
        few = run.number("train_images")
        trained = f"a linear classifier is trained on {f'{few} images of ' if few else ''}{train}"
        best = "of its epochs the best counts, by mIoU at the input size on the evaluated images themselves"
        return [
            counting.mean(run),
            counting.OWN_SIZE,
            counting.VOID,
            counting.absent(run),
            run.word("classifier", {"trained": trained, "released": "the checkpoint's own classifier is evaluated"}),
            run.word("selection", {"best on val": best, "last": "the last epoch counts"}),
            run.word("crf", {True: "a dense CRF refines the logits", False: ""}),
            counting.drawn(run, "the training"),
        ]

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """With the CRF it is `linear+crf`."""
        return {"crf": True} if self.crf else {}


TRAINING_ENTRIES = (
    "train", "train_images", "epochs", "batch", "lr", "momentum", "weight_decay", "lr_decay", "lr_decay_after",
    "init_std", "flip", "rotation", "scale", "selection",
)  # fmt: skip
"""The linear preset's entries that only training reads."""
