"""Image pass: what all passes of a network over a split share, from a decoded sample to the cache."""

from __future__ import annotations

import functools
import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.sample_columns import Columns, Item
from bench.cards.presets import GeometryPreset, ImagePreset, Preset
from bench.data.decoding import DECODING_VERSION, Label, read_sample
from bench.data.preprocessing import normalise, to_input
from bench.data.samples import Sample, Samples
from bench.passes.cache import FLUSH_SECONDS, ShardStore
from bench.passes.engine import Engine, stream

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Loaded:
    """One sample, decoded; the image resized to the input, the label at its own size."""

    sample: Sample
    image: npt.NDArray[Any]
    """As `bench.data.preprocessing.to_input` returns it, H×W×3."""
    label: Label | None
    size: tuple[int, int]
    """Height and width of the image in its file, pixels."""
    digest: bytes
    """`short_digest` of the two files."""


def observation_recipe(key: str, samples: Samples, preset: Preset, precision: str) -> dict[str, Any]:
    """All that decides what is seen of a sample, but the sample itself; `key` is the network's."""
    # protocols with a geometry share what was kept, and have other defaults: none is left unsaid
    entries = preset.model_dump(mode="json") if isinstance(preset, GeometryPreset) else preset.resolved()
    labels = samples.card.labels
    # how plain indices are read has always been the same, and left unsaid
    decoding: dict[str, Any] = (
        {"labels": labels.model_dump(mode="json", exclude_none=True)}
        if labels.map or labels.encoding != "index"
        else {}
    )
    if labels.encoding == "colour":
        decoding["colours"] = samples.card.palette
    return decoding | {
        "decoding": DECODING_VERSION,
        "orientation": samples.card.orientation,
        "weights": key,
        "dataset": samples.card.id,
        "split": samples.split,
        "classes": len(samples.card.classes),
        "ignore": labels.ignore,
        "precision": precision,
        **{key: entries[key] for key in preset.observed if key in entries},
    }


def pass_over_images(
    start: Callable[[], Callable[[Sequence[Loaded]], Sequence[Any]]],
    keep: Callable[[Loaded, Any], Item],
    samples: Samples,
    preset: ImagePreset,
    store: ShardStore,
    engine: Engine,
    *,
    fresh: bool,
    load: Callable[[Sample], Loaded] | None = None,
) -> tuple[Columns, dict[str, Any]]:
    """`run_pass` over single images: `keep(loaded, output)` is what is kept of each.

    `start()` returns what makes the outputs of a batch, one per image; it is called only when something is left to do.
    `load` decodes an image, in place of `load_sample`.
    Batches are those of a pass over all samples, whatever is left to do of each: a network rounds otherwise in a batch
    of another size, and a run that goes on must find what an undisturbed one does.
    """

    def make(todo: Sequence[int]) -> Iterator[Item]:
        decode = load or functools.partial(load_sample, samples=samples, preset=preset)
        whole, wanted = _whole_batches(todo, len(samples), engine.batch_size)
        items = stream((samples.entries[i] for i in whole), decode, start(), keep, engine)
        return (item for item, asked in zip(items, wanted, strict=True) if asked)

    return run_pass(make, samples, store, engine, fresh=fresh)


def _whole_batches(todo: Sequence[int], samples: int, size: int) -> tuple[array[int], npt.NDArray[np.bool_]]:
    """The places of all members of the batches in which something is to do, and which of them are to do."""
    asked = np.zeros(samples, bool)
    asked[np.asarray(todo, np.int64)] = True
    batches = np.unique(np.flatnonzero(asked) // size)
    whole = (batches[:, None] * size + np.arange(size)).reshape(-1)
    whole = whole[whole < samples]
    return array("q", whole.tobytes()), asked[whole]


def run_pass(
    make: Callable[[Sequence[int]], Iterable[Item]],
    samples: Samples,
    store: ShardStore,
    engine: Engine,
    *,
    fresh: bool,
    flush_seconds: float = FLUSH_SECONDS,
) -> tuple[Columns, dict[str, Any]]:
    """Every sample's item, in order, and what is known of the pass; `make(todo)` makes those that are missing."""
    found = Columns.of_items({}) if fresh else store.known(samples.keys)
    todo = array("q", _missing(samples.keys, found.keys))
    meta = store.read_meta()
    if todo:
        started = time.perf_counter()
        made = store.fill(samples.keys, todo, make(todo), engine.progress, flush_seconds)
        seconds = time.perf_counter() - started
        found = _in_order(found, made, todo)
        meta = {
            "device": engine.device,
            "precision": engine.precision,
            "seconds": seconds,
            "images_per_second": samples.count(todo) / seconds,
            "observed": len(todo),
        }
        store.write_meta(meta)
    return found, meta | {"fresh": len(todo)}


def _missing(keys: Iterable[bytes], known: Iterable[bytes]) -> Iterator[int]:
    """The places in `keys` of those that are not `known`, which has the others in the same order."""
    others = iter(known)
    other = next(others, None)
    for place, key in enumerate(keys):
        if key == other:
            other = next(others, None)
        else:
            yield place


def _in_order(known: Columns, made: Columns, todo: Sequence[int]) -> Columns:
    """Both together, those `made` at the places `todo`, those `known` at the others in between."""
    places = np.asarray(todo, np.int64)
    others = np.setdiff1d(np.arange(len(known) + len(made)), places, assume_unique=True)
    return Columns.joined([known, made]).take(np.argsort(np.concatenate([others, places])))


def load_sample(sample: Sample, samples: Samples, preset: ImagePreset) -> Loaded:
    """Decode a sample; the image is resized to the preset's input. Raises BadInput naming the file."""
    image, label, digest = read_sample(sample, samples.card)
    return Loaded(sample, to_input(image, preset), label, image.shape[:2], short_digest(digest))


def to_device(batch: Sequence[Loaded], preset: Preset, engine: Engine) -> Tensor:
    """The batch as the network's input, B×3×H×W float32, normalised. All images must be of one size."""
    import torch

    images = torch.from_numpy(np.stack([item.image for item in batch])).to(engine.device, non_blocking=True)
    return normalise(images, preset)


def require_finite(image: Path, finite: bool) -> None:
    """Raises BadInput naming the image on which the network gave NaN or infinity."""
    if not finite:
        raise BadInput(
            f"the network gives NaN or infinity on {image}",
            "Check that its weights are whole, and use --precision float32.",
        )


def short_digest(digest: bytes) -> bytes:
    """16 bytes that stand for the hashes of an image's and its label's file contents."""
    return hashlib.sha256(digest).digest()[:16]
