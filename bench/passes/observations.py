"""Observations: what one forward pass keeps of an image, and the cache that keeps them.

With one cluster per image, the confusion matrix of *any* cluster assignment is a sum over images of two
label histograms: inside the predicted mask and outside it. So a prototype and a few counts (about 0.6 kB) are kept of
an image, instead of its pixels. The packed masks are kept apart, for pictures and exports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.base.sample_columns import Columns, Item
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.scoring.confusion_rows import SeedRows
from bench.scoring.matching import UNMATCHED

OBSERVER_VERSION = 2
"""Raised whenever the observer would give other numbers or files: old caches are then not met again."""

MASK = "mask"
Int64 = npt.NDArray[np.int64]
NO_BANDS = np.empty((0, 8), np.int32)
_COLUMNS = {
    "prototype": Column("float32", (None,), rows=1),
    "area": Column("int64", (2,), rows=1),
    "size": Column("int32", (2,), rows=1),
    "classes": Column("uint16"),
    "counts": Column("int32", (4,), like="classes"),
    "bands": Column("int32", (8,), like="classes", optional=True),
    "digest": DIGEST,
    MASK: Column("uint8"),
}
"""What the cache keeps of `Observation`."""
GRIDS = {"label": (0, 1), "input": (2, 3)}
"""Grid → columns of `counts`: inside the mask, outside of it."""


@dataclass(frozen=True)
class Observation:
    """One image. `classes` are the labels that occur in it (ignored pixels left out)."""

    prototype: npt.NDArray[np.float32]
    """D: saliency-weighted sum of the salient pixels' embeddings, L2-normalised; zeros if none is salient."""
    area: int
    """Salient pixels on the input grid."""
    near: int
    """Pixels whose logit lies within 1e-4 of the threshold: what rounding may move."""
    size: tuple[int, int]
    """Height and width of the image, pixels."""
    classes: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.int32]
    """len(classes)×4 pixel counts: label grid inside and outside the mask, input grid inside and outside."""
    digest: bytes
    """16 bytes of the hash of the image's and the label's file contents."""
    mask: npt.NDArray[np.uint8]
    """The mask on the input grid, packed to bits, row-major."""
    bands: npt.NDArray[np.int32] = field(default_factory=lambda: NO_BANDS)
    """len(classes)×8 pixel counts of `bench.scoring.boundaries.count_bands`; 0×8 where no figure needs them."""

    def item(self) -> Item:
        """As the cache keeps it; the mask lies apart."""
        bands = {"bands": self.bands} if len(self.bands) == len(self.classes) else {}
        return bands | {
            "prototype": self.prototype[None],
            "area": np.array([[self.area, self.near]], np.int64),
            "size": np.array([self.size], np.int32),
            "classes": self.classes,
            "counts": self.counts,
            "digest": np.frombuffer(self.digest, np.uint8),
            MASK: self.mask,
        }


@dataclass(frozen=True)
class Observations:
    """The observations of one split, stacked, in the split's order."""

    ids: Sequence[str]
    prototypes: npt.NDArray[np.float32]
    """N×D."""
    areas: Int64
    near: Int64
    sizes: npt.NDArray[np.int32]
    """N×2, height and width."""
    offsets: Int64
    """N+1: image i's classes are `classes[offsets[i]:offsets[i + 1]]`."""
    classes: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.int32]
    manifest: str
    """SHA-256 over ids and file contents: what data this was."""
    bands: npt.NDArray[np.int32] = field(default_factory=lambda: NO_BANDS)
    """Beside `counts`, ×8; 0×8 where no figure needs them."""
    meta: dict[str, Any] = field(default_factory=dict)
    """How they came to be: device, precision, images per second, peak memory."""

    def __len__(self) -> int:
        return len(self.ids)

    def histograms(self, grid: str, num_classes: int) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
        """Two sparse N×C pixel counts: labels inside the mask and outside it, on `label` or `input` grid."""
        shape = (len(self), num_classes)
        inside, outside = (
            scipy.sparse.csr_array((self.counts[:, column].astype(np.int64), self.classes, self.offsets), shape=shape)
            for column in GRIDS[grid]
        )
        return inside, outside


def manifest_of(ids: Iterable[str], digests: Iterable[bytes]) -> str:
    """SHA-256, hexadecimal, over ids and the hashes of file contents: what data this was."""
    digest = hashlib.sha256()
    for name, content in zip(ids, digests, strict=True):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def stacked(ids: Sequence[str], columns: Columns, meta: dict[str, Any]) -> Observations:
    """The observations of the samples called `ids`, as the cache keeps them; computes the manifest."""
    return Observations(
        ids=ids,
        prototypes=columns["prototype"].flat,
        areas=columns["area"].flat[:, 0],
        near=columns["area"].flat[:, 1],
        sizes=columns["size"].flat,
        offsets=np.concatenate([[0], columns["classes"].ends]).astype(np.int64),
        classes=columns["classes"].flat,
        counts=columns["counts"].flat,
        manifest=manifest_of(ids, (digest.tobytes() for digest in columns["digest"])),
        bands=columns["bands"].flat if "bands" in columns.names else NO_BANDS,
        meta=meta,
    )


def stack(ids: Sequence[str], observations: Sequence[Observation], meta: dict[str, Any]) -> Observations:
    """Stack single observations and compute the manifest."""
    items = {i.to_bytes(8): observation.item() for i, observation in enumerate(observations)}
    return stacked(tuple(ids), Columns.of_items(items), meta)


def observation_store(cache: Path, recipe: dict[str, Any]) -> ShardStore:
    """Where everything that was observed in this way is kept. `recipe` must be plain JSON values."""
    return ShardStore.for_recipe(cache, "observations", recipe | {"observer": OBSERVER_VERSION}, MASK, _COLUMNS)


def rows_of_masks(
    observations: Observations,
    painted: npt.NDArray[np.int64],
    grid: str,
    num_classes: int,
    valid: npt.NDArray[np.bool_] | None = None,
) -> SeedRows:
    """Rows of images that are painted in one class inside their mask and in one outside it: N×2, −1 for no class.

    Pixels are counted on `grid`; those of a class that is not `valid` are left out.
    """
    parts = []
    for counts, classes in zip(observations.histograms(grid, num_classes), painted.T, strict=True):
        table = counts.tocoo()
        kept = table.data > 0 if valid is None else (table.data > 0) & valid[table.coords[1]]
        image, true = (column[kept] for column in table.coords)
        predicted = np.where(classes == UNMATCHED, num_classes, classes)[image]
        parts.append((image, predicted, true, table.data[kept]))
    image, predicted, true, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    return SeedRows(image.astype(np.int32), predicted.astype(np.int32), true.astype(np.int32), count.astype(np.int64))
