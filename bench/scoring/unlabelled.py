"""Without labels: what a clustering tells of itself. Nothing here can be held against a figure that needed labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.files import save_npz
from bench.passes.observations import Observations
from bench.scoring.confusion_rows import by_seed, rows_file
from bench.scoring.metrics import ari, entropy, nmi
from bench.scoring.painted import Painted

Ints = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
SUFFIX = "-unlabelled"
"""Ends the protocol's id in a record without labels, so that it meets no other record of the protocol."""


@dataclass(frozen=True)
class SeedClusters:
    """Of one seed, as parallel arrays: so many pixels of an image belong to a cluster."""

    image: Ints
    cluster: Ints
    pixels: Counts


@dataclass(frozen=True)
class ClusterRows:
    """What a run without labels keeps of every image, one `SeedClusters` per seed."""

    ids: Sequence[str]
    clusters: int
    seeds: tuple[SeedClusters, ...]
    totals: Counts
    """Pixels of every image; those in no cluster are background."""

    def sizes(self, seed: int) -> Counts:
        """K×2 of one seed: the images that hold some of a cluster, and its pixels."""
        rows = self.seeds[seed]
        sizes = np.zeros((self.clusters, 2), np.int64)
        np.add.at(sizes, rows.cluster, np.stack([np.ones_like(rows.pixels), rows.pixels], axis=1))
        return sizes

    def write(self, path: Path) -> None:
        """Write to an .npz file, atomically."""
        flat = {
            name: np.concatenate([getattr(rows, name) for rows in self.seeds]) for name in SeedClusters.__annotations__
        }
        lengths = np.array([len(rows.image) for rows in self.seeds], np.int64)
        known = {
            "ids": np.array(list(self.ids), dtype=np.str_),
            "clusters": np.array(self.clusters),
            "totals": self.totals,
        }
        save_npz(path, known | {"lengths": lengths} | flat)

    @classmethod
    def read(cls, path: Path) -> ClusterRows:
        """Read what `write` wrote. Raises BadInput for a missing or damaged file."""
        with rows_file(path) as arrays:
            ids, seeds = tuple(arrays["ids"].tolist()), by_seed(arrays, SeedClusters)
            return cls(ids, int(arrays["clusters"]), seeds, arrays["totals"])


@dataclass(frozen=True)
class Grouped:
    """What a clustering protocol hands over where there are no labels."""

    rows: ClusterRows
    agreement: dict[str, list[float]]
    """`seed_ari` and `seed_nmi`, percent: each seed's mean with all other seeds; empty for a single seed."""
    salient: float | None = None
    """Percent of all pixels that belong to a cluster; None where all do by definition."""
    seeds: tuple[int, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)
    """Further entries of the record, as plain JSON values."""

    def figures(self) -> dict[str, Any]:
        """The record's entries `metrics` and `clusters`, in percent and in numbers."""
        sizes = [self.rows.sizes(i) for i in range(len(self.rows.seeds))]
        column = 1 if self.salient is None else 0  # of pixels where clusters are of pixels, else of images
        series = self.agreement | {
            "cluster_evenness": [_evenness(size[:, column]) for size in sizes],
            "largest_cluster": [float(100 * size[:, column].max() / size[:, column].sum()) for size in sizes],
        }
        if self.salient is not None:
            series["salient_share"] = [self.salient]
        return {
            "metrics": {name: _entry(name, values) for name, values in series.items()},
            "clusters": [
                {"seed": seed, "images": size[:, 0].tolist(), "pixels": size[:, 1].tolist()}
                for seed, size in zip(self.seeds, sizes, strict=True)
            ],
        }


def _evenness(sizes: Counts) -> float:
    """Entropy of the clusters' sizes over that of equal ones, percent: 0 if one has all, 100 if all are alike."""
    return 100 * entropy(sizes.astype(np.float64)) / math.log(len(sizes))


def _entry(name: str, values: list[float]) -> dict[str, Any]:
    # each seed's agreement shares its pairs with the others': no sample to take a deviation of
    free = len(values) > 1 and not name.startswith("seed_")
    spread = float(np.std(values, ddof=1)) if free else None
    return {"value": float(np.mean(values)), "std": spread, "per_seed": values}


def agreement(labels: Iterable[Sequence[npt.NDArray[Any]]], seeds: int, clusters: int) -> dict[str, list[float]]:
    """How much the seeds agree on what belongs together, as in `Grouped`.

    `labels` are stretches of the same things' cluster ids, an array per seed. A seed's agreement is the mean of its
    adjusted Rand indices, or normalised mutual informations, with every other seed: neither needs labels, and neither
    minds how clusters are numbered.
    """
    if seeds < 2:
        return {}
    pairs = list(itertools.combinations(range(seeds), 2))
    tables = {pair: np.zeros((clusters, clusters), np.int64) for pair in pairs}
    for stretch in labels:
        for (a, b), table in tables.items():
            np.add.at(table, (stretch[a], stretch[b]), 1)
    found = {}
    for name, measure in (("seed_ari", ari), ("seed_nmi", nmi)):
        values = np.zeros((seeds, seeds))
        for (a, b), table in tables.items():
            values[a, b] = values[b, a] = measure(table)
        found[name] = (values.sum(axis=1) / (seeds - 1)).tolist()
    return found


def group_images(
    observations: Observations, labels: Sequence[Ints], seeds: tuple[int, ...], clusters: int, pixels: int
) -> Grouped:
    """From one cluster per image: its salient pixels, of `pixels` at the input size, belong to it."""
    images = np.arange(len(observations), dtype=np.int32)
    rows = tuple(SeedClusters(images, own.astype(np.int32), observations.areas) for own in labels)
    totals = np.full(len(observations), pixels, np.int64)
    salient = float(100 * observations.areas.sum() / totals.sum())
    found = agreement([labels], len(seeds), clusters)
    return Grouped(ClusterRows(observations.ids, clusters, rows, totals), found, salient, seeds)


def group_pixels(
    painted: Sequence[Painted], drawn: Iterator[Sequence[Ints]], seeds: tuple[int, ...], clusters: int
) -> Grouped:
    """From clusters painted on all pixels, one `Painted` per seed; the seeds are compared on the `drawn` pixels."""
    rows = []
    for one in painted:
        table = one.rows()
        rows.append(SeedClusters(table.image, table.predicted, table.count))
    totals = np.bincount(rows[0].image, rows[0].pixels, minlength=len(painted[0].ids)).astype(np.int64)
    found = agreement(drawn, len(seeds), clusters)
    return Grouped(ClusterRows(painted[0].ids, clusters, tuple(rows), totals), found, None, seeds)
