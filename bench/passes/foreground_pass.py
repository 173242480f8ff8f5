"""Foreground pass: one pass in which an image's foreground is found at its own size (docs/protocols.md#discovery).

What is kept of an image is its foreground as a grey picture, and the box around it. Neither needs an annotation, so
that figures of any definition are counted from one pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.sample_columns import Columns, Item
from bench.cards.foreground import ForegroundPreset
from bench.data.decoding import read_image_of
from bench.data.picture_files import Image8
from bench.data.preprocessing import normalise, resize_image, resize_nearest
from bench.data.samples import Sample, Samples
from bench.passes.cache import Column, ShardStore
from bench.passes.classify import encode_map
from bench.passes.engine import Engine, arithmetic, call, stream
from bench.passes.features import Features, feature_map, fill_up, require_variety, upsample
from bench.passes.image_pass import require_finite, run_pass
from bench.scoring import normalised_cut
from bench.scoring.corloc import box_of

if TYPE_CHECKING:
    from torch import Tensor

FOREGROUND_VERSION = 1
"""Raised whenever this pass would give other numbers or files."""
FOREGROUND = "foreground"
_COLUMNS = {
    "box": Column("float64", (4,)),
    "gap": Column("float64"),
    "size": Column("int32", (2,), rows=1),
    "image": Column("uint8", rows=32),
    FOREGROUND: Column("uint8"),
}
Map = npt.NDArray[Any]


@dataclass(frozen=True)
class _Loaded:
    """One image, decoded and resized; `digest` is the SHA-256 of its file."""

    sample: Sample
    image: Image8
    size: tuple[int, int]
    """Its own height and width, pixels."""
    digest: bytes


def foreground_store(cache: Path, recipe: dict[str, Any]) -> ShardStore:
    """Where a pass under `recipe` (plain JSON values) keeps what it found."""
    whole = recipe | {"find": FOREGROUND_VERSION}
    return ShardStore.for_recipe(cache, "foreground", whole, FOREGROUND, _COLUMNS)


def find_foreground(
    start: Callable[[], Callable[[Tensor], Any]],
    samples: Samples,
    preset: ForegroundPreset,
    store: ShardStore,
    engine: Engine,
    *,
    fresh: bool = False,
) -> tuple[Columns, dict[str, Any]]:
    """The `box`, `gap` and `size` of every image, in order, and what is known of the pass.

    Foregrounds lie apart, as `bench.passes.classify.encode_map` makes them: H×W of 0…255, of a cut only 0 and 255.

    `start()`, called only when something is left to do, gives what maps 1×3×H×W normalised images to 1×D×h×w features,
    or, of a saliency head, to logits 1×h×w. Raises BadInput, naming the image, for one with too many patches to cut.
    """
    head = preset.mask == "saliency-head"

    def make(todo: Sequence[int]) -> Iterator[Item]:
        network = start()
        load = functools.partial(_load, preset=preset)
        forward = functools.partial(_forward, network=network, preset=preset, engine=engine, head=head)
        keep = functools.partial(_keep_map if head else _keep_cut, preset=preset)
        return stream((samples.entries[i] for i in todo), load, forward, keep, engine)

    return run_pass(make, samples, store, engine, fresh=fresh)


def input_size(size: tuple[int, int], longer_side: int | None) -> tuple[int, int]:
    """(height, width) at which an image of this (height, width) is seen: its own, unless its longer side is longer."""
    if longer_side is None or max(size) <= longer_side:
        return size
    height, width = (max(1, round(side * longer_side / max(size))) for side in size)
    return height, width


def _load(sample: Sample, preset: ForegroundPreset) -> _Loaded:
    image, digest = read_image_of(sample)
    size = (image.shape[0], image.shape[1])
    seen = input_size(size, preset.longer_side)
    return _Loaded(sample, image if seen == size else resize_image(image, seen, preset.interpolation), size, digest)


def _forward(
    batch: Sequence[_Loaded],
    network: Features | Callable[[Tensor], Any],
    preset: ForegroundPreset,
    engine: Engine,
    *,
    head: bool,
) -> list[tuple[npt.NDArray[np.float32], tuple[int, int]]]:
    """Per image the features, or the logit at the input's size; and the (height, width) of the padded input."""
    import torch

    found = []
    for item in batch:  # each of its own size
        with torch.inference_mode(), arithmetic(engine):
            seen = torch.from_numpy(item.image[None]).to(engine.device)
            images = fill_up(normalise(seen, preset), preset.multiple)
            output = call(network, images)
            values = _logits(output) if head else feature_map(output, images)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        require_finite(item.sample.image, bool(torch.isfinite(values).all()))
        if head:
            values = upsample(values.float()[:, None], size)[0]
        else:
            _require_few(item, values.shape[-2] * values.shape[-1])
            require_variety(values, 1, str(item.sample.image))
        found.append((values.float().reshape(-1, *values.shape[-2:]).cpu().numpy(), size))
    return found


def _logits(output: Any) -> Tensor:
    """The saliency logits, B×h×w, of what a network with an embedding and a saliency head returns."""
    logits: Tensor = output[1]
    return logits[:, 0] if logits.ndim == 4 else logits


def _require_few(item: _Loaded, patches: int) -> None:
    if patches > normalised_cut.MOST_PATCHES:
        height, width = item.size
        raise BadInput(
            f"{item.sample.image} is {width}×{height} pixels, which are {patches} patches; "
            f"at most {normalised_cut.MOST_PATCHES} are cut",
            f"Use --set longer_side=… below {max(item.image.shape[:2])}.",
        )
    if patches < 2:
        raise BadInput(f"{item.sample.image} comes to a single patch, which cannot be cut", "Leave the image out.")


def _keep_cut(item: _Loaded, output: tuple[npt.NDArray[np.float32], tuple[int, int]], preset: ForegroundPreset) -> Item:
    features, size = output
    found = normalised_cut.cut(features, preset.similarity, preset.weak)
    part = found.component
    high, wide = (side / cells for side, cells in zip(size, part.shape, strict=True))
    seen = (item.image.shape[0], item.image.shape[1])
    box = np.array([box_of(part, (high, wide), seen)])
    box *= np.array([item.size[1] / seen[1], item.size[0] / seen[0]] * 2)
    rows, columns = ((np.arange(length) // step).astype(int) for length, step in zip(seen, (high, wide), strict=True))
    mask = np.where(part[np.ix_(rows, columns)], np.uint8(255), np.uint8(0))
    return _item(item, mask if seen == item.size else resize_nearest(mask, item.size), box, found.gap)


def _keep_map(item: _Loaded, output: tuple[npt.NDArray[np.float32], tuple[int, int]], preset: ForegroundPreset) -> Item:
    logits = output[0][0][: item.image.shape[0], : item.image.shape[1]].astype(np.float64)
    shares = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    grey = np.rint(255 * shares).astype(np.uint8)
    if grey.shape != item.size:
        grey = cv2.resize(grey, item.size[::-1], interpolation=cv2.INTER_LINEAR)
    above = grey > 127
    box = np.array([box_of(above, 1, item.size)]) if above.any() else np.empty((0, 4))
    return _item(item, grey, box)


def _item(item: _Loaded, foreground: Image8, box: npt.NDArray[np.float64], gap: float | None = None) -> Item:
    return {
        "gap": np.array([] if gap is None else [gap], np.float64),
        "box": box.astype(np.float64),
        "size": np.array([item.size], np.int32),
        "image": np.frombuffer(item.digest, np.uint8),
        FOREGROUND: encode_map(foreground),
    }
