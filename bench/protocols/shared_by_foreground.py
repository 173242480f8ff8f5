"""Found foreground: shared by the protocols that separate one object from the rest of an image."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import scipy  # its parts are loaded when they are used

from bench.base.environment import torch_version
from bench.base.errors import BadInput
from bench.base.sample_columns import Columns
from bench.cards.foreground import ForegroundPreset
from bench.data.picture_files import Image8
from bench.networks.subject import Subject
from bench.passes.cache import ShardStore
from bench.passes.classify import decode_map
from bench.passes.foreground_pass import find_foreground, foreground_store
from bench.protocols.base import Run
from bench.protocols.prediction_maps import Map
from bench.scoring.normalised_cut import EQUAL

F = TypeVar("F", bound=ForegroundPreset)
_PICTURE = 2000
"""Bytes of a foreground, about."""


def require_model(preset: ForegroundPreset, subject: Subject) -> None:
    """Raises BadInput for a saliency head that is not there."""
    if preset.mask == "saliency-head" and not subject.has_embedding:
        raise BadInput(
            f"{subject.id} is {subject.what}: it has no saliency head",
            "Leave --set mask out, or give the pre-trained file.",
        )


def settled(preset: ForegroundPreset, subject: Subject) -> dict[str, Any]:
    """The layer that is cut, where the preset leaves it open."""
    if preset.mask == "saliency-head" or preset.features is not None:
        return {}
    if subject.architecture is not None:
        return {"features": "embedding" if subject.has_embedding else "decoder"}
    depth = subject.structure.depth if subject.structure else None
    return {"features": subject.layer or ("key" if depth else "last")}


def store_of(run: Run[F]) -> ShardStore:
    """Where the foregrounds are cached."""
    return foreground_store(run.cache, recipe_of(run))


def recipe_of(run: Run[F]) -> dict[str, Any]:
    """All that decides the foregrounds, as plain JSON values. How annotations are decoded has no part in it."""
    known = ("decoding", "orientation", "weights", "dataset", "split", "precision", *run.preset.observed)
    recipe = run.recipe(run.samples)
    return {key: recipe[key] for key in known if key in recipe}


def find(run: Run[F]) -> tuple[Columns, dict[str, Any]]:
    """The foreground of every evaluated image; only those that the cache lacks are computed."""
    network = functools.partial(_network, run)
    found, meta = find_foreground(network, run.samples, run.preset, store_of(run), run.engine, fresh=run.fresh)
    if arbitrary := int(np.count_nonzero(found["gap"].flat < EQUAL)):
        run.warn(
            f"the cut of {arbitrary} of {len(run.samples)} images is arbitrary: their patches are joined so alike that "
            "the second eigenvalue has several vectors; a network without training looks like that"
        )
    return found, meta


def _network(run: Run[F]) -> Callable[[Any], Any]:
    if run.preset.mask == "saliency-head":
        return run.subject.network(run.engine.device)
    return run.pixels()


def pictures(run: Run[F], chosen: Sequence[int] | None = None) -> Iterator[Image8]:
    """The foreground, H×W of 0…255, of every image or of those at these places, in order."""
    return map(decode_map, store_of(run).iterate_apart(run.samples.keys, chosen))


def paint(run: Run[F], seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
    """Every image's foreground as class 1, the rest as class 0."""
    return ((picture > 127).astype(np.uint8) for picture in pictures(run, chosen))


def about(run: Run[F], meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the record says of the pass."""
    return {"from_cache": len(run.samples) - meta["fresh"], "device": meta.get("device")}


def solver(run: Run[F]) -> dict[str, Any]:
    """What found the foreground, for the record."""
    if run.preset.mask == "saliency-head":
        return {"library": "torch", "version": torch_version(), "algorithm": "saliency head"}
    return {"library": "scipy", "version": scipy.__version__, "algorithm": "normalised cut, second eigenvector"}


def layer(run: Run[F]) -> dict[str, Any]:
    """What was cut, for the record; nothing of a saliency head."""
    if run.preset.mask == "saliency-head":
        return {}
    kind = run.preset.features
    return {"features": {"kind": kind, "are": run.subject.pixels_are(kind)}}


def unseen(run: Run[F]) -> int:
    """How many images the network still has to see."""
    return len(run.samples) - (0 if run.fresh else len(store_of(run).known(run.samples.keys)))


def cached(run: Run[F]) -> str:
    """How many images, in words."""
    known = len(store_of(run).known(run.samples.keys))
    return f"the foreground of {known} of {len(run.samples)} images is cached"


def kept_bytes(run: Run[F]) -> int:
    """A picture of each image."""
    return _PICTURE * len(run.samples)
