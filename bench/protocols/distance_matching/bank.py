"""Distance matching: a bank of labelled instances, and the votes of its entries on every pixel.

See docs/protocols.md#distance-matching.

Two passes, each cached. The first keeps the mean embedding of every instance of the bank's split, the second what
was painted on every evaluated image. Embeddings are never upsampled to an image's size: a mean over a region of
upsampled ones is a mean of the small ones with the region brought down (`bench.passes.prototypes.upsampling`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.sample_columns import Item
from bench.data.preprocessing import resize_nearest
from bench.data.samples import Samples
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.passes.classify import MAP, encode_map
from bench.passes.engine import Engine
from bench.passes.features import Features, unit
from bench.passes.forward import features_of
from bench.passes.image_pass import Loaded, pass_over_images
from bench.passes.observations import manifest_of
from bench.protocols.distance_matching.preset import DistancePreset
from bench.scoring.id_counts import Painted, contingency
from bench.scoring.imagenet_s_figures import band_table, counts_of
from bench.scoring.whitening import require_variety

if TYPE_CHECKING:
    from torch import Tensor

DISTANCE_VERSION = 1
"""Raised whenever these passes would give other numbers or files."""
INSTANCES = "instances"
_BANK_COLUMNS = {"classes": Column("uint16"), "digest": DIGEST, INSTANCES: Column("float32", (None,))}
_PAINTED_COLUMNS = {
    "counts": Column("int64", (3,)),
    "bands": Column("int64", (5,)),
    "digest": DIGEST,
    MAP: Column("uint8"),
}
PART = 1 << 24
"""Floats of upsampled features that are in memory at once."""
Float32 = npt.NDArray[np.float32]
Classes = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Bank:
    """The M labelled instances that vote."""

    entries: Float32
    """M×D, L2-normalised."""
    classes: Classes
    """M."""
    manifest: str
    """SHA-256 over the bank's images and labels."""
    images: int

    def digest(self) -> str:
        """SHA-256, hexadecimal, of what it says."""
        return hashlib.sha256(self.entries.tobytes() + self.classes.tobytes()).hexdigest()


def bank_store(cache: Path, recipe: dict[str, Any], preset: DistancePreset) -> ShardStore:
    """Where the instances found under `recipe` (plain JSON values) are kept."""
    own = {"background": preset.background, "distance": DISTANCE_VERSION}
    return ShardStore.for_recipe(cache, INSTANCES, recipe | own, INSTANCES, _BANK_COLUMNS)


def painted_store(cache: Path, recipe: dict[str, Any], preset: DistancePreset, bank: Bank) -> ShardStore:
    """Where that is kept which this bank painted under `recipe`."""
    own = {key: getattr(preset, key) for key in ("neighbours", "temperature", "upsample", "figures")}
    recipe = recipe | own | {"bank": bank.digest(), "distance": DISTANCE_VERSION}
    return ShardStore.for_recipe(cache, "distance", recipe, MAP, _PAINTED_COLUMNS)


# --- the bank ---


def fill_bank(
    features: Callable[[], Features],
    samples: Samples,
    preset: DistancePreset,
    kept: ShardStore,
    engine: Engine,
    *,
    fresh: bool = False,
) -> Bank:
    """The instances of all samples; only images that `kept` lacks are looked at.

    `features` gives B×D×h×w, and is called only if there is something to look at. Raises BadInput for a split without
    a labelled instance.
    """
    each = functools.partial(_instances, preset=preset, ignore=samples.card.labels.ignore)

    def start() -> Callable[[Sequence[Loaded]], list[Any]]:
        return functools.partial(_run, extract=features(), each=each, preset=preset, engine=engine)

    found, _ = pass_over_images(start, _bank_item, samples, preset, kept, engine, fresh=fresh)
    classes = found["classes"].flat
    if not len(classes):
        raise BadInput(
            f"none of the {len(samples)} images of {samples.split} has a labelled instance",
            "Name another split with --set bank=…; distance-matching needs a labelled bank.",
        )
    entries = np.concatenate([part for part in kept.iterate_apart(samples.keys) if len(part)])
    require_variety(entries, "instances of the bank")
    manifest = manifest_of(samples.ids, (digest.tobytes() for digest in found["digest"]))
    return Bank(entries, classes, manifest, len(samples))


def _run(
    batch: Sequence[Loaded],
    extract: Features,
    each: Callable[[Loaded, Tensor], Any],
    preset: DistancePreset,
    engine: Engine,
) -> list[Any]:
    """`each(loaded, features)` of a batch, the features D×h×w float32."""
    import torch

    with torch.inference_mode():
        found = features_of(batch, extract, preset, engine)
        return [each(item, feature) for item, feature in zip(batch, found, strict=True)]


def _instances(item: Loaded, feature: Tensor, preset: DistancePreset, ignore: int) -> tuple[Classes, Float32]:
    """Classes and mean embeddings (k×D, L2-normalised) of one image's instances."""
    import torch

    from bench.passes.prototypes import upsampling

    if item.label is None:
        return np.empty(0, np.uint16), np.empty((0, len(feature)), np.float32)
    present = np.unique(item.label)
    present = present[(present != ignore) & ((present != 0) | preset.background)]
    height, width = feature.shape[-2:]
    rows, columns = (upsampling(*sides, feature) for sides in zip((height, width), item.label.shape, strict=True))
    means = []
    for value in present.tolist():
        region = torch.from_numpy(item.label == value).to(feature)
        means.append(torch.einsum("dhw,hw->d", feature, rows.T @ region @ columns) / region.sum())
    stacked = torch.stack(means) if means else feature.new_empty((0, len(feature)))
    return present.astype(np.uint16), unit(stacked, dim=1).cpu().numpy()


def _bank_item(item: Loaded, found: tuple[Classes, Float32]) -> Item:
    return {"classes": found[0], "digest": np.frombuffer(item.digest, np.uint8), INSTANCES: found[1]}


# --- the votes ---


def paint(
    features: Callable[[], Features],
    bank: Bank,
    samples: Samples,
    preset: DistancePreset,
    kept: ShardStore,
    engine: Engine,
    *,
    gpu: bool = False,
    fresh: bool = False,
) -> Painted:
    """What the bank painted on every sample, counted at the label's own size; only what `kept` lacks is computed.

    The maps of class ids lie apart in `kept`, as `bench.passes.classify.encode_map` makes them.
    """
    count = functools.partial(_count, preset=preset, ignore=samples.card.labels.ignore)

    def start() -> Callable[[Sequence[Loaded]], list[Any]]:
        each = functools.partial(_votes, index=_index(bank, gpu), classes=bank.classes, preset=preset)
        return functools.partial(_run, extract=features(), each=each, preset=preset, engine=engine)

    found, meta = pass_over_images(start, count, samples, preset, kept, engine, fresh=fresh)
    manifest = manifest_of(samples.ids, (digest.tobytes() for digest in found["digest"]))
    bands = found["bands"] if preset.counts_boundaries else ()
    return Painted(samples.ids, found["counts"], manifest, meta, bands)


def _index(bank: Bank, gpu: bool) -> Any:
    """A faiss index of exact dot products, on the GPU if `gpu`."""
    import faiss

    index: Any = faiss.IndexFlatIP(bank.entries.shape[1])
    if gpu:
        index = faiss.index_cpu_to_gpus_list(index, gpus=[0])
    index.add(np.ascontiguousarray(bank.entries))
    return index


def _votes(item: Loaded, feature: Tensor, index: Any, classes: Classes, preset: DistancePreset) -> Classes:
    """The class of every pixel of the upsampled features, one image."""
    neighbours = min(preset.neighbours, len(classes))
    parts = []
    for pixels in upsampled_rows(feature, preset.upsample):
        similar, nearest = index.search(pixels, neighbours)
        parts.append(vote(similar, classes[nearest], preset.temperature))
    height, width = (preset.upsample * side for side in feature.shape[-2:])
    return np.concatenate(parts).reshape(height, width)


def upsampled_rows(feature: Tensor, factor: int) -> Iterator[Float32]:
    """The pixels of D×h×w features, upsampled by `factor` (bilinear) and L2-normalised: n×D, some rows at a time."""
    import torch

    from bench.passes.prototypes import upsampling

    depth, height, width = feature.shape
    rows, columns = upsampling(height, factor * height, feature), upsampling(width, factor * width, feature)
    wide = torch.einsum("dhw,cw->dhc", feature, columns)
    for part in torch.split(rows, max(1, PART // (depth * factor * width))):
        pixels = torch.einsum("dhc,rh->rcd", wide, part).reshape(-1, depth)
        yield unit(pixels, dim=1).cpu().numpy()


def vote(similar: Float32, classes: Classes, temperature: float) -> Classes:
    """The class with the largest sum of exp(similarity / temperature) in each row of n×k neighbours.

    At a tie the smallest class id.
    """
    # against the nearest one: the same shares of the vote, and no overflow at low temperatures
    weights = np.exp((similar.astype(np.float64) - similar.max(axis=1, keepdims=True)) / temperature)
    totals = np.zeros(weights.shape)
    for one in range(classes.shape[1]):
        totals += weights[:, one : one + 1] * (classes == classes[:, one : one + 1])
    best = totals == totals.max(axis=1, keepdims=True)
    return np.where(best, classes, np.iinfo(np.uint16).max).min(axis=1).astype(np.uint16)


def _count(item: Loaded, found: Classes, preset: DistancePreset, ignore: int) -> Item:
    """One image's tables, and its map at its own size."""
    own = resize_nearest(found, item.size)
    counts, bands = np.empty((0, 3), np.int64), np.empty((0, 5), np.int64)
    if item.label is not None and preset.figures == "imagenet-s":
        bands = band_table(own, item.label, ignore)
        counts = counts_of(bands)
    elif item.label is not None:
        counts = contingency(own, item.label, ignore)
    return {"counts": counts, "bands": bands, "digest": np.frombuffer(item.digest, np.uint8), MAP: encode_map(own)}
