"""Cluster rows: the rows of a run without labels. No figure here can be compared with a figure that needs labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.base.files import save_npz
from bench.scoring.metrics import ari, entropy, nmi
from bench.scoring.paired import Paired
from bench.scoring.rows import Context, by_seed, rows_file

Ints = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
SALIENT = "salient_share"
"""Percent of all pixels that belong to a cluster, where clusters are of images' salient pixels."""


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
            return cls.of_arrays(arrays)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ClusterRows:
        """The rows of a file's arrays. Raises KeyError, ValueError or TypeError where they are none."""
        ids, seeds = tuple(arrays["ids"].tolist()), by_seed(arrays, SeedClusters)
        return cls(ids, int(arrays["clusters"]), seeds, arrays["totals"])

    # what every kind of rows answers: see `bench.scoring.rows.Rows`

    comparable: ClassVar[tuple[str, ...]] = ()
    """None: without labels there is nothing to be better at."""

    def figures(self, preset: Mapping[str, Any]) -> dict[str, list[float]]:
        """None that can be held against a figure with labels."""
        return {}

    def entries(self, context: Context) -> dict[str, Any]:
        """`metrics`, of `agreement` in `context.extra` and the clusters' sizes, and `clusters`.

        Where `context.extra` has no `salient_share`, clusters are of pixels, and sizes are counted in them.
        """
        sizes = [self.sizes(i) for i in range(len(self.seeds))]
        of_images = SALIENT in context.extra
        column = 0 if of_images else 1
        series = {name: values for name, values in context.extra.items() if name != SALIENT} | {
            "cluster_evenness": [_evenness(size[:, column]) for size in sizes],
            "largest_cluster": [float(100 * size[:, column].max() / size[:, column].sum()) for size in sizes],
        }
        if of_images:
            series[SALIENT] = context.extra[SALIENT]
        return {
            "metrics": {name: _entry(name, values) for name, values in series.items()},
            "clusters": [
                {"seed": seed, "images": size[:, 0].tolist(), "pixels": size[:, 1].tolist()}
                for seed, size in zip(context.seeds, sizes, strict=True)
            ],
        }

    def image_scores(self) -> tuple[None, None]:
        """None without labels."""
        return None, None

    def part_names(self, classes: Sequence[str]) -> list[str]:
        """None."""
        return []

    def pair(self, other: ClusterRows, preset: Mapping[str, Any], names: Sequence[str], resamples: int) -> Paired:
        """Raises ValueError: there is nothing to compare."""
        raise ValueError("they were made without labels")


def _evenness(sizes: Counts) -> float:
    """Entropy of the clusters' sizes over that of equal ones, percent: 0 if one has all, 100 if all are alike."""
    return 100 * entropy(sizes.astype(np.float64)) / math.log(len(sizes))


def _entry(name: str, values: list[float]) -> dict[str, Any]:
    # each seed's agreement shares its pairs with the others': no sample to take a deviation of
    free = len(values) > 1 and not name.startswith("seed_")
    spread = float(np.std(values, ddof=1)) if free else None
    return {"value": float(np.mean(values)), "std": spread, "per_seed": values}


def agreement(labels: Iterable[Sequence[npt.NDArray[Any]]], seeds: int, clusters: int) -> dict[str, list[float]]:
    """`seed_ari` and `seed_nmi`, percent: how much the seeds agree on what belongs together. Empty for a single seed.

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
