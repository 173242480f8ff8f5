"""K-means solvers: faiss on CPU or GPU, and the authors' scikit-learn MiniBatchKMeans.

See docs/protocols.md#clustering.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.scoring.whitening import require_finite, require_variety

Points = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


def cluster(points: Points, preset: dict[str, Any], seed: int, *, gpu: bool = False) -> Labels:
    """Cluster ids 0..K-1 of N×D points. `preset` is a resolved clustering preset.

    Raises BadInput for fewer points than clusters, values that are not finite, or points that are all equal.
    """
    require_enough(len(points), preset["clusters"])
    require_finite(points)
    require_variety(points)
    points = np.ascontiguousarray(points, np.float32)
    if preset["solver"] == "minibatch":
        return np.asarray(_minibatch(points, preset, seed).labels_, np.int32)
    solver = _faiss(points, preset, seed, gpu)
    with _repeatable(len(points)):
        solver.train(points)
        _, found = solver.index.search(points, 1)
    return found[:, 0].astype(np.int32)


def require_enough(points: int, clusters: int, what: str = "images", remedy: str = "") -> None:
    """Raises BadInput for fewer points (by default one an image) than clusters."""
    if points < clusters:
        raise BadInput(
            f"{points} {what} cannot form {clusters} clusters",
            remedy or "Use more images, or fewer clusters with --clusters N.",
        )


def fit(points: Points, preset: dict[str, Any], seed: int, *, gpu: bool = False, spherical: bool = False) -> Points:
    """K×D centres of N×D points, as `cluster` finds them. With `spherical` they are L2-normalised in every iteration.

    Raises BadInput for fewer points than clusters, values that are not finite, or points that are all equal.
    """
    require_enough(len(points), preset["clusters"], "points")
    require_finite(points)
    require_variety(points)
    points = np.ascontiguousarray(points, np.float32)
    if preset.get("solver") == "minibatch":
        return np.asarray(_minibatch(points, preset, seed).cluster_centers_, np.float32)
    solver = _faiss(points, preset, seed, gpu, spherical)
    with _repeatable(len(points)):
        solver.train(points)
    return np.asarray(solver.centroids, np.float32)


def drawn_by_faiss(total: int, most: int | None, seed: int) -> npt.NDArray[np.int32] | None:
    """Which of `total` points faiss trains on where at most `most` may take part, in its order; None for all.

    The first ones of its own random permutation by `seed`; both its K-means and its PCA draw them so.
    """
    if most is None or total <= most:
        return None
    import faiss

    library: Any = faiss  # whose stubs do not know it
    order = np.empty(total, np.int32)
    library.rand_perm(library.swig_ptr(order), total, seed)
    return order[:most].copy()


def nearest(centres: Points, points: Points, *, spherical: bool = False) -> Labels:
    """Cluster ids of N×D points: the nearest of K×D centres; with `spherical` that of the largest dot product."""
    import faiss

    kind = faiss.IndexFlatIP if spherical else faiss.IndexFlatL2
    index = kind(centres.shape[1])
    index.add(np.ascontiguousarray(centres, np.float32))
    with _repeatable(len(points)):
        _, found = index.search(np.ascontiguousarray(points, np.float32), 1)
    return found[:, 0].astype(np.int32)


def _faiss(points: Points, preset: dict[str, Any], seed: int, gpu: bool, spherical: bool = False) -> Any:
    """Lloyd's iterations, to be trained; of `restarts` starts the one of the lowest objective is kept."""
    import faiss

    starts = {"k-means++": faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS, "random": faiss.ClusteringInitMethod_RANDOM}
    return faiss.Kmeans(
        points.shape[1],
        preset["clusters"],
        niter=preset["iterations"],
        nredo=preset["restarts"],
        seed=seed,
        init_method=starts[preset["init"]],
        spherical=spherical,
        gpu=gpu,
        # faiss would otherwise train on a silent subsample, and warn on stderr about small sets
        max_points_per_centroid=len(points),
        min_points_per_centroid=1,
    )


@contextmanager
def _repeatable(points: int) -> Iterator[None]:
    """faiss on as many threads as `_threads` says; afterwards on as many as before."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(_threads(points))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _threads(points: int) -> int:
    """One thread where it is as fast, since then sums have one order and results repeat bit by bit."""
    import faiss

    return 1 if points < 100_000 else int(faiss.omp_get_max_threads())


def _minibatch(points: Points, preset: dict[str, Any], seed: int) -> Any:
    """The authors' solver, fitted."""
    import warnings

    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    solver = MiniBatchKMeans(
        n_clusters=preset["clusters"],
        init=preset["init"],
        max_iter=preset["iterations"],
        n_init=preset["restarts"],
        batch_size=preset["batch"],
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # empty clusters show in the record
        return solver.fit(points)


def use_gpu(device: str) -> bool:
    """Whether faiss can and should run on the GPU: asked for CUDA, and faiss sees one.

    faiss itself falls back to the CPU without a word; here the answer goes into the record.
    """
    if not device.startswith("cuda"):
        return False
    import faiss

    return hasattr(faiss, "get_num_gpus") and faiss.get_num_gpus() > 0


def describe(preset: dict[str, Any], points: int, gpu: bool) -> dict[str, Any]:
    """What ran, for the record: library, version, device, threads."""
    if preset.get("solver") == "minibatch":
        import sklearn

        return {
            "library": "scikit-learn",
            "version": sklearn.__version__,
            "device": "cpu",
            "algorithm": "MiniBatchKMeans",
        }
    import faiss

    return {
        "library": "faiss",
        "version": faiss.__version__,
        "device": "cuda" if gpu else "cpu",
        "algorithm": "Lloyd",
        "threads": _threads(points),
    }


def exact_search(*, gpu: bool) -> dict[str, Any]:
    """What ran, for the record, where nearest neighbours are looked up."""
    import faiss

    device = "cuda" if gpu else "cpu"
    return {"library": "faiss", "version": faiss.__version__, "algorithm": "exact inner product", "device": device}
