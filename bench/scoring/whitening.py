"""PCA with whitening (docs/protocols.md#clustering)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput, Warn


def require_finite(points: npt.NDArray[np.float32]) -> None:
    """Raises BadInput for NaN or infinity."""
    if not np.isfinite(points).all():
        raise BadInput("the prototypes hold NaN or infinity", "Give another file: the network's weights are damaged.")


def require_variety(points: npt.NDArray[np.float32], what: str = "points") -> None:
    """Raises BadInput where all N×D points are equal but for rounding: a dead network's features are."""
    if len(points) < 2:
        return
    spread = (points.max(axis=0) - points.min(axis=0)).max(initial=0)
    if spread <= 8 * np.finfo(np.float32).eps * np.abs(points).max(initial=0):
        raise _all_equal(len(points), what)


def _all_equal(points: int, what: str) -> BadInput:
    return BadInput(
        f"all {points} {what} are equal, so they cannot be told apart",
        "Check that its weights are loaded: the network gives the same embedding for every image.",
    )


def most_components(points: int) -> int:
    """The most components to which so many points can be whitened and still have clusters.

    Whitened to all n − 1 dimensions that they span, n points are a regular simplex: any two are equally far from each
    other. With k components squared distances spread by about √(2/k) of their mean, of which the constraints of
    whitening leave √(1 − k/(n − 1)): with n − 1 = 2k that is 0.7 (docs/protocols.md#few-images).
    """
    return (points - 1) // 2


def require_no_simplex(whitened: npt.NDArray[np.float32]) -> None:
    """Raises BadInput for N×k whitened points with k ≥ N − 1, which are all equally far from each other."""
    points, components = whitened.shape
    if components >= points - 1:
        raise BadInput(
            f"{points} images whitened to {components} components are all equally far from each other: "
            "clusters of them mean nothing",
            f"Give more images, or --set whiten={most_components(points)}; whiten=0 leaves whitening out.",
        )


def whiten(points: npt.NDArray[np.float32], components: int, warn: Warn) -> npt.NDArray[np.float32]:
    """Rotate N×D points to their principal axes and scale each to unit variance (N − 1 in the divisor).

    Returns N×k float32 with k = min(components, rank), which is said when it is fewer than asked for:
    a direction without variance cannot be scaled to one. The sign of a component is arbitrary.
    """
    if components == 0:
        return points
    require_finite(points)
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    rank = int((singular > singular[0] * max(points.shape) * np.finfo(np.float32).eps).sum())
    kept = min(components, rank)
    # identical but for rounding: each entry is off by at most half a unit of float32, prototypes by a few
    if kept == 0 or singular[0] <= 8 * np.finfo(np.float32).eps * np.linalg.norm(points.astype(np.float64)):
        raise _all_equal(len(points), "prototypes")
    if kept < components:
        warn(f"whitening to {kept} components, not {components}: the {len(points)} prototypes have no higher rank")
    return (left[:, :kept] * np.sqrt(len(points) - 1)).astype(np.float32)
