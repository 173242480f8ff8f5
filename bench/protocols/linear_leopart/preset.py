"""The preset of `linear-leopart`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from bench.cards import counting
from bench.cards.counting import Counted
from bench.cards.presets import Positive, Presets, Rate, Share, Side
from bench.protocols.linear.preset import TrainedPreset


class LeopartPreset(TrainedPreset):
    """A 1×1 convolution on tokens, trained on labels at 100×100 (docs/protocols.md#linear-leopart)."""

    later: ClassVar[tuple[str, ...]] = ()

    input: tuple[Side, Side] = (448, 448)
    """Height and width, in pixels, to which each image is resized. The aspect ratio is not kept."""
    resizing: Literal["opencv", "torch", "pillow"] = "pillow"
    """`opencv` and `pillow` resize the 8-bit image, Pillow with antialiasing. `torch` resizes the normalised image,
    without antialiasing and with corners not aligned. Labels are resized with the same library's nearest."""
    interpolation: Literal["cubic", "linear", "area", "nearest"] = "linear"
    """How the image is resized. Labels are always resized with nearest."""
    train_grid: Annotated[int, Field(ge=1, le=1024)] = 100
    """Height and width, in cells, at which the classifier is trained: features come to it by bilinear interpolation,
    labels from the input size by torch's nearest."""
    epochs: Positive = 25
    """Number of epochs (`--epochs`)."""
    batch: Positive = 120
    """Images in a step. The last, incomplete batch of an epoch is dropped."""
    lr: Rate = 0.01
    """Learning rate of SGD. The reference has 0.01 for Leopart's ViT-S and DINO, 0.1 for other backbones and ViT-B/8,
    1 for Leopart from MoCo v3."""
    lr_decay_after: Annotated[int, Field(ge=0, le=10**6)] = 19
    """Index, from 0, of the last epoch with the full learning rate."""
    crop_area: tuple[Share, Share] = (0.8, 1.0)
    """Share of a training image's area that a random crop covers: uniform between the two."""
    crop_aspect: tuple[Rate, Rate] = (3 / 4, 4 / 3)
    """Width of a crop over its height: log-uniform between the two."""
    selection: Literal["best on val", "last"] = "last"
    """The epoch that is reported: the last, or the best by mIoU at `train_grid` on the first `selection_images`
    evaluated images."""
    selection_images: Positive = 480
    """How many images that choice looks at."""
    grid: Literal["input", "label"] = "input"
    """Where pixels are counted: at the input size (`input`) or at the label's own size (`label`)."""

    @field_validator("crop_area", "crop_aspect")
    @classmethod
    def _ascends(cls, values: tuple[float, float]) -> tuple[float, float]:
        if not 0 < values[0] <= values[1]:
            raise ValueError("the first number must be positive and not exceed the second")
        return values

    def unread(self) -> dict[str, str]:
        """How many images an epoch is chosen on, where the last counts."""
        return {"selection_images": "the last epoch counts"} if self.selection == "last" else {}

    @property
    def num_seeds(self) -> int:
        """As the preset says."""
        return self.seeds

    @classmethod
    def counting(cls, run: Counted) -> list[str]:
        """What is trained on what, and which epoch counts."""
        train = counting.shown(run.entries["train"]) if "train" in run.entries else "labelled images"
        few, cells, chosen = (run.number(key) for key in ("train_images", "train_grid", "selection_images"))
        at = f" at {cells}×{cells}" if cells else ""
        first = f"the first {chosen}" if chosen else "the first"
        best = f"of its epochs the best counts, by mIoU{at} on {first} evaluated images themselves"
        return [
            counting.mean(run),
            counting.grid(run),
            counting.VOID,
            counting.absent(run),
            f"a linear classifier is trained{at} on {f'{few} images of ' if few else ''}{train}",
            run.word("selection", {"best on val": best, "last": "the last epoch counts"}),
            counting.drawn(run, "the training"),
        ]

    @classmethod
    def fallback(cls, presets: Presets) -> LeopartPreset | None:
        """The reference's entries, trained on labels that other protocols have here, and at no larger input."""
        for other, key in (("linear", "train"), ("distance-matching", "bank"), ("clustering", "")):
            if (found := presets(other)) is not None:
                own = dict(found)
                return cls(train=own.get(key, "train"), absent=own["absent"], **_smaller(own["input"]))
        return None


def _smaller(side: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """The input of small images."""
    return {"input": side} if max(side) < LeopartPreset.model_fields["input"].default[0] else {}
