"""Pixels: from a network's pixels to K-means centres, and to a cluster for every pixel.

See docs/protocols.md#clustering-dense.

One pass draws a few pixels of each image, which are clustered. A second pass, that of `bench.passes.classify`, assigns
every pixel. The dot product of a centre and a pixel is the logit of a linear classifier, so the centres of each seed
are a classifier.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.packed_arrays import stacked
from bench.base.parallel import Progress
from bench.base.sample_columns import Item
from bench.data.samples import Samples
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.passes.classify import Classifiers
from bench.passes.engine import Engine
from bench.passes.features import Features, feature_map, unit
from bench.passes.forward import features_of
from bench.passes.image_pass import Loaded, pass_over_images
from bench.protocols.clustering_dense.preset import DensePreset
from bench.protocols.shared_by_pixel import drawn_places
from bench.scoring import cached_centres

if TYPE_CHECKING:
    from torch import Tensor

DENSE_VERSION = 1
"""Raised whenever this pass would draw other pixels or write other files."""
PIXELS = "pixels"
_COLUMNS = {"drawn": Column("int64", rows=1), "digest": DIGEST, PIXELS: Column("float32", (None,))}
Float32 = npt.NDArray[np.float32]


def store(cache: Path, recipe: dict[str, Any], preset: DensePreset) -> ShardStore:
    """Where the pixels drawn under `recipe` (plain JSON values) are kept."""
    draw = {"pixels": preset.pixels, "pixel_seed": preset.pixel_seed, "dense": DENSE_VERSION}
    return ShardStore.for_recipe(cache, "pixels", recipe | draw, PIXELS, _COLUMNS)


def unit_features(extract: Features) -> Features:
    """`extract` with every pixel's features L2-normalised, B×D×h×w float32."""

    def features(images: Tensor) -> Tensor:
        return unit(feature_map(extract(images), images).float(), dim=1)

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

    def start() -> Callable[[Sequence[Loaded]], list[Float32]]:
        return functools.partial(_forward, extract=features(), preset=preset, engine=engine)

    found, _ = pass_over_images(start, _keep, samples, preset, kept, engine, fresh=fresh)
    return int(found["drawn"].flat.sum())


def _forward(batch: Sequence[Loaded], extract: Features, preset: DensePreset, engine: Engine) -> list[Float32]:
    """The drawn pixels of each image, n×D."""
    import torch

    drawn = []
    with torch.inference_mode():
        for item, feature in zip(batch, features_of(batch, extract, preset, engine), strict=True):
            pixels = feature.flatten(1)
            chosen = torch.from_numpy(positions(item.sample.id, pixels.shape[1], preset)).to(pixels.device)
            drawn.append(pixels[:, chosen].T.contiguous().cpu().numpy())
    return drawn


def positions(name: str, pixels: int, preset: DensePreset) -> npt.NDArray[np.int64]:
    """Which of an image's pixels are drawn: by the image's id, whatever the batch, the order or the split."""
    return drawn_places(name, pixels, preset.pixels, preset.pixel_seed)


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
    return cached_centres.fit_all(
        kept.folder,
        recipe,
        samples.keys,
        seeds,
        lambda: _gather(kept, samples),
        version=DENSE_VERSION,
        progress=progress,
        gpu=gpu,
        spherical=True,
        fresh=fresh,
    )


def _gather(kept: ShardStore, samples: Samples) -> Float32:
    """All drawn pixels, n×D, put in their place shard by shard: they are never held twice."""
    total = int(kept.known(samples.keys)["drawn"].flat.sum())
    return stacked(kept.iterate_apart(samples.keys), total)


def drawn_clusters(kept: ShardStore, samples: Samples, found: Sequence[Float32]) -> Iterator[list[Any]]:
    """Image by image, the clusters of the pixels that `draw_pixels` kept: n ids for each seed's K×D centres."""
    for pixels in kept.iterate_apart(samples.keys):
        yield [(pixels @ own.T).argmax(axis=1) for own in found]


def as_classifiers(found: Sequence[Float32], scale: float = 1.0) -> Classifiers:
    """Centres of several seeds as linear classifiers without bias on unit features: their logits are scale·cosine."""
    weights = np.stack(found) * np.float32(scale)
    return Classifiers(weights, np.zeros(weights.shape[:2], np.float32))
