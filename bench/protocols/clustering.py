"""Clustering: K-means on one prototype per image, clusters matched to classes (spec §3, steps 4-8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from scipy import sparse

from bench.errors import Warn
from bench.kmeans import cluster, fit, nearest
from bench.matching import UNMATCHED, Mapping, Table, match, match_images, unique_optima
from bench.metrics import ari, nmi
from bench.observations import Observations
from bench.protocols import Scored, imagenet_s
from bench.rows import ConfusionRows, SeedRows
from bench.whitening import whiten

Labels = npt.NDArray[np.int32]
MATCHING_BY_IMAGES = {
    "solver": f"scipy {scipy.__version__}, linear_sum_assignment",
    "ties": "as the solver leaves them, clusters as rows, classes as columns, in ascending order",
}
"""Optimal assignments tie, and ties move the figure by points (spec §8): so the record says who broke them."""


def score(
    observations: Observations,
    preset: dict[str, Any],
    seeds: Sequence[int],
    num_classes: int,
    *,
    fitted: Observations | None = None,
    gpu: bool = False,
    warn: Warn = lambda message: None,
) -> Scored:
    """Cluster the prototypes as `assign` does, and count."""
    labels = assign(observations, preset, seeds, fitted=fitted, gpu=gpu, warn=warn)
    return score_labels(observations, labels, preset, num_classes)


def assign(
    observations: Observations,
    preset: dict[str, Any],
    seeds: Sequence[int],
    *,
    fitted: Observations | None = None,
    gpu: bool = False,
    warn: Warn = lambda message: None,
) -> list[Labels]:
    """Cluster the prototypes once per seed: N cluster ids each. `preset` is a resolved clustering preset.

    With `fitted`, its prototypes are clustered, and each of `observations` joins the nearest centre.
    """
    if fitted is not None:
        centres = (fit(fitted.prototypes, preset, seed, gpu=gpu) for seed in seeds)
        return [nearest(own, observations.prototypes) for own in centres]
    points = whiten(observations.prototypes, preset["whiten"], warn)
    return [cluster(points, preset, seed, gpu=gpu) for seed in seeds]


def score_labels(
    observations: Observations, labels: Sequence[Labels], preset: dict[str, Any], num_classes: int
) -> Scored:
    """Confusion rows from given cluster ids, one array of N ids per seed."""
    inside, outside = observations.histograms(preset["grid"], num_classes)
    by_images = preset["matching"] == "images"
    seeds, mappings, unique = [], [], []
    extra: dict[str, list[float]] = defaultdict(list)
    for assigned in labels:
        table = pixel_table(inside, outside, assigned, preset["clusters"])
        if by_images:
            shared = shared_images(inside, outside, assigned, preset["clusters"])
            mapping = match_images(shared)
            if len(shared) <= shared.shape[1]:
                unique.append(int(unique_optima(shared)[shared.any(axis=1)].sum()))
        else:
            mapping = match(table, preset["matching"])
        seeds.append(_rows(inside, outside, assigned, mapping, num_classes))
        mappings.append(mapping)
        found = {"nmi": nmi(table), "ari": ari(table)}
        if preset.get("figures") == "imagenet-s":
            found |= _imagenet_s_figures(observations, assigned, mapping, num_classes)
        for name, value in found.items():
            extra[name].append(value)
    rows = ConfusionRows(observations.ids, num_classes, tuple(seeds), np.stack(labels).astype(np.int32))
    painted = [
        np.stack([mapping[assigned + 1], np.full(len(assigned), mapping[0])], axis=1)
        for mapping, assigned in zip(mappings, labels, strict=True)
    ]
    detail = {"matching": MATCHING_BY_IMAGES | {"clusters_with_a_unique_optimum": unique}} if by_images else {}
    return Scored(rows, tuple(mappings), np.stack(painted), dict(extra), detail)


def shared_images(inside: Any, outside: Any, labels: Labels, clusters: int) -> Table:
    """K×(C−1) numbers of images that hold both: a cluster on valid pixels, a class other than 0 (spec §8)."""
    holds = np.asarray(inside.sum(axis=1)).reshape(-1) > 0
    where = np.flatnonzero(holds)
    members = sparse.csr_array((np.ones(len(where), np.int64), (labels[where], where)), shape=(clusters, len(labels)))
    present = sparse.csr_array(((inside + outside) > 0).astype(np.int64))
    return np.asarray((members @ present).toarray()[:, 1:], np.int64)


def _imagenet_s_figures(
    observations: Observations, labels: Labels, mapping: Mapping, num_classes: int
) -> dict[str, float]:
    rows = imagenet_s.mask_rows(observations.offsets, observations.classes, observations.bands, labels, mapping)
    figures = imagenet_s.figures(rows, len(observations), num_classes)
    return {name: value for name, value in figures.items() if name != "mIoU" and value is not None}


def pixel_table(inside: Any, outside: Any, labels: Labels, clusters: int) -> Table:
    """(K+1)×C pixels of every predicted id in every class; inside and outside are sparse N×C counts."""
    members = sparse.csr_array(
        (np.ones(len(labels), np.int64), (labels, np.arange(len(labels)))), shape=(clusters, len(labels))
    )
    return np.vstack([np.asarray(outside.sum(axis=0))[None], (members @ inside).toarray()]).astype(np.int64)


def _rows(inside: Any, outside: Any, labels: Labels, mapping: Mapping, num_classes: int) -> SeedRows:
    """Rows of every image: its mask as its cluster's class, the rest as the background's."""
    parts = []
    for counts, predicted_ids in ((inside.tocoo(), labels + 1), (outside.tocoo(), np.zeros_like(labels))):
        kept = counts.data > 0
        image, true = counts.coords[0][kept], counts.coords[1][kept]
        predicted = mapping[predicted_ids[image]]
        predicted = np.where(predicted == UNMATCHED, num_classes, predicted)
        parts.append((image, predicted, true, counts.data[kept]))
    image, predicted, true, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    return SeedRows(image.astype(np.int32), predicted.astype(np.int32), true.astype(np.int32), count.astype(np.int64))
