"""Evaluate: how well masks agree with the foreground of labels. No method and no training uses this."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.errors import BadInput, WrongName
from bench.base.parallel import Progress
from bench.data.decoding import read_label
from bench.data.samples import Sample, Samples
from bench.priors.masks import Mask, mask_path, read_mask

BETA_SQUARED = 0.3
"""The weight of recall against precision that salient object detection has settled on (also
docs/protocols.md#imagenet-s)."""
ELLIPSE_AXES = 0.5
"""The axes of the centred ellipse, as a share of the image's sides: what knows nothing of the image reaches."""


@dataclass(frozen=True)
class Quality:
    """Means over images, 0…100."""

    iou: float
    f_measure: float


@dataclass(frozen=True)
class Evaluation:
    """Masks beside a centred ellipse, on the same images."""

    proposals: Quality
    ellipse: Quality
    images: int
    """Those with labelled foreground; a missing mask counts as empty."""
    without_mask: int
    without_foreground: int
    """Images left out, as neither figure is defined on them."""

    def as_json(self) -> dict[str, Any]:
        """The figures, unrounded."""
        return asdict(self)


def require_labels(samples: Samples) -> None:
    """Raises WrongName where the split has no labels."""
    if any(sample.label is None for sample in samples):
        raise WrongName(
            f"{samples.card.id} {samples.split} has no labels to evaluate with",
            "Leave --evaluate out, or name another split with --split.",
        )


def evaluate(folder: Path, samples: Samples, workers: int, progress: Progress | None = None) -> Evaluation:
    """IoU and F-measure (β² = 0.3) of the masks in `folder` against label > 0, ignored pixels left out.

    Raises WrongName for a split without labels, BadInput for files that cannot be used or when no image has
    foreground.
    """
    require_labels(samples)

    def measure(sample: Sample) -> list[tuple[float, float]] | None:
        assert sample.label is not None
        label, _ = read_label(sample.label, samples.card)
        counted = label != samples.card.labels.ignore
        truth = (label > 0) & counted
        if not truth.any():
            return None
        path = mask_path(folder, sample.id)
        mask = read_mask(path, label.shape) if path.is_file() else np.zeros(label.shape, bool)
        return [agreement(m & counted, truth) for m in (mask, centred_ellipse(label.shape))]

    measured: list[list[tuple[float, float]]] = []
    with ThreadPoolExecutor(workers) as pool:
        for done, pair in enumerate(pool.map(measure, samples), start=1):
            if pair is not None:
                measured.append(pair)
            if progress:
                progress(done, len(samples))
    if not measured:
        raise BadInput(f"no image of {samples.card.id} {samples.split} has foreground", "Leave --evaluate out.")
    means = 100 * np.mean(measured, axis=0)
    return Evaluation(
        Quality(*means[0].tolist()),
        Quality(*means[1].tolist()),
        len(measured),
        sum(not mask_path(folder, sample.id).is_file() for sample in samples),
        len(samples) - len(measured),
    )


def agreement(mask: Mask, truth: Mask) -> tuple[float, float]:
    """IoU and F-measure, 0…1, of a mask against a truth that is not empty (both H×W bool)."""
    hit, proposed, true = (int(np.count_nonzero(m)) for m in (mask & truth, mask, truth))
    return hit / (proposed + true - hit), (1 + BETA_SQUARED) * hit / (proposed + BETA_SQUARED * true)


def centred_ellipse(size: tuple[int, int], axes: float = ELLIPSE_AXES) -> Mask:
    """An ellipse in the middle of an image of `size` (height, width), its axes that share of the sides: H×W bool."""
    rows, columns = (((np.arange(n) + 0.5) / n - 0.5) / (axes / 2) for n in size)
    return np.asarray(rows[:, None] ** 2 + columns**2 <= 1)
