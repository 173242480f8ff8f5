"""Fitted: the space of a split's tokens and the centres in it, found image by image and kept beside the tokens.

See docs/protocols.md#patch-clustering.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import Warn
from bench.base.own_files import drop, load_arrays, save_arrays
from bench.base.parallel import Progress, told
from bench.passes.tokens import Tokens
from bench.protocols.patch_clustering.preset import PatchPreset
from bench.protocols.patch_clustering.space import Space, fit_space
from bench.protocols.patch_clustering.tokens import recipe_of, training_points
from bench.scoring import cached_centres
from bench.scoring.kmeans import Points

FITTED_VERSION = 1
"""Raised whenever the same tokens would give another space or other centres."""


@dataclass(frozen=True)
class Work:
    """The tokens of a split that are clustered, and how."""

    tokens: Tokens
    preset: PatchPreset
    clusters: int

    @property
    def kept(self) -> int:
        """How many images, the first ones, are clustered and scored."""
        return len(self.tokens.samples) - self.preset.left_out(len(self.tokens.samples))

    @functools.cached_property
    def total(self) -> int:
        """How many tokens are clustered."""
        return int(self.tokens.counts[: self.kept].sum())

    @property
    def most(self) -> int | None:
        """How many tokens K-means is trained on at most; None for all."""
        per_cluster = self.preset.points_per_cluster
        return None if per_cluster is None else per_cluster * self.clusters

    @property
    def trained_on(self) -> int:
        """How many tokens K-means is trained on."""
        return self.total if self.most is None else min(self.total, self.most)

    @property
    def keys(self) -> Sequence[bytes]:
        """Of the images that are clustered."""
        return self.tokens.samples.keys[: self.kept]

    def parts(self) -> Iterator[npt.NDArray[Any]]:
        """Image by image the tokens that are clustered, n×D."""
        return self.tokens.kept.iterate_apart(self.tokens.samples.keys, range(self.kept))

    @property
    def space_recipe(self) -> dict[str, Any]:
        """What decides the space beside the tokens, as plain JSON values."""
        return {key: getattr(self.preset, key) for key in ("standardise", "pca", "pca_sample")}

    def said(self, space: Space, matching: str) -> dict[str, Any]:
        """For the record: how many tokens were clustered, trained on and left out, in how many dimensions."""
        dimensions = len(space.components) or len(space.mean)
        return {
            "clustered": self.total,
            "trained_on": self.trained_on,
            "dimensions": dimensions,
            "clusters": self.clusters,
            "matching": matching,
            "images_left_out": len(self.tokens.samples) - self.kept,
        }


def space_of(work: Work, progress: Progress | None, warn: Warn, *, fresh: bool = False) -> Space:
    """The space of the work's tokens, fitted once and kept. Raises BadInput for tokens that are all equal."""
    text = json.dumps([work.space_recipe, FITTED_VERSION], sort_keys=True).encode() + b"".join(work.keys)
    path = work.tokens.kept.folder / f"space-{hashlib.sha256(text).hexdigest()[:16]}.npz"
    arrays = None if fresh else load_arrays(path)
    space = None if arrays is None else _space(arrays)
    if space is None:
        if arrays is not None:
            drop(path)
        preset = work.preset
        space = fit_space(
            told(work.parts(), work.kept, progress),
            work.total,
            standardise=preset.standardise,
            components=preset.pca,
            sample=preset.pca_sample,
        )
        save_arrays(path, asdict(space))
    if work.preset.pca is not None and work.preset.pca > len(space.mean):
        warn(f"the tokens have {len(space.mean)} dimensions: PCA keeps all of them, not {work.preset.pca}")
    return space


def _space(arrays: dict[str, npt.NDArray[Any]]) -> Space | None:
    """What was kept; None where it is no space."""
    names, width = Space.__dataclass_fields__, arrays["mean"].shape if "mean" in arrays else ()
    if arrays.keys() != names.keys() or any(array.dtype != np.float64 for array in arrays.values()):
        return None
    components = arrays["components"]
    fits = len(width) == 1 and components.shape == (len(arrays["variances"]), *width)
    fits = fits and all(arrays[name].shape == width for name in ("deviation", "centre"))
    return Space(**arrays) if fits else None


def centres_of(
    work: Work, space: Space, seeds: Sequence[int], progress: Progress | None, *, gpu: bool = False, fresh: bool = False
) -> list[Points]:
    """Per seed the K×k centres of the work's tokens in their space, found once and kept."""
    preset = work.preset
    recipe = recipe_of(preset, work.clusters) | work.space_recipe
    recipe |= {"spherical": preset.spherical, "most": work.most}

    @functools.cache
    def drawn() -> list[Points]:
        return training_points(work.parts(), work.total, space.points, work.most, seeds)

    def points(number: int) -> Points:
        return drawn()[number]

    found = []
    for number, seed in enumerate(seeds):
        found += cached_centres.fit_all(
            work.tokens.kept.folder,
            recipe,
            work.keys,
            [seed],
            functools.partial(points, number),
            version=FITTED_VERSION,
            gpu=gpu,
            spherical=preset.spherical,
            fresh=fresh,
        )
        if progress:
            progress(number + 1, len(seeds))
    return found
