"""Clusters: the images of each cluster under one seed, and the typical ones, for the pictures of a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.scoring.confusion_rows import SeedRows
from bench.scoring.matching import UNMATCHED, Mapping

Int = npt.NDArray[np.int64]
MOST = 100
"""Typical images kept of a cluster."""
SHOWN = 0.01
"""Where clusters are of pixels: the least share of an image at which it is said to show one."""


@dataclass(frozen=True)
class Clusters:
    """The clusters of one seed, counted from 0 as in the rows."""

    classes: tuple[int | None, ...]
    """Per cluster the class that it was matched to."""
    sizes: tuple[int, ...]
    """Per cluster the images that hold some of it."""
    typical: tuple[tuple[int, ...], ...]
    """Per cluster the places of its most typical images, the most typical first."""
    of_image: Callable[[int], list[int]]
    """The clusters that the image at a place shows, the largest first."""


def of_prototypes(
    labels: npt.NDArray[np.int32],
    points: npt.NDArray[np.float32],
    empty: npt.NDArray[np.bool_],
    clusters: int,
    mapping: Mapping | None,
) -> Clusters:
    """From N images' cluster ids and N×D points: typical is who lies nearest to the mean of the cluster.

    `empty` images come last: their points stand for nothing. `mapping` is of predicted ids, cluster k being k + 1.
    """
    sizes = np.bincount(labels, minlength=clusters)
    means = np.zeros((clusters, points.shape[1]))
    np.add.at(means, labels, points)
    means /= np.maximum(sizes, 1)[:, None]
    distance = np.square(points - means[labels]).sum(axis=1)
    distance[empty] = np.inf
    typical = _ranked(np.arange(len(labels)), labels, distance, clusters)
    classes = _classes(None if mapping is None else mapping[1 : 1 + clusters], clusters)
    return Clusters(classes, tuple(sizes.tolist()), typical, lambda image: [int(labels[image])])


def of_pixels(rows: SeedRows, clusters: int, mapping: Mapping | None) -> Clusters:
    """From how many pixels of which image belong to which cluster: `rows` whose predicted ids are clusters.

    Typical is the image of which the cluster covers the largest share. `mapping` is of cluster ids.
    """
    pairs, inverse = np.unique(rows.image.astype(np.int64) * clusters + rows.predicted, return_inverse=True)
    image, cluster = np.divmod(pairs, clusters)
    pixels = np.bincount(inverse, rows.count)
    share = pixels / np.bincount(image, pixels)[image]
    sizes = np.bincount(cluster, minlength=clusters)
    typical = _ranked(image, cluster, -share, clusters)

    def of_image(place: int) -> list[int]:
        own = slice(*np.searchsorted(image, [place, place + 1]).tolist())
        order = np.argsort(-share[own], kind="stable")
        return [int(c) for c, part in zip(cluster[own][order], share[own][order], strict=True) if part >= SHOWN]

    return Clusters(_classes(mapping, clusters), tuple(sizes.tolist()), typical, of_image)


def _ranked(
    image: Int, cluster: npt.NDArray[np.integer], key: npt.NDArray[np.float64], clusters: int
) -> tuple[tuple[int, ...], ...]:
    """Per cluster its images by their keys, the smallest first and the earlier one at a tie."""
    order = np.lexsort((image, key, cluster))
    starts = np.searchsorted(cluster[order], np.arange(clusters + 1))
    return tuple(tuple(image[order[a : min(b, a + MOST)]].tolist()) for a, b in itertools.pairwise(starts))


def _classes(mapping: Mapping | None, clusters: int) -> tuple[int | None, ...]:
    if mapping is None:
        return (None,) * clusters
    known = [None if c == UNMATCHED else int(c) for c in mapping.tolist()]
    return (*known, *(None,) * (clusters - len(known)))
