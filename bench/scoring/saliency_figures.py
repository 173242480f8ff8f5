"""Saliency: foreground masks counted and scored as three releases do it (docs/protocols.md#saliency).

A prediction is a map of 0…1, an annotation a map of foreground. What is kept of an image are whole numbers: how many
thresholds its pixels pass, so that every definition's curve and figures follow from them exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.scoring.image_rows import Series

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
LEVELS = 256
_THRESHOLDS = (np.arange(255) / 255).astype(np.float32)
_AT_ONCE = 4096
"""Images whose tables of levels are held at once."""


@dataclass(frozen=True)
class Definition:
    """What a release does, as far as an entry of the preset does not say."""

    foreground: int
    """An annotation is foreground where its grey value is above this."""
    beta2: float
    """β² of F."""
    aggregation: str
    """`mean-then-max`: the maximum of the mean curve. `max-then-mean`: the mean of every image's maximum."""
    eps: float = 0.0
    """Added to every denominator."""
    nothing: float = 1.0
    """Without `eps`, precision where nothing is predicted, and recall where nothing is annotated."""
    first: int = 1
    """Level that the lowest threshold asks for: 0 where a threshold of 0 takes in every pixel."""


DEFINITIONS = {
    "tokencut": Definition(0, 0.3, "mean-then-max"),
    "selfmask": Definition(0, 0.09, "max-then-mean", eps=1e-7),
    "pysodmetrics": Definition(128, 0.3, "mean-then-max", nothing=0.0, first=0),
}


@dataclass(frozen=True)
class MaskCounts:
    """What is kept of one image."""

    levels: Counts
    """2×256: of the background's and of the foreground's pixels, how many pass so many thresholds."""
    half: Counts
    """2: pixels predicted at more than .5, of the background and of the foreground."""
    adaptive: Counts
    """2: the same at twice the prediction's mean."""
    error: float
    """Sum over pixels of |prediction − annotation|."""

    @property
    def totals(self) -> Counts:
        """2: the pixels of the background and of the foreground."""
        return self.levels.sum(axis=1)


# --- one image ---


def foreground_of(grey: npt.NDArray[Any], above: int) -> Flags:
    """Where an annotation's grey values, H×W in 0…255, are foreground: strictly above `above`."""
    return np.asarray(grey) > above


def count_mask(prediction: npt.NDArray[Any], foreground: Flags, definition: str) -> MaskCounts:
    """Count a prediction, H×W in 0…1, against the annotated foreground, H×W, as a definition of `DEFINITIONS` does.

    `tokencut` and `selfmask` compare in float32 with i/255, i = 0…254, strictly. `pysodmetrics` rounds to 8 bits,
    stretches each image to 0…1 and takes 256 levels, from 0 on, not strictly. Pixels may come in any shape, such as
    those that are not void. Raises ValueError for two shapes, or values outside of 0…1.
    """
    prediction, foreground = np.asarray(prediction), np.asarray(foreground, bool)
    if prediction.shape != foreground.shape:
        raise ValueError(f"a prediction of {prediction.shape} and an annotation of {foreground.shape}")
    if not ((prediction >= 0) & (prediction <= 1)).all():
        raise ValueError("a prediction has values outside of 0 to 1")
    if definition == "pysodmetrics":
        values: npt.NDArray[Any] = stretched(prediction)
        levels: npt.NDArray[Any] = (values * 255).astype(np.uint8)
        adaptive = values >= min(2 * values.mean(), 1) if values.size else foreground
    else:
        values = prediction.astype(np.float32)
        levels = np.searchsorted(_THRESHOLDS, values.reshape(-1)).reshape(values.shape)
        adaptive = values > 2 * values.mean() if values.size else foreground
    table = np.bincount((foreground * LEVELS + levels).reshape(-1), minlength=2 * LEVELS).reshape(2, LEVELS)
    error = float(np.abs(values.astype(np.float64) - foreground).sum())
    return MaskCounts(table, _both(values > 0.5, foreground), _both(adaptive, foreground), error)


def stretched(prediction: npt.NDArray[Any]) -> Floats:
    """A prediction of 0…1 as pysodmetrics has it: 8 bits, then its own minimum…maximum as 0…1; a constant one stays."""
    values = np.rint(np.asarray(prediction, np.float64) * 255) / 255
    if values.size and values.max() != values.min():
        values = (values - values.min()) / (values.max() - values.min())
    return values


def _both(predicted: Flags, foreground: Flags) -> Counts:
    found = int(np.count_nonzero(predicted & foreground))
    return np.array([np.count_nonzero(predicted) - found, found], np.int64)


# --- many images ---


@dataclass(frozen=True)
class Stack:
    """The counts of N images. Of `levels` only what is not 0 is held: of a binary mask that is next to nothing."""

    totals: Counts
    """N×2: pixels of the background and of the foreground."""
    half: Counts
    """N×2."""
    adaptive: Counts
    """N×2."""
    error: Floats
    """N."""
    image: npt.NDArray[np.int32]
    """Of each entry of the levels, the image; ascending."""
    level: npt.NDArray[np.uint16]
    """The same, its place in the image's 2×256 levels; ascending within an image."""
    count: Counts
    """The same, how many pixels."""

    def __len__(self) -> int:
        return len(self.error)

    @classmethod
    def of(cls, counts: Sequence[MaskCounts]) -> Stack:
        """The counts of several images, in order."""
        tables = [one.levels.reshape(-1) for one in counts]
        places = [np.flatnonzero(table) for table in tables]
        lengths = [len(place) for place in places]
        pairs = {
            name: np.array([getattr(one, name) for one in counts], np.int64).reshape(-1, 2)
            for name in ("totals", "half", "adaptive")
        }
        return cls(
            **pairs,
            error=np.array([one.error for one in counts], np.float64),
            image=np.repeat(np.arange(len(counts), dtype=np.int32), lengths),
            level=np.concatenate([np.empty(0, np.int64), *places]).astype(np.uint16),
            count=np.concatenate([np.empty(0, np.int64), *(t[p] for t, p in zip(tables, places, strict=True))]),
        )

    def passing(self, start: int, stop: int) -> Counts:
        """n×2×256 of the images from `start` to before `stop`: pixels that pass at least so many thresholds."""
        first, last = np.searchsorted(self.image, [start, stop])
        places = (self.image[first:last].astype(np.int64) - start) * 2 * LEVELS + self.level[first:last]
        table = np.zeros((stop - start) * 2 * LEVELS, np.int64)
        np.add.at(table, places, self.count[first:last])
        return table.reshape(-1, 2, LEVELS)[..., ::-1].cumsum(axis=2)[..., ::-1]


def f_measure(
    predicted: Counts, found: Counts, annotated: Counts, beta2: float, eps: float = 0.0, nothing: float = 1.0
) -> Floats:
    """F of `found` pixels among those `predicted` and those `annotated`, all of shapes that broadcast.

    (1 + β²)·P·R / (β²·P + R). With `eps` that is added to every denominator; without it P where nothing is predicted,
    and R where nothing is annotated, are `nothing`, and 0/0 is 0.
    """
    if eps:
        precision, recall = found / (predicted + eps), found / (annotated + eps)
        return np.asarray((1 + beta2) * precision * recall / (beta2 * precision + recall + eps))
    precision = np.where(predicted > 0, found / np.maximum(predicted, 1), nothing)
    recall = np.where(annotated > 0, found / np.maximum(annotated, 1), nothing)
    below = beta2 * precision + recall
    return np.asarray((1 + beta2) * precision * recall / np.where(below > 0, below, 1.0))


def curve(stack: Stack, beta2: float, own: Definition) -> Floats:
    """N×T: every image's F at each threshold, the lowest first; T is 255, or 256 where a definition begins at 0."""
    parts = [np.empty((0, LEVELS - own.first))]
    for start in range(0, len(stack), _AT_ONCE):
        passing = stack.passing(start, min(start + _AT_ONCE, len(stack)))[..., own.first :]
        annotated = stack.totals[start : start + _AT_ONCE, 1, None]
        parts.append(f_measure(passing.sum(axis=1), passing[:, 1], annotated, beta2, own.eps, own.nothing))
    return np.concatenate(parts)


def iou(stack: Stack, eps: float = 0.0) -> Floats:
    """N: intersection over union at more than .5. Without `eps` it is NaN where nothing is annotated or predicted."""
    union = stack.totals[:, 1] + stack.half[:, 0]
    with np.errstate(invalid="ignore"):
        return stack.half[:, 1] / (union + eps)


def accuracy(stack: Stack) -> Floats:
    """N: share of pixels whose prediction at more than .5 is the annotation; NaN of an image without pixels."""
    pixels = stack.totals.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return (stack.totals[:, 0] - stack.half[:, 0] + stack.half[:, 1]) / pixels


def mae(stack: Stack) -> Floats:
    """N: mean over pixels of |prediction − annotation|; NaN of an image without pixels."""
    with np.errstate(invalid="ignore"):
        return stack.error / stack.totals.sum(axis=1)


# --- the figures of a definition ---


@dataclass(frozen=True)
class Rule:
    """A definition with the entries of a preset that may differ from it."""

    name: str
    beta2: float
    aggregation: str
    skips: bool
    """Whether an image without a defined IoU is left out of the mean, which is otherwise undefined."""

    @classmethod
    def of(cls, preset: Mapping[str, Any]) -> Rule:
        """The rule of a resolved preset. Raises ValueError for a definition that is not known, or no number."""
        name = str(preset.get("rules"))
        if name not in DEFINITIONS:
            raise ValueError(f"there is no definition '{name[:40]}' of figures")
        own = DEFINITIONS[name]
        beta2 = float(own.beta2 if preset.get("beta2") is None else preset["beta2"])
        aggregation = str(preset.get("aggregation") or own.aggregation)
        if not 0 < beta2 < 1e6 or aggregation not in ("mean-then-max", "max-then-mean"):
            raise ValueError("its beta2 or aggregation is none")
        return cls(name, beta2, aggregation, preset.get("undefined") == "skip")


def series(stack: Stack, rule: Rule) -> dict[str, Series]:
    """Metric → every image's part of it, of the metrics that the rule's definition has (README of each release)."""
    own = DEFINITIONS[rule.name]
    found: dict[str, Series] = {}
    whole = curve(stack, rule.beta2, own)
    found["max_f"] = Series(whole if rule.aggregation == "mean-then-max" else whole.max(axis=1))

    def f_of(pairs: Counts) -> Series:
        of = (pairs.sum(axis=1), pairs[:, 1], stack.totals[:, 1])
        return Series(f_measure(*of, rule.beta2, own.eps, own.nothing))

    if rule.name == "pysodmetrics":
        found |= {"mean_f": Series(whole.mean(axis=1)), "adaptive_f": f_of(stack.adaptive)}
        return found | {"mae": Series(mae(stack))}
    found |= {"iou": Series(iou(stack, own.eps), carried=not rule.skips), "accuracy": Series(accuracy(stack))}
    if rule.name == "selfmask":
        found |= {"f_half": f_of(stack.half), "adaptive_f": f_of(stack.adaptive), "mae": Series(mae(stack))}
    return found


def undefined_images(stack: Stack) -> int:
    """How many images have neither annotated nor predicted foreground, so that their IoU is 0/0."""
    return int(np.count_nonzero(stack.totals[:, 1] + stack.half[:, 0] == 0))


def tokencut(predictions: Sequence[npt.NDArray[Any]], annotations: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
    """TokenCut's `max_f`, `iou` and `accuracy`, shares of 1, of predictions of 0…1 and grey annotations of 0…255.

    `iou` is NaN where any image has neither foreground annotated nor predicted.
    """
    return _figures(predictions, annotations, "tokencut")


def selfmask(predictions: Sequence[npt.NDArray[Any]], annotations: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
    """SelfMask's `max_f`, `iou`, `accuracy`, `f_half` (its f_measure), `adaptive_f` (its f_mean), `mae`: as above."""
    return _figures(predictions, annotations, "selfmask")


def pysodmetrics(predictions: Sequence[npt.NDArray[Any]], annotations: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
    """The package pysodmetrics' `max_f`, `mean_f`, `adaptive_f` and `mae`, as above."""
    return _figures(predictions, annotations, "pysodmetrics")


def _figures(
    predictions: Sequence[npt.NDArray[Any]], annotations: Sequence[npt.NDArray[Any]], definition: str
) -> dict[str, float]:
    own = DEFINITIONS[definition]
    pairs = zip(predictions, annotations, strict=True)
    stack = Stack.of([count_mask(one, foreground_of(grey, own.foreground), definition) for one, grey in pairs])
    return {name: one.figure() for name, one in series(stack, Rule.of({"rules": definition})).items()}
