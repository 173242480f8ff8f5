"""Clustering: K-means on one prototype per image, clusters matched to classes (docs/protocols.md#clustering)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.base.errors import Warn
from bench.base.parallel import Progress, default_workers, prefetch
from bench.passes.observations import Observations, rows_of_masks
from bench.scoring import imagenet_s_figures
from bench.scoring.cluster_rows import SALIENT, ClusterRows, SeedClusters, agreement
from bench.scoring.confusion_rows import ConfusionRows, Sums
from bench.scoring.halves import crossed_sums, first_half, table_sums
from bench.scoring.kmeans import Points, cluster, nearest
from bench.scoring.matching import Mapping, Table, count_unique, match, match_images, say_by_images
from bench.scoring.metrics import ari, nmi
from bench.scoring.subsamples import draws
from bench.scoring.whitening import require_no_simplex, whiten

Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Scored:
    """What a scoring hands over: rows, and what it wants to say beside them."""

    rows: ConfusionRows | ClusterRows
    labels: Sequence[Labels]
    """Per seed the cluster of each image."""
    mappings: tuple[Mapping, ...]
    """Per seed: predicted id (0 is background, cluster k is k + 1) → class, or −1."""
    mask_classes: npt.NDArray[np.int64]
    """Seeds × images × 2: what is painted inside an image's mask and outside it."""
    extra: dict[str, list[float]] = field(default_factory=dict)
    """Further metrics, a value per seed."""
    detail: dict[str, Any] = field(default_factory=dict)
    """Further entries of the record, as plain JSON values."""


def score(
    observations: Observations,
    preset: dict[str, Any],
    seeds: Sequence[int],
    num_classes: int,
    *,
    gpu: bool = False,
    warn: Warn = lambda message: None,
) -> Scored:
    """Cluster the prototypes as `assign` does, and count."""
    labels = assign(observations, preset, seeds, gpu=gpu, warn=warn)
    return score_labels(observations, labels, preset, num_classes, seeds)


def assign(
    observations: Observations,
    preset: dict[str, Any],
    seeds: Sequence[int],
    *,
    centres: Sequence[Points] | None = None,
    gpu: bool = False,
    warn: Warn = lambda message: None,
) -> list[Labels]:
    """Cluster the prototypes once per seed: N cluster ids each. `preset` is a resolved clustering preset.

    With `centres`, K×D a seed, each image joins the nearest one, and nothing is clustered. Raises BadInput for images
    that whitening makes equally far from each other.
    """
    if centres is not None:
        return [nearest(own, observations.prototypes) for own in centres]
    points = whiten(observations.prototypes, preset["whiten"], warn)
    if preset["whiten"]:
        require_no_simplex(points)
    return [cluster(points, preset, seed, gpu=gpu) for seed in seeds]


def score_labels(
    observations: Observations,
    labels: Sequence[Labels],
    preset: dict[str, Any],
    num_classes: int,
    seeds: Sequence[int] = (),
    judges: Sequence[int] | None = None,
) -> Scored:
    """Confusion rows from given cluster ids, one array of N ids per seed, matched on these images.

    `judges` are the places of those that have labels; None for all.
    """
    if preset.get("classes_from", "all") == "halves":
        return score_halves(observations, labels, preset, num_classes, seeds, judges)
    mappings, detail = match_labels(observations, labels, preset, num_classes)
    return replace(count_labels(observations, labels, mappings, preset, num_classes), detail=detail)


def score_elsewhere(
    observations: Observations,
    labels: Sequence[Labels],
    preset: dict[str, Any],
    num_classes: int,
    centres: Sequence[Points],
    matched: Observations,
) -> Scored:
    """As `score_labels`, but clusters take the classes that they have on the `matched` observations."""
    elsewhere = [nearest(own, matched.prototypes) for own in centres]
    mappings, detail = match_labels(matched, elsewhere, preset, num_classes)
    return replace(count_labels(observations, labels, mappings, preset, num_classes), detail=detail)


def match_labels(
    observations: Observations, labels: Sequence[Labels], preset: dict[str, Any], num_classes: int
) -> tuple[list[Mapping], dict[str, Any]]:
    """Per seed predicted id → class, by the preset's `matching` on these images; and what the record says of it."""
    inside, outside = observations.histograms(preset["grid"], num_classes)
    if preset["matching"] == "images":
        shared = [shared_images(inside, outside, assigned, preset["clusters"]) for assigned in labels]
        return [match_images(table) for table in shared], {"matching": say_by_images([*map(count_unique, shared)])}
    tables = (pixel_table(inside, outside, assigned, preset["clusters"]) for assigned in labels)
    return [match(table, preset["matching"]) for table in tables], {}


def count_labels(
    observations: Observations,
    labels: Sequence[Labels],
    mappings: Sequence[Mapping],
    preset: dict[str, Any],
    num_classes: int,
) -> Scored:
    """Confusion rows from cluster ids, one array of N ids per seed, and the classes that they stand for."""
    inside, outside = observations.histograms(preset["grid"], num_classes)
    extra: dict[str, list[float]] = defaultdict(list)
    for assigned, mapping in zip(labels, mappings, strict=True):
        table = pixel_table(inside, outside, assigned, preset["clusters"])
        found = {"nmi": nmi(table), "ari": ari(table)}
        if preset.get("figures") == "imagenet-s":
            found |= _imagenet_s_figures(observations, assigned, mapping, num_classes)
        for name, value in found.items():
            extra[name].append(value)
    painted = [_painted(mapping, assigned) for mapping, assigned in zip(mappings, labels, strict=True)]
    return _counted(observations, labels, painted, preset, num_classes, tuple(mappings), dict(extra))


def _painted(mapping: Mapping, assigned: Labels) -> Mapping:
    """N×2 classes: what is painted inside each image's mask, and outside it."""
    return np.stack([mapping[assigned + 1], np.full(len(assigned), mapping[0])], axis=1)


def score_halves(
    observations: Observations,
    labels: Sequence[Labels],
    preset: dict[str, Any],
    num_classes: int,
    seeds: Sequence[int],
    judges: Sequence[int] | None = None,
) -> Scored:
    """As `score_labels`, but each half of the images, drawn by the seed, takes the classes of the other half.

    The halves are of the images that judge; the others are in neither, and painted as the second one.
    """
    inside, outside = observations.histograms(preset["grid"], num_classes)
    extra: dict[str, list[float]] = {"nmi": [], "ari": []}
    painted = []
    for assigned, seed in zip(labels, seeds, strict=True):
        half = np.zeros(len(observations), np.bool_)
        places = list(range(len(observations))) if judges is None else list(judges)
        half[places] = first_half([observations.ids[place] for place in places], seed)
        one, other = half_tables(inside, outside, assigned, preset["clusters"], half)
        of_first, of_others = (_painted(match(table, preset["matching"]), assigned) for table in (other, one))
        painted.append(np.where(half[:, None], of_first, of_others))
        extra["nmi"].append(nmi(one + other))
        extra["ari"].append(ari(one + other))
    return _counted(observations, labels, painted, preset, num_classes, (), extra)


def half_tables(
    inside: scipy.sparse.csr_array,
    outside: scipy.sparse.csr_array,
    labels: Labels,
    clusters: int,
    half: npt.NDArray[np.bool_],
) -> tuple[Table, Table]:
    """The `pixel_table` of the images in a half, and that of the others."""
    one, other = (pixel_table(inside[part], outside[part], labels[part], clusters) for part in (half, ~half))
    return one, other


def _counted(
    observations: Observations,
    labels: Sequence[Labels],
    painted: Sequence[Mapping],
    preset: dict[str, Any],
    num_classes: int,
    mappings: tuple[Mapping, ...],
    extra: dict[str, list[float]],
) -> Scored:
    seeds = tuple(rows_of_masks(observations, own, preset["grid"], num_classes) for own in painted)
    rows = ConfusionRows(observations.ids, num_classes, seeds, np.stack(labels).astype(np.int32))
    return Scored(rows, labels, mappings, np.stack(painted), extra)


def resampled_sums(
    observations: Observations,
    preset: dict[str, Any],
    seeds: Sequence[int],
    num_classes: int,
    *,
    gpu: bool = False,
    progress: Progress | None = None,
) -> Sums:
    """B×S×3C sums, as `ConfusionRows.sums`, of subsamples that are clustered and matched again under each seed.

    Whitening is that of all images: it is not what makes clusterings differ.
    """
    points = whiten(observations.prototypes, preset["whiten"], lambda message: None)
    inside, outside = observations.histograms(preset["grid"], num_classes)

    def one(places: npt.NDArray[np.int64]) -> Sums:
        ids = [observations.ids[place] for place in places]
        parts = inside[places], outside[places]
        return np.stack(
            [_sums_of(*parts, cluster(points[places], preset, seed, gpu=gpu), preset, ids, seed) for seed in seeds]
        )

    drawn = draws(observations.ids)
    found = []
    # faiss clusters so few points on one thread each, so that sums repeat; several subsamples run side by side
    alone = gpu or preset["solver"] == "minibatch"  # scikit-learn's warnings are silenced for all threads at once
    with ThreadPoolExecutor(1 if alone else default_workers()) as pool:
        for sums in prefetch(pool, one, drawn, 2 * default_workers()):
            found.append(sums)
            if progress:
                progress(len(found), len(drawn))
    return np.stack(found)


def _sums_of(
    inside: scipy.sparse.csr_array,
    outside: scipy.sparse.csr_array,
    labels: Labels,
    preset: dict[str, Any],
    ids: Sequence[str],
    seed: int,
) -> Sums:
    """3C sums of one clustering of these images, matched by the preset."""
    if preset.get("classes_from", "all") == "halves":
        tables = half_tables(inside, outside, labels, preset["clusters"], first_half(ids, seed))
        return crossed_sums(tables, preset["matching"])
    table = pixel_table(inside, outside, labels, preset["clusters"])
    if preset["matching"] == "images":
        return table_sums(table, match_images(shared_images(inside, outside, labels, preset["clusters"])))
    return table_sums(table, match(table, preset["matching"]))


def shared_images(
    inside: scipy.sparse.csr_array, outside: scipy.sparse.csr_array, labels: Labels, clusters: int
) -> Table:
    """K×(C−1) numbers of images that hold both: a cluster on valid pixels, a class other than 0.

    See docs/protocols.md#imagenet-s.
    """
    holds = np.asarray(inside.sum(axis=1)).reshape(-1) > 0
    where = np.flatnonzero(holds)
    members = scipy.sparse.csr_array(
        (np.ones(len(where), np.int64), (labels[where], where)), shape=(clusters, len(labels))
    )
    present = scipy.sparse.csr_array(((inside + outside) > 0).astype(np.int64))
    return np.asarray((members @ present).toarray()[:, 1:], np.int64)


def _imagenet_s_figures(
    observations: Observations, labels: Labels, mapping: Mapping, num_classes: int
) -> dict[str, float]:
    rows = imagenet_s_figures.mask_rows(observations.offsets, observations.classes, observations.bands, labels, mapping)
    return imagenet_s_figures.beside_miou(rows, len(observations), num_classes)


def pixel_table(
    inside: scipy.sparse.csr_array, outside: scipy.sparse.csr_array, labels: Labels, clusters: int
) -> Table:
    """(K+1)×C pixels of every predicted id in every class; inside and outside are sparse N×C counts."""
    members = scipy.sparse.csr_array(
        (np.ones(len(labels), np.int64), (labels, np.arange(len(labels)))), shape=(clusters, len(labels))
    )
    return np.vstack([np.asarray(outside.sum(axis=0))[None], (members @ inside).toarray()]).astype(np.int64)


def group_images(observations: Observations, labels: Sequence[Labels], preset: dict[str, Any]) -> Scored:
    """Without labels: each image's salient pixels belong to its cluster, and are painted as it, counted from 1."""
    images = np.arange(len(observations), dtype=np.int32)
    seeds = tuple(SeedClusters(images, own.astype(np.int32), observations.areas) for own in labels)
    totals = np.full(len(observations), preset["input"][0] * preset["input"][1], np.int64)
    extra = agreement([labels], len(labels), preset["clusters"])
    extra |= {SALIENT: [float(100 * observations.areas.sum() / totals.sum())]}
    painted = [np.stack([own.astype(np.int64) + 1, np.zeros(len(own), np.int64)], axis=1) for own in labels]
    rows = ClusterRows(observations.ids, preset["clusters"], seeds, totals)
    return Scored(rows, labels, (), np.stack(painted), extra)
