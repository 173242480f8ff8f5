"""Dense: from a network's pixels to K-means centres that paint every pixel of every image (spec §7).

One pass draws a few pixels of each image, which are clustered; a second one, `bench.classify`'s, assigns all of them.
A centre's dot product with a pixel is a linear classifier's logit, so the seeds' centres are so many classifiers.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bench import kmeans
from bench.classify import Classifiers
from bench.engine import Engine, arithmetic, call, stream
from bench.files import load_npz, save_npz
from bench.linear import Features, feature_map
from bench.observe import Loaded, load_sample, require_finite, run_pass, to_device
from bench.parallel import Progress
from bench.presets import DensePreset
from bench.samples import Samples
from bench.shards import Item, ShardStore

DENSE_VERSION = 1
"""Raised whenever this pass would draw other pixels or write other files."""
PIXELS = "pixels"
Float32 = npt.NDArray[np.float32]


def store(cache: Path, recipe: dict[str, Any], preset: DensePreset) -> ShardStore:
    """Where the pixels drawn under `recipe` (plain JSON values) are kept."""
    draw = {"pixels": preset.pixels, "pixel_seed": preset.pixel_seed, "dense": DENSE_VERSION}
    return ShardStore.for_recipe(cache, "pixels", recipe | draw, PIXELS)


def unit_features(extract: Features) -> Features:
    """`extract` with every pixel's features L2-normalised, B×D×h×w float32."""

    def features(images: Tensor) -> Tensor:
        return F.normalize(feature_map(extract(images), len(images)).float(), dim=1)

    return features


def draw_pixels(
    features: Callable[[], Features],
    samples: Samples,
    preset: DensePreset,
    kept: ShardStore,
    engine: Engine,
    *,
    fresh: bool = False,
) -> int:
    """Keep the features of `preset.pixels` pixels of every image in `kept`; returns how many there are in all.

    Only images that `kept` lacks are looked at, and `features` is called only if there are any.
    """

    def passes(todo: Sequence[int]) -> Any:
        forward = functools.partial(_forward, extract=features(), preset=preset, engine=engine)
        load = functools.partial(load_sample, samples=samples, preset=preset)
        return stream((samples.entries[i] for i in todo), load, forward, _keep, engine)

    found, _ = run_pass(passes, samples, kept, engine, fresh=fresh)
    return sum(int(item["drawn"][0]) for item in found.values())


def _forward(batch: Sequence[Loaded], extract: Features, preset: DensePreset, engine: Engine) -> list[Float32]:
    """The drawn pixels of each image, n×D."""
    with torch.inference_mode(), arithmetic(engine):
        features = feature_map(call(extract, to_device(batch, preset, engine)), len(batch))
    drawn = []
    for item, feature in zip(batch, features.flatten(2), strict=True):
        require_finite(item.sample.image, bool(torch.isfinite(feature).all()))
        chosen = torch.from_numpy(positions(item.sample.id, feature.shape[1], preset)).to(feature.device)
        drawn.append(feature[:, chosen].T.contiguous().cpu().numpy())
    return drawn


def positions(name: str, pixels: int, preset: DensePreset) -> npt.NDArray[np.int64]:
    """Which of an image's pixels are drawn: by the image's id, whatever the batch, the order or the split."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    generator = np.random.default_rng([preset.pixel_seed, key])
    return generator.choice(pixels, min(preset.pixels, pixels), replace=False)


def _keep(item: Loaded, drawn: Float32) -> Item:
    return {
        "drawn": np.array([len(drawn)], np.int64),
        "digest": np.frombuffer(item.digest, np.uint8),
        PIXELS: drawn,
    }


def fit_all(
    kept: ShardStore,
    samples: Samples,
    preset: DensePreset,
    seeds: Sequence[int],
    progress: Progress | None = None,
    *,
    gpu: bool = False,
    fresh: bool = False,
) -> list[Float32]:
    """Per seed the K×D centres of the pixels that `draw_pixels` kept; those found earlier lie beside them."""
    recipe = {key: preset.resolved()[key] for key in ("clusters", "init", "iterations", "restarts")}
    text = json.dumps([recipe, DENSE_VERSION, gpu], sort_keys=True).encode() + b"".join(samples.keys)
    stem = f"centres-{hashlib.sha256(text).hexdigest()[:16]}"
    points: Float32 | None = None
    centres = []
    for number, seed in enumerate(seeds, start=1):
        path = kept.folder / f"{stem}-seed-{seed}.npz"
        known = None if fresh else load_npz(path)
        if known is None or "centres" not in known:
            if points is None:
                points = np.concatenate(list(kept.iterate_apart(samples.keys)))
            known = {"centres": kmeans.fit(points, recipe, seed, gpu=gpu, spherical=True)}
            save_npz(path, known)
        centres.append(known["centres"])
        if progress:
            progress(number, len(seeds))
    return centres


def drawn_clusters(kept: ShardStore, samples: Samples, centres: Sequence[Float32]) -> Iterator[list[Any]]:
    """Image by image, the clusters of the pixels that `draw_pixels` kept: n ids for each seed's K×D centres."""
    for pixels in kept.iterate_apart(samples.keys):
        yield [(pixels @ own.T).argmax(axis=1) for own in centres]


def as_classifiers(centres: Sequence[Float32]) -> Classifiers:
    """Centres of several seeds as linear classifiers without bias on unit features."""
    weights = np.stack(centres)
    return Classifiers(weights, np.zeros(weights.shape[:2], np.float32))
