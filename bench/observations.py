"""Observations: what one forward pass keeps of an image, and the cache that keeps them.

With one cluster per image, the confusion matrix of *any* cluster assignment is a sum over images of two
label histograms, under the predicted mask and outside it. So an image is worth a prototype and a few counts
(about 0.6 kB) instead of its pixels. The packed masks lie apart, for pictures and exports.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bench.files import load_npz, save_npz, write_with

OBSERVER_VERSION = 1
"""Raised whenever the observer would give other numbers: old caches are then not met again."""

SHARD = 256
"""Samples per file of the cache."""

Int64 = npt.NDArray[np.int64]
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


@dataclass(frozen=True)
class Observations:
    """The observations of one split, stacked, in the split's order."""

    ids: tuple[str, ...]
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
    meta: dict[str, Any] = field(default_factory=dict)
    """How they came to be: device, precision, images per second, peak memory."""

    def __len__(self) -> int:
        return len(self.ids)

    def histograms(self, grid: str, num_classes: int) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Two sparse N×C pixel counts: labels inside the mask and outside it, on `label` or `input` grid."""
        shape = (len(self), num_classes)
        inside, outside = (
            sparse.csr_array((self.counts[:, column].astype(np.int64), self.classes, self.offsets), shape=shape)
            for column in GRIDS[grid]
        )
        return inside, outside


def stack(ids: Sequence[str], observations: Sequence[Observation], meta: dict[str, Any]) -> Observations:
    """Stack single observations and compute the manifest."""
    digest = hashlib.sha256()
    for name, observation in zip(ids, observations, strict=True):
        digest.update(name.encode() + b"\0" + observation.digest)
    lengths = [len(o.classes) for o in observations]
    return Observations(
        ids=tuple(ids),
        prototypes=np.stack([o.prototype for o in observations]),
        areas=np.array([o.area for o in observations], np.int64),
        near=np.array([o.near for o in observations], np.int64),
        sizes=np.array([o.size for o in observations], np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        classes=np.concatenate([o.classes for o in observations]),
        counts=np.concatenate([o.counts for o in observations]),
        manifest=digest.hexdigest(),
        meta=meta,
    )


class ObservationStore:
    """Cached observations of one split under one recipe, in shards of 256 samples.

    Rows are addressed by the sample's key, not by position alone: a limited run, a longer list or one
    changed image re-uses all that still holds. Files are replaced whole, so a reader never sees half a
    shard and two writers at worst do the same work twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def for_recipe(cls, cache: Path, recipe: dict[str, Any]) -> ObservationStore:
        """The store of everything that was observed in this way. `recipe` must be plain JSON values."""
        text = json.dumps(recipe | {"observer": OBSERVER_VERSION}, sort_keys=True)
        return cls(cache / "observations" / hashlib.sha256(text.encode()).hexdigest()[:24])

    def _paths(self, shard: int) -> tuple[Path, Path]:
        return self.folder / f"{shard:05d}.npz", self.folder / f"{shard:05d}.masks.npz"

    def load(self, shard: int) -> dict[bytes, Observation]:
        """The observations of one shard by sample key, without masks. A damaged file counts as absent."""
        path, masks = self._paths(shard)
        if not masks.is_file():
            return {}
        rows = load_npz(path)
        if not rows:
            return {}
        found = {}
        no_mask = np.empty(0, np.uint8)
        starts = rows["offsets"]
        for i, key in enumerate(rows["keys"]):
            span = slice(int(starts[i]), int(starts[i + 1]))
            found[key.tobytes()] = Observation(
                rows["prototypes"][i],
                int(rows["areas"][i]),
                int(rows["near"][i]),
                (int(rows["sizes"][i, 0]), int(rows["sizes"][i, 1])),
                rows["classes"][span],
                rows["counts"][span],
                rows["digests"][i].tobytes(),
                no_mask,
            )
        return found

    def masks(self, shard: int) -> dict[bytes, npt.NDArray[np.uint8]]:
        """The packed masks of one shard by sample key."""
        rows = load_npz(self._paths(shard)[1])
        return {key.tobytes(): mask for key, mask in zip(rows["keys"], rows["masks"], strict=True)} if rows else {}

    def save(self, shard: int, fresh: dict[bytes, Observation]) -> None:
        """Add observations, masks included, to a shard; the masks are written first."""
        path, masks_path = self._paths(shard)
        masks = self.masks(shard) | {key: o.mask for key, o in fresh.items()}
        rows = {key: o for key, o in self.load(shard).items() if key in masks} | fresh
        masks = {key: masks[key] for key in rows}
        keys = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
        save_npz(masks_path, {"keys": keys, "masks": np.stack(list(masks.values()))})
        stacked = stack([""] * len(rows), list(rows.values()), {})
        names = ("prototypes", "areas", "near", "sizes", "offsets", "classes", "counts")
        digests = np.frombuffer(b"".join(o.digest for o in rows.values()), np.uint8).reshape(len(rows), -1)
        save_npz(path, {"keys": keys, "digests": digests} | {name: getattr(stacked, name) for name in names})

    def known(self, keys: Sequence[bytes]) -> dict[bytes, Observation]:
        """All cached observations among `keys`."""
        found: dict[bytes, Observation] = {}
        for shard, members in shards(keys):
            rows = self.load(shard)
            found.update((key, rows[key]) for key in members if key in rows)
        return found

    def read_meta(self) -> dict[str, Any]:
        """What is known of the pass that filled this store."""
        try:
            meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return meta if isinstance(meta, dict) else {}

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Keep what is known of the pass that filled this store."""
        write_with(self.folder / "meta.json", lambda stream: stream.write(json.dumps(meta).encode()))


def shards(keys: Sequence[bytes]) -> Iterable[tuple[int, Sequence[bytes]]]:
    """Shard numbers with the sample keys that belong in each."""
    return ((start // SHARD, keys[start : start + SHARD]) for start in range(0, len(keys), SHARD))
