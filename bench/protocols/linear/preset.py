"""The preset of `linear`: a training, its augmentation, and the CRF."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.cards.presets import ImagePreset, Positive, Preset, Rate, Share


class LinearPreset(ImagePreset):
    """A 1×1 convolution on frozen features: trained here by this recipe, or released by its authors
    (docs/protocols.md#linear)."""

    classifier: Literal["trained", "released"] = "trained"
    """Set by the model: a checkpoint with a classifier in it is evaluated as it is, without training."""
    train: str = "trainaug"
    """The split to train on."""
    train_images: Positive | None = None
    """Only its first so many images; all if unset."""
    epochs: Positive = 60
    batch: Positive = 16
    """Images per step; the last, incomplete batch of an epoch is dropped."""
    lr: Rate = 0.1
    """SGD's learning rate."""
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    lr_decay: Rate = 0.1
    """The learning rate is multiplied by this in every epoch whose index exceeds `lr_decay_after`."""
    lr_decay_after: Annotated[int, Field(ge=0)] = 25
    init_std: Rate = 0.01
    """Standard deviation of the initial weights; the bias starts at 0."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 5.0
    """Degrees: uniform between minus this and this, about the image's centre."""
    scale: tuple[Rate, Rate] = (0.75, 1.25)
    """Uniform between the two, in the same warp; what lies outside the image becomes black background."""
    selection: Literal["best on val", "last"] = "best on val"
    """Which epoch is reported: the best by the mIoU on the evaluated split at the input size, or the last."""
    crf: bool = False
    """Refine the logits with a dense CRF (`--crf`)."""
    seeds: Positive = 1
    """How many classifiers are trained, seeds counting up from the first. Not part of the fingerprint."""

    def resolved(self) -> dict[str, Any]:
        """As `Preset.resolved`; a released classifier has no training recipe."""
        return {key: value for key, value in super().resolved().items() if key not in self.unread()}

    def unread(self) -> dict[str, str]:
        """The training recipe and the seeds, where the classifier is released."""
        if self.classifier == "trained":
            return {}
        return dict.fromkeys((*TRAINING_ENTRIES, "seeds"), "the checkpoint's own classifier is measured")

    @property
    def num_seeds(self) -> int:
        """As the preset says; 0 for a released classifier."""
        return self.seeds if self.classifier == "trained" else 0

    def variant(self, default: Preset, classes: int) -> dict[str, Any]:
        """With the CRF it is `linear+crf`."""
        return {"crf": True} if self.crf else {}


TRAINING_ENTRIES = (
    "train", "train_images", "epochs", "batch", "lr", "momentum", "weight_decay", "lr_decay", "lr_decay_after",
    "init_std", "flip", "rotation", "scale", "selection",
)  # fmt: skip
"""The linear preset's entries that only training reads."""
