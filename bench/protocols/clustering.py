"""Clustering: K-means on one prototype per image, clusters matched to classes (spec §3, steps 4-8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import Warn
from bench.kmeans import cluster
from bench.matching import UNMATCHED, Mapping, Table, match
from bench.metrics import ari, nmi
from bench.observations import Observations
from bench.protocols import Scored
from bench.rows import ConfusionRows, SeedRows
from bench.whitening import whiten

Labels = npt.NDArray[np.int32]


def score(
    observations: Observations,
    preset: dict[str, Any],
    seeds: Sequence[int],
    num_classes: int,
    *,
    gpu: bool = False,
    warn: Warn = lambda message: None,
) -> Scored:
    """Cluster the prototypes once per seed and count. `preset` is a resolved clustering preset."""
    points = whiten(observations.prototypes, preset["whiten"], warn)
    labels = [cluster(points, preset, seed, gpu=gpu) for seed in seeds]
    return score_labels(observations, labels, preset, num_classes)


def score_labels(
    observations: Observations, labels: Sequence[Labels], preset: dict[str, Any], num_classes: int
) -> Scored:
    """Confusion rows from given cluster ids, one array of N ids per seed."""
    inside, outside = observations.histograms(preset["grid"], num_classes)
    seeds, mappings, extra = [], [], {"nmi": [], "ari": []}  # type: ignore[var-annotated]
    for assigned in labels:
        table = pixel_table(inside, outside, assigned, preset["clusters"])
        mapping = match(table, preset["matching"])
        seeds.append(_rows(inside, outside, assigned, mapping, num_classes))
        mappings.append(mapping)
        extra["nmi"].append(nmi(table))
        extra["ari"].append(ari(table))
    rows = ConfusionRows(observations.ids, num_classes, tuple(seeds), np.stack(labels).astype(np.int32))
    painted = [
        np.stack([mapping[assigned + 1], np.full(len(assigned), mapping[0])], axis=1)
        for mapping, assigned in zip(mappings, labels, strict=True)
    ]
    return Scored(rows, tuple(mappings), np.stack(painted), extra)


def pixel_table(inside: Any, outside: Any, labels: Labels, clusters: int) -> Table:
    """(K+1)×C pixels of every predicted id in every class; inside and outside are sparse N×C counts."""
    from scipy import sparse

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
