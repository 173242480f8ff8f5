"""Normalised cut: splits the patches of an image in two by their similarity (docs/protocols.md#discovery).

The cut is that of Shi and Malik, PAMI 2000; graph, sign and seed are those of TokenCut (Wang et al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.scoring.corloc import component_of

Floats = npt.NDArray[np.float64]
MOST_PATCHES = 6000
"""Patches of an image, at most: the graph of so many takes 0.3 GB."""
EQUAL = 1e-9
"""Eigenvalues, from 0 to 2, that are less apart are one."""
_DENSE = 256
"""Up to so many patches the whole matrix is decomposed, which is as quick."""


@dataclass(frozen=True)
class Cut:
    """What a cut makes of an image's patches."""

    eigenvector: Floats
    """Rows×columns: its sign is that by which the seed's value is positive."""
    foreground: npt.NDArray[np.bool_]
    """Rows×columns."""
    seed: tuple[int, int]
    """Row and column of the patch of the largest absolute value."""
    gap: float = np.inf
    """How far the third eigenvalue lies above the second; below `EQUAL` the cut is arbitrary."""

    @property
    def component(self) -> npt.NDArray[np.bool_]:
        """The 4-connected part of the foreground that holds the seed."""
        return component_of(self.foreground, self.seed)


def similarity_graph(features: npt.NDArray[np.floating], above: float = 0.2, weak: float = 1e-5) -> Floats:
    """N×N weights of N×D features: 1 where their cosine is above `above`, else `weak`. Zeros have a cosine of 0."""
    rows = np.asarray(features, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1.0)
    graph = unit @ unit.T
    return np.where(graph > above, 1.0, weak)


def second_eigenvector(graph: Floats) -> tuple[Floats, float]:
    """N: the eigenvector of the second smallest eigenvalue of (D − A) x = λ D x, for N×N symmetric positive weights.

    Also returns how far the third eigenvalue lies above the second: where that is less than `EQUAL` there are several
    such vectors, and this is one of them. D is the diagonal of A's row sums. x = D^−½ v, where v is of the second
    largest eigenvalue of D^−½ A D^−½, found by Lanczos' method from a fixed start; dense where the graph is small, the
    method does not come to an end, or its vector would hang on chance. Length and sign are arbitrary.
    """
    if len(graph) < 2:
        raise ValueError("a graph of a single patch cannot be cut")
    scale = 1 / np.sqrt(graph.sum(axis=1))
    normalised = graph * scale[:, None] * scale[None, :]
    found = _by_lanczos(normalised) if len(graph) > _DENSE else None
    vector, gap = found if found is not None and found[1] >= EQUAL else _dense(normalised)
    return vector * scale, gap


def _by_lanczos(matrix: Floats) -> tuple[Floats, float] | None:
    """The second largest eigenvalue's vector, and how far the third lies below; None where it was not found."""
    import scipy.sparse.linalg

    start = np.random.default_rng(0).standard_normal(len(matrix))
    try:
        values, vectors = scipy.sparse.linalg.eigsh(matrix, k=3, which="LA", v0=start)
    except scipy.sparse.linalg.ArpackError:
        return None
    third, second, _ = np.argsort(values)
    return np.asarray(vectors[:, second]), float(values[second] - values[third])


def _dense(matrix: Floats) -> tuple[Floats, float]:
    """The same by a decomposition of the whole matrix."""
    import scipy.linalg

    size = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=[max(0, size - 3), size - 2])
    return np.asarray(vectors[:, -1]), float(values[-1] - values[0]) if size > 2 else np.inf


def cut(features: npt.NDArray[np.floating], above: float = 0.2, weak: float = 1e-5) -> Cut:
    """Cut an image's features, D×rows×columns, in foreground and background.

    Foreground is above the eigenvector's mean; the side of the largest absolute value, the seed, is foreground. Raises
    ValueError for a single patch, or more than `MOST_PATCHES`.
    """
    depth, rows, columns = features.shape
    if rows * columns > MOST_PATCHES:
        raise ValueError(f"{rows * columns} patches are more than the {MOST_PATCHES} that are cut")
    vector, gap = second_eigenvector(similarity_graph(features.reshape(depth, -1).T, above, weak))
    return of_eigenvector(vector.reshape(rows, columns), gap)


def of_eigenvector(vector: Floats, gap: float = np.inf) -> Cut:
    """The cut by an eigenvector, rows×columns, of either sign."""
    place = int(np.argmax(np.abs(vector)))
    seed = (place // vector.shape[1], place % vector.shape[1])
    foreground = vector > vector.mean()
    if not foreground[seed]:
        vector, foreground = -vector, ~foreground
    return Cut(vector, foreground, seed, gap)
