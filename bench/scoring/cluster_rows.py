"""Cluster rows: the rows of a run without labels. No figure here can be compared with a figure that needs labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.base.files import save_npz
from bench.scoring.metrics import ari, entropy, nmi
from bench.scoring.paired import Paired
from bench.scoring.rows import (
    Context,
    WithoutClasses,
    by_seed,
    changed_images,
    integers,
    names_of,
    require_alike,
    rows_file,
    whole_number,
)

Ints = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
MOST_CLUSTERS = 1 << 20
_CELLS = 1 << 24
"""Of the tables in which seeds are compared, at most."""
SALIENT = "salient_share"
"""Percent of all pixels that belong to a cluster, where clusters are of images' salient pixels."""


@dataclass(frozen=True)
class SeedClusters:
    """Of one seed, as parallel arrays: so many pixels of an image belong to a cluster."""

    image: Ints
    cluster: Ints
    pixels: Counts


@dataclass(frozen=True)
class ClusterRows(WithoutClasses):
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
        ids, seeds = names_of(arrays), by_seed(arrays, SeedClusters)
        clusters = whole_number(arrays["clusters"], "clusters", 1, MOST_CLUSTERS)
        totals = integers(arrays["totals"], "totals", 0, 1 << 40, (len(ids),))
        if not ids or len(seeds) * clusters > MOST_CLUSTERS:
            raise ValueError(f"{len(seeds)} seeds of {clusters} clusters on {len(ids)} images")
        for rows in seeds:
            integers(rows.image, "image", 0, len(ids))
            integers(rows.cluster, "cluster", 0, clusters)
            integers(rows.pixels, "pixels", 0, 1 << 40)
        return cls(ids, clusters, seeds, totals)

    # what every kind of rows answers: see `bench.scoring.rows.Rows`

    comparable: ClassVar[tuple[str, ...]] = ()
    """None: without labels there is nothing to be better at."""

    def figures(self, preset: Mapping[str, Any]) -> dict[str, list[float]]:
        """None that can be held against a figure with labels."""
        return {}

    def further(self, preset: Mapping[str, Any], names: Collection[str]) -> dict[str, list[float]]:
        """Agreement and `salient_share`, where each image has one cluster: which pixels seeds share is in no row."""
        if "saliency_threshold" not in preset or not self._of_images():
            return {}
        share = [float(100 * self.seeds[0].pixels.sum() / max(1, self.totals.sum()))]
        pairs = len(self.seeds) * (len(self.seeds) - 1) // 2
        if pairs * (self.clusters**2 + len(self.ids)) > _CELLS:
            return {SALIENT: share}
        return agreement([[rows.cluster for rows in self.seeds]], len(self.seeds), self.clusters) | {SALIENT: share}

    def _of_images(self) -> bool:
        """Whether each image has one row."""
        images = np.arange(len(self.ids))
        return all(np.array_equal(rows.image, images) for rows in self.seeds)

    @property
    def resampling(self) -> int:
        """Nothing is drawn."""
        return 0

    def entries(self, context: Context) -> dict[str, Any]:
        """`metrics`, of `agreement` in `context.extra` and the clusters' sizes, and `clusters`.

        Where `context.extra` has no `salient_share`, clusters are of pixels, and sizes are counted in them.
        """
        sizes = [self.sizes(i) for i in range(len(self.seeds))]
        of_images = SALIENT in context.extra
        column = 0 if of_images else 1
        series = {name: values for name, values in context.extra.items() if name != SALIENT} | {
            "cluster_evenness": [_evenness(size[:, column]) for size in sizes],
            "largest_cluster": [_largest(size[:, column]) for size in sizes],
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

    def changed(self, other: ClusterRows) -> npt.NDArray[np.bool_]:
        """Of each image, whether any cluster has another number of its pixels."""
        require_alike(self, other, (len(self.seeds), len(other.seeds)), (self.clusters, other.clusters))
        counts = [[(rows.image, rows.cluster, rows.pixels) for rows in own.seeds] for own in (self, other)]
        return changed_images(counts[0], counts[1], len(self.ids))

    def pair(
        self,
        other: ClusterRows,
        preset: Mapping[str, Any],
        names: Sequence[str],
        resamples: int,
        *,
        one_model: bool = False,
    ) -> Paired:
        """Raises ValueError: there is nothing to compare."""
        raise ValueError("they were made without labels")


def _evenness(sizes: Counts) -> float:
    """Entropy of the clusters' sizes over that of equal ones, percent: 0 if one has all, 100 if all are alike."""
    if len(sizes) == 1 or not sizes.sum():
        return 100.0
    return 100 * entropy(sizes.astype(np.float64)) / math.log(len(sizes))


def _largest(sizes: Counts) -> float:
    """The largest cluster's share, percent."""
    return float(100 * sizes.max() / max(1, sizes.sum()))


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
