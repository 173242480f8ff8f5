"""Tokens: one pass that keeps the features of every cell of a split's images, for protocols that stand on them.

What is kept of an image is its grid of features and its label at the input size. Protocols read both again image by
image: memory does not grow with the split.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bench.base.sample_columns import Columns, Item
from bench.cards.presets import ImagePreset
from bench.data.decoding import Label
from bench.data.placement import Placement, place
from bench.data.preprocessing import label_to_input
from bench.data.samples import Samples
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.passes.classify import decode_map, encode_map
from bench.passes.engine import Engine
from bench.passes.features import Features
from bench.passes.forward import features_of
from bench.passes.image_pass import Loaded, pass_over_images
from bench.passes.observations import manifest_of

if TYPE_CHECKING:
    from torch import Tensor

TOKENS_VERSION = 1
"""Raised whenever this pass would give other numbers or files."""
TOKENS = "tokens"
SHARD = 32
"""Samples per file: of 1024 tokens of 768 dimensions they are 100 MB."""
Stored = Literal["float32", "float16"]
"""As what features are kept."""
_SAVED = {"float32": 4, "float16": 2}
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ImageTokens:
    """One image's."""

    id: str
    tokens: Floats
    """N×D, row by row of the grid."""
    grid: tuple[int, int]
    """h, w: N = h·w."""
    label: Label | None
    """At the input size (`bench.data.preprocessing.label_to_input`); None where the image has no label."""
    placed: Placement


@dataclass(frozen=True)
class Tokens:
    """All tokens of a split."""

    samples: Samples
    preset: ImagePreset
    kept: ShardStore
    found: Columns
    meta: dict[str, Any]

    @property
    def manifest(self) -> str:
        """SHA-256 over the images and labels that were seen."""
        return manifest_of(self.samples.ids, (digest.tobytes() for digest in self.found["digest"]))

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many tokens each image has."""
        return self.found["grid"].flat.astype(np.int64).prod(axis=1)

    def __iter__(self) -> Iterator[ImageTokens]:
        return self.of(range(len(self.samples)))

    def of(self, chosen: Sequence[int]) -> Iterator[ImageTokens]:
        """The images at these places, which must ascend; one shard is in memory at a time."""
        if not len(chosen):
            return
        for place_, tokens in zip(chosen, self.kept.iterate_apart(self.samples.keys, chosen), strict=True):
            yield self._image(place_, tokens)

    def bare(self, chosen: Sequence[int]) -> Iterator[ImageTokens]:
        """As `of`, with 0×0 tokens: of the cache nothing more is read."""
        return (self._image(place_, np.empty((0, 0), np.float32)) for place_ in chosen)

    def placed(self, at: int) -> Placement:
        """Where the image at this place lies in the input."""
        height, width = self.found["size"][at][0].tolist()
        return place((height, width), self.preset)

    def _image(self, at: int, tokens: Floats) -> ImageTokens:
        height, width = self.found["grid"][at][0].tolist()
        encoded = self.found["label"][at]
        label = decode_map(encoded) if len(encoded) else None
        return ImageTokens(self.samples.ids[at], tokens, (height, width), label, self.placed(at))


def store(cache: Path, recipe: dict[str, Any], stored: Stored) -> ShardStore:
    """Where the tokens found under `recipe` (plain JSON values) are kept."""
    columns = {
        "grid": Column("int32", (2,), rows=1),
        "size": Column("int32", (2,), rows=1),
        "label": Column("uint8"),
        "digest": DIGEST,
        TOKENS: Column(stored, (None,)),
    }
    recipe = recipe | {"stored": stored, "tokens": TOKENS_VERSION}
    return ShardStore.for_recipe(cache, TOKENS, recipe, TOKENS, columns, SHARD)


def fill(
    features: Callable[[], Features],
    samples: Samples,
    preset: ImagePreset,
    kept: ShardStore,
    engine: Engine,
    *,
    stored: Stored = "float32",
    fresh: bool = False,
) -> Tokens:
    """The tokens of all samples; only images that `kept` lacks are looked at.

    `features` gives B×D×h×w, and is called only if there is something to look at.
    """
    keep = functools.partial(_item, preset=preset, stored=stored)

    def start() -> Callable[[Sequence[Loaded]], list[Tensor]]:
        return functools.partial(features_of, extract=features(), preset=preset, engine=engine)

    found, meta = pass_over_images(start, keep, samples, preset, kept, engine, fresh=fresh)
    return Tokens(samples, preset, kept, found, meta)


def _item(item: Loaded, feature: Tensor, preset: ImagePreset, stored: Stored) -> Item:
    tokens = feature.flatten(1).T.contiguous().cpu().numpy().astype(stored)
    label = label_to_input(item.label, preset) if item.label is not None else None
    return {
        "grid": np.array([feature.shape[1:]], np.int32),
        "size": np.array([item.size], np.int32),
        "label": encode_map(label) if label is not None else np.empty(0, np.uint8),
        "digest": np.frombuffer(item.digest, np.uint8),
        TOKENS: tokens,
    }


def kept_bytes(width: int, cells: int, images: int, stored: Stored) -> int:
    """About how many bytes the tokens of so many images take."""
    return _SAVED[stored] * width * cells * images
