"""Space: tokens standardised and brought to their principal components, fitted in one pass over the images.

See docs/protocols.md#patch-clustering.

What is kept between images are sums, in float64: memory does not grow with the split. Tokens are shifted by the mean
of the first image before they are summed, so that large means cost no digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.passes.features import LOADED
from bench.scoring.kmeans import drawn_by_faiss

PCA_SEED = 1234
"""faiss draws the tokens of which it computes a PCA by this seed, whatever else is asked for."""
_ROUNDING = 8 * 2.0**-23
"""A dimension that varies by less, relative to its values, is constant but for float32's rounding."""
Floats = npt.NDArray[np.floating]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Space:
    """Where tokens of D dimensions are clustered."""

    mean: Float64
    """D, of the tokens; zeros where they are not standardised."""
    deviation: Float64
    """D, of the population; ones where they are not standardised, and for a constant dimension."""
    centre: Float64
    """D, of the standardised tokens that the PCA was computed of."""
    components: Float64
    """k×D, of unit length, the one of the largest variance first; 0×D where there is no PCA."""
    variances: Float64
    """k, of the standardised tokens along the components (n in the divisor)."""

    def standardised(self, tokens: Floats) -> Float32:
        """N×D tokens, N×D."""
        return np.divide(tokens - self.mean, self.deviation, dtype=np.float64).astype(np.float32)

    def points(self, tokens: Floats) -> Float32:
        """N×D tokens as what is clustered: N×k, or N×D without a PCA."""
        return self.reduced(self.standardised(tokens))

    def reduced(self, standardised: Float32) -> Float32:
        """N×D standardised tokens, N×k. The sign of a component is arbitrary; here its largest loading is positive."""
        if not len(self.components):
            return standardised
        return ((standardised - self.centre) @ self.components.T).astype(np.float32)


class _Sums:
    """Of N×D rows: their number, sum, and sums of products, or of squares alone."""

    def __init__(self, width: int, *, products: bool) -> None:
        self.number = 0
        self.total = np.zeros(width)
        self.second = np.zeros((width, width) if products else width)

    def add(self, rows: Float64) -> None:
        self.number += len(rows)
        self.total += rows.sum(axis=0)
        self.second += rows.T @ rows if self.second.ndim == 2 else np.einsum("nd,nd->d", rows, rows)

    @property
    def mean(self) -> Float64:
        return self.total / max(1, self.number)

    @property
    def covariance(self) -> Float64:
        """D×D, or its diagonal."""
        mean = self.mean
        return self.second / max(1, self.number) - (np.outer(mean, mean) if self.second.ndim == 2 else mean**2)


def fit_space(
    parts: Iterable[Floats],
    total: int,
    *,
    standardise: bool = True,
    components: int | None = 50,
    sample: int | None = 1000,
) -> Space:
    """The space of `total` tokens that come in N×D parts, all of one D.

    With `standardise` they get mean 0 and population deviation 1 in each dimension. The PCA to `components` (fewer
    where D is smaller; None for none) is computed of all tokens, or of at most `sample`·D that faiss's PCAMatrix would
    draw.
    Raises BadInput where no dimension varies: such a network is dead.
    """
    shift, everything, drawn, chosen, start = np.empty(0), None, None, None, 0
    for part in parts:
        if everything is None or drawn is None:
            width = part.shape[1]
            shift = part.mean(axis=0, dtype=np.float64)
            everything, drawn = _Sums(width, products=False), _Sums(width, products=components is not None)
            rows = drawn_by_faiss(total, None if sample is None else sample * width, PCA_SEED)
            chosen = None if rows is None else np.isin(np.arange(total), rows)
        centred = part - shift
        everything.add(centred)
        drawn.add(centred if chosen is None else centred[chosen[start : start + len(part)]])
        start += len(part)
    if everything is None or drawn is None:
        raise ValueError("no tokens")
    return _settled(shift, everything, drawn, standardise, components)


def _settled(shift: Float64, everything: _Sums, drawn: _Sums, standardise: bool, components: int | None) -> Space:
    mean = shift + everything.mean
    deviation = np.sqrt(np.maximum(everything.covariance, 0))
    constant = deviation <= _ROUNDING * np.sqrt(mean**2 + deviation**2)
    if constant.all():
        raise BadInput(f"all {everything.number} tokens are equal, so they cannot be told apart", LOADED)
    deviation[constant] = 1
    if not standardise:
        mean, deviation = np.zeros_like(mean), np.ones_like(deviation)
    centre = (shift + drawn.mean - mean) / deviation
    if components is None:
        return Space(mean, deviation, centre, np.empty((0, len(mean))), np.empty(0))
    variances, vectors = np.linalg.eigh(drawn.covariance / np.outer(deviation, deviation))
    kept = np.argsort(-variances, kind="stable")[:components]
    vectors = vectors[:, kept].T
    vectors *= np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1))
    return Space(mean, deviation, centre, vectors, np.maximum(variances[kept], 0))


def standardise(tokens: Floats) -> Float32:
    """N×D tokens at once, each dimension with mean 0 and population deviation 1."""
    return fit_space([tokens], len(tokens), components=None).standardised(tokens)


def pca(standardised: Float32, components: int = 50, sample: int | None = 1000) -> Float32:
    """N×D standardised tokens at once, N×components, as `fit_space` has it; nothing is standardised again."""
    space = fit_space([standardised], len(standardised), standardise=False, components=components, sample=sample)
    return space.reduced(standardised)
