"""Clusters of tokens: the sample that K-means trains on, its centres, and maps of clusters.

See docs/protocols.md#patch-clustering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from bench.data.placement import Placement
from bench.data.preprocessing import nearest_of
from bench.protocols.patch_clustering.preset import PatchPreset
from bench.scoring import kmeans
from bench.scoring.kmeans import Labels, Points, drawn_by_faiss

HUNDRED = (100, 100)
"""The grid on which the reference counts pixels."""
Floats = npt.NDArray[np.floating]
Map = npt.NDArray[np.integer]


def training_points(
    parts: Iterable[Floats], total: int, project: Callable[[Floats], Points], most: int | None, seeds: Sequence[int]
) -> list[Points]:
    """Per seed the points that faiss's K-means trains on: all `total`, or `most` of them in the order of its own draw.

    `parts` are N×D tokens that come one after the other, and `project` makes N×k points of them.
    """
    drawn = [rows for seed in seeds if (rows := drawn_by_faiss(total, most, seed)) is not None]
    drawn = drawn or [np.arange(total, dtype=np.int32)]  # the same for every seed
    orders = [np.argsort(rows) for rows in drawn]
    ascending = [rows[order] for rows, order in zip(drawn, orders, strict=True)]
    found: list[Points] = []
    start = 0
    for part in parts:
        points = project(part)
        found = found or [np.empty((len(rows), points.shape[1]), np.float32) for rows in drawn]
        for own, order, rows in zip(found, orders, ascending, strict=True):
            here = slice(*np.searchsorted(rows, [start, start + len(part)]))
            own[order[here]] = points[rows[here] - start]
        start += len(part)
    return found if len(found) == len(seeds) else found * len(seeds)


def centres_of(points: Points, preset: PatchPreset, clusters: int, seed: int, *, gpu: bool = False) -> Points:
    """K×k centres of the N×k points of `training_points`, as faiss finds them by this seed."""
    return kmeans.fit(points, recipe_of(preset, clusters), seed, gpu=gpu, spherical=preset.spherical)


def recipe_of(preset: PatchPreset, clusters: int) -> dict[str, object]:
    """How faiss clusters, as `bench.scoring.kmeans.fit` takes it."""
    return {
        "clusters": clusters,
        "init": "random",
        "iterations": preset.iterations,
        "restarts": preset.restarts,
    }


def cluster(points: Points, preset: PatchPreset, clusters: int, seed: int, *, gpu: bool = False) -> Labels:
    """Cluster ids of N×k points at once: centres of those that faiss draws, and the nearest one to every point."""
    most = None if preset.points_per_cluster is None else preset.points_per_cluster * clusters
    (drawn,) = training_points([points], len(points), lambda part: np.asarray(part, np.float32), most, [seed])
    centres = centres_of(drawn, preset, clusters, seed, gpu=gpu)
    return kmeans.nearest(centres, points, spherical=preset.spherical)


def at_100(found: Map) -> Map:
    """A map H×W of clusters or labels at 100×100, nearest: index ⌊x · source/100⌋ with the product in float32."""
    return nearest_of("torch", found, HUNDRED)


def on_input(ids: Labels, grid: tuple[int, int], placed: Placement) -> Map:
    """Cluster ids of an image's tokens as a map of its input: of the grid's size, or cut where the input was padded."""
    found: Map = ids.reshape(grid)
    if placed.padded == placed.input:
        return found
    return nearest_of("torch", found, placed.padded)[placed.inside]
