"""Logistic regression: a multinomial one with an L2 penalty, by L-BFGS (docs/protocols.md#linear-patches)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.base.errors import BadInput
from bench.base.parallel import Progress

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
_AT_ONCE = 1 << 14
"""Rows whose scores are in memory at once."""
_HELD = 1 << 25
"""Values that are made float64 once and for all; of more rows each part is, whenever it is needed."""


@dataclass(frozen=True)
class Logistic:
    """A fitted regression."""

    classes: Ints
    """K: the ids that occur among the labels it was fitted on, ascending."""
    weights: Float64
    """K×D."""
    bias: Float64
    """K."""
    iterations: int
    converged: bool
    """Whether it stopped by its tolerance, before it ran out of iterations."""

    def predict(self, rows: Rows) -> Ints:
        """The id of each of N×D rows; the smallest of those with equal scores."""
        return self.classes[(rows.astype(np.float64) @ self.weights.T + self.bias).argmax(axis=1)]


def fit(
    rows: Rows,
    labels: Ints,
    strength: float,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-12,
    history: int = 5,
    progress: Progress | None = None,
) -> Logistic:
    """Minimise `strength` · Σ cross-entropy + ½ Σ weights² over N×D rows and their N labels; the bias is free.

    scipy's L-BFGS on the mean, (that sum) / (`strength` · N), from zeros, in float64. It stops where no entry of its
    gradient exceeds `tolerance`, where it falls by less than a hundredth of that as a share of itself, or after so many
    iterations. Raises BadInput for labels of one class, or rows that are not finite.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise BadInput(
            f"all {len(labels)} labelled patches are of one class, so there is nothing to tell apart",
            "Give the bank images of more classes.",
        )
    if rows.size <= _HELD:
        rows = rows.astype(np.float64)
    done = 0

    def step(_: Float64) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, iterations)

    shape = (len(classes), rows.shape[1] + 1)
    found = scipy.optimize.minimize(
        lambda theta: _flat(*mean_loss(theta.reshape(shape), rows, targets, strength)),
        np.zeros(shape).reshape(-1),
        method="L-BFGS-B",
        jac=True,
        callback=step,
        options={
            "maxiter": iterations,
            "maxfun": 20 * iterations,
            "gtol": tolerance,
            "ftol": tolerance / 100,
            "maxcor": history,
        },
    )
    if not np.isfinite(found.fun):
        raise BadInput("the loss of the logistic regression is not finite", "The features hold NaN or infinity.")
    theta = found.x.reshape(shape)
    return Logistic(classes, theta[:, :-1], theta[:, -1], int(found.nit), found.nit < iterations)


def _flat(value: float, gradient: Float64) -> tuple[float, Float64]:
    return value, gradient.reshape(-1)


def mean_loss(theta: Float64, rows: Rows, targets: Ints, strength: float) -> tuple[float, Float64]:
    """What `fit` minimises, and its gradient, K×(D+1): weights and, in the last column, the bias.

    `targets` are N numbers below K. Rows are taken in parts: N×K scores of all would not fit.
    """
    weights, bias = theta[:, :-1], theta[:, -1]
    value, gradient = 0.0, np.zeros_like(theta)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE].astype(np.float64, copy=False)
        own = targets[start : start + _AT_ONCE]
        scores = part @ weights.T + bias
        scores -= scores.max(axis=1, keepdims=True)
        right = scores[np.arange(len(own)), own]
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        value += float((np.log(total[:, 0]) - right).sum())
        scores /= total
        scores[np.arange(len(own)), own] -= 1
        gradient[:, :-1] += scores.T @ part
        gradient[:, -1] += scores.sum(axis=0)
    value, gradient = value / len(rows), gradient / len(rows)
    penalty = 1 / (strength * len(rows))
    gradient[:, :-1] += penalty * weights
    return value + penalty / 2 * float((weights**2).sum()), gradient


def describe() -> dict[str, Any]:
    """What ran, for the record."""
    return {"library": "scipy", "version": scipy.__version__, "algorithm": "L-BFGS", "device": "cpu"}
