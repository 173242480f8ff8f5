"""Subsamples: how far a clustering's figure would move, had other images been drawn and clustered.

Forty times two thirds of the images are drawn without replacement, clustered and matched again under several seeds. How
far these figures lie apart says how far the procedure's own would on a new sample: of m of n images, drawn without
replacement, a mean varies n / m − 1 times as much as the mean of all n does. Why two thirds: with half the images
unstable clusterings are underestimated, with more of them the seeds drown the images (docs/certainty.md; simulated by
`tests/benchmarks/certainty.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.scoring.tolerance import Tolerance

Places = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

SUBSAMPLES = 40
SEEDS = 5
"""Under which each is clustered, at most: those of the run, from the first."""
SHARE = 2 / 3
"""Of the images, in each."""
FEW = 128
FEW_SCALE = 0.75
"""Of fewer images than these, whitened to dozens of components, subsamples are nearly simplexes, and their clusterings
vary by more than the whole sample's do: so much of their variance is theirs."""
MOST_WORK = 1_000_000
"""Images times clusters: beyond that, clustering 40 subsamples takes more than some minutes."""
MOST_SUMS = 1 << 23
"""Numbers that are kept of subsamples, at most."""
_SLACK = 1e-9
"""Of a sum of pixels, in double precision."""
FREEDOM = 20
"""Degrees of freedom of the errors: between those of the subsamples (39) and of the seeds (4). So it covers."""


def draws(ids: Sequence[str]) -> list[Places]:
    """Per subsample the places, in the order of their ids, of its images among `ids`.

    The draws follow from the ids alone: two models on the same images are resampled alike, in whatever order a list
    has them.
    """
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    generator = np.random.default_rng(0)
    size = subsample_size(len(ids))
    return [by_id[np.sort(generator.permutation(len(ids))[:size])] for _ in range(SUBSAMPLES)]


def subsample_size(images: int) -> int:
    """How many images a subsample has."""
    return round(SHARE * images)


def obstacle(images: int, clusters: int) -> str:
    """Why subsamples of so many images are not clustered again, in words; empty where they are."""
    if subsample_size(images) < clusters:
        return f"two thirds of {images} images are fewer than {clusters} clusters"
    if images * clusters > MOST_WORK:
        return f"clustering two thirds of {images} images into {clusters} clusters {SUBSAMPLES} times takes too long"
    return ""


def require_own(sums: npt.NDArray[np.integer], ids: Sequence[str], labelled: scipy.sparse.csr_array) -> None:
    """Raises ValueError for B×S×3C sums that cannot be of the subsamples of these images, with N×C `labelled` pixels.

    What is labelled in each subsample follows from ids and labels: nobody can choose it. And no more pixels are right
    than are labelled, or predicted.
    """
    hit, predicted, there = np.split(sums, 3, axis=-1)
    for places, own in zip(draws(ids), there, strict=True):
        if (own != np.asarray(labelled[places].sum(axis=0))).any():
            raise ValueError("its subsamples are of other pixels than its rows")
    painted, pixels = (part.sum(axis=-1, dtype=np.float64) for part in (predicted, there))
    if (hit > np.minimum(predicted, there)).any() or (painted > pixels * (1 + _SLACK)).any():
        raise ValueError("its subsamples have more right pixels than there are pixels")


@dataclass(frozen=True)
class Error:
    """How far a figure, or the difference of two, lies from the mean over new samples and seeds, in points."""

    images: float
    """Standard error by other images, clustered again."""
    seeds: float
    """Standard error by other seeds."""

    @property
    def both(self) -> Tolerance:
        """Of the two together."""
        return Tolerance(math.hypot(self.images, self.seeds), FREEDOM)


def of_two(first: float, second: float) -> Tolerance:
    """Of the difference of two figures with these standard errors, of which nothing else is known."""
    return Tolerance(math.hypot(first, second), FREEDOM)


def error_of(resampled: Float, per_seed: Sequence[float], images: int) -> Error:
    """Of a figure of n `images` with these values per seed, from B×S values of its subsamples under S ≥ 2 seeds."""
    size = len(per_seed)
    spread = float(np.var(per_seed, ddof=1)) if size > 1 else float(resampled.var(axis=1, ddof=1).mean())
    return Error(math.sqrt(_of_images(resampled.mean(axis=1), [resampled], images)), math.sqrt(spread / size))


def error_of_difference(
    first: Float, second: Float, one: Sequence[float], other: Sequence[float], images: int
) -> Error:
    """Of the difference of two figures with these values per seed, from B×S values of the same subsamples."""
    varied = _of_images(second.mean(axis=1) - first.mean(axis=1), [first, second], images)
    seeds = (error_of(each, values, images).seeds for each, values in ((first, one), (second, other)))
    return Error(math.sqrt(varied), math.hypot(*seeds))


def _of_images(means: Float, parts: Sequence[Float], images: int) -> float:
    """Variance by images of the whole sample's figure. What seeds add to the means over seeds is taken off."""
    scale = SHARE / (1 - SHARE) * (FEW_SCALE if images < FEW else 1)
    noise = sum(float(part.var(axis=1, ddof=1).mean()) / part.shape[1] for part in parts)
    return max(0.0, float(means.var(ddof=1)) - noise) * scale
