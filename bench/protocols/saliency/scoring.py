"""Scoring: maps of foreground are counted against annotations, image by image (docs/protocols.md#saliency)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.parallel import default_workers, prefetch
from bench.base.sample_columns import Columns, Item
from bench.data.grey_maps import read_foreground
from bench.data.samples import Sample, Samples
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.passes.image_pass import short_digest
from bench.passes.observations import manifest_of
from bench.protocols.saliency.preset import MapsPreset
from bench.scoring.saliency_figures import LEVELS, MaskCounts, Stack, count_mask
from bench.scoring.saliency_rows import SaliencyRows

COUNTING_VERSION = 1
"""Raised whenever masks would be counted otherwise."""
APART = "none"
"""What the store of counts keeps apart: nothing."""
_COLUMNS = {
    "level": Column("uint16"),
    "count": Column("int64", like="level"),
    "half": Column("int64", (2,), rows=1),
    "adaptive": Column("int64", (2,), rows=1),
    "error": Column("float64", rows=1),
    "digest": DIGEST,
    APART: Column("uint8"),
}
Shares = npt.NDArray[np.float32]
ReadMap = Callable[[Sample], tuple[Shares, bytes]]
"""A sample's map, H×W in 0…1, and the SHA-256 of its image's file."""


def counts_store(cache: Path, recipe: dict[str, Any], preset: MapsPreset) -> ShardStore:
    """Where the counts of the maps that `recipe` makes are kept, by a preset's rules."""
    how = {"rules": preset.rules, "foreground": preset.foreground, "count": COUNTING_VERSION}
    return ShardStore.for_recipe(cache, "saliency", recipe | how, APART, _COLUMNS)


def count_maps(
    maps: Iterable[tuple[Sample, Shares, bytes]], samples: Samples, preset: MapsPreset, workers: int | None = None
) -> Iterator[Item]:
    """Count maps, each with its sample and the SHA-256 of its image, in threads, in order.

    Raises BadInput, naming the file, for an annotation that is damaged or of another size than its map.
    """
    count = functools.partial(count_one, samples=samples, preset=preset)
    with ThreadPoolExecutor(workers or default_workers(), "bench-loader") as pool:
        yield from prefetch(pool, lambda one: count(*one), maps, depth=16)


def count_one(sample: Sample, shares: Shares, digest: bytes, samples: Samples, preset: MapsPreset) -> Item:
    """What the store keeps of one image."""
    assert sample.label is not None and preset.foreground is not None
    foreground, counts, own = read_foreground(sample.label, samples.card, shares.shape, preset.foreground)
    if counts.all():
        found = count_mask(shares, foreground, preset.rules)
    else:
        found = count_mask(shares[counts], foreground[counts], preset.rules)
    table = found.levels.reshape(-1)
    places = np.flatnonzero(table)
    return {
        "level": places.astype(np.uint16),
        "count": table[places],
        "half": found.half[None],
        "adaptive": found.adaptive[None],
        "error": np.array([found.error]),
        "digest": np.frombuffer(short_digest(digest + own), np.uint8),
        APART: np.empty(0, np.uint8),
    }


def rows_of(samples: Samples, columns: Columns) -> SaliencyRows:
    """The rows of all images of a split, from what the store keeps of them."""
    stack = Stack.of([_counts(columns, i) for i in range(len(columns))])
    return SaliencyRows(tuple(samples.ids), stack)


def _counts(columns: Columns, i: int) -> MaskCounts:
    table = np.zeros(2 * LEVELS, np.int64)
    table[columns["level"][i]] = columns["count"][i]
    half, adaptive = columns["half"][i][0], columns["adaptive"][i][0]
    return MaskCounts(table.reshape(2, LEVELS), half, adaptive, float(columns["error"][i][0]))


def manifest(samples: Samples, columns: Columns) -> str:
    """SHA-256 over the images and annotations that were seen."""
    return manifest_of(samples.ids, (digest.tobytes() for digest in columns["digest"]))
