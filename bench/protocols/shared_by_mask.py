"""Masked images: shared by the protocols that give each image one class inside its salient mask."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.cards.presets import SaliencyPreset
from bench.data.samples import Samples, require_labelled_pixels
from bench.passes.cache import ShardStore
from bench.passes.observation_pass import observe
from bench.passes.observations import Observations, observation_store
from bench.protocols.base import Paint, Run
from bench.protocols.prediction_maps import Map, paint_masks

S = TypeVar("S", bound=SaliencyPreset)
Classes = npt.NDArray[np.int64]


def store_of(run: Run[S], samples: Samples) -> ShardStore:
    """Where the observations of a split are cached."""
    return observation_store(run.cache, run.recipe(samples))


def look(run: Run[S], samples: Samples) -> Observations:
    """The observations of one split; only images that the cache lacks are computed."""
    network = functools.partial(run.subject.network, run.engine.device)
    return observe(network, samples, run.preset, store_of(run, samples), run.engine, fresh=run.fresh)


def look_at_evaluated(run: Run[S]) -> Observations:
    """Those of the evaluated split. Raises BadInput where it has labels, and not a pixel of them counts."""
    observations = look(run, run.samples)
    if run.samples.labelled:
        require_labelled_pixels(bool(observations.counts.any()), run.samples)
    return observations


def cached(run: Run[S]) -> str:
    """How many images of the evaluated split are observed, in words."""
    known = len(store_of(run, run.samples).known(run.samples.keys))
    return f"{known} of {len(run.samples)} images are cached"


def unseen(run: Run[S]) -> int:
    """How many images of all splits of the run are not observed yet."""
    splits = (run.samples, *run.plan.others.values())
    known = 0 if run.fresh else sum(len(store_of(run, each).known(each.keys)) for each in splits)
    return sum(map(len, splits)) - known


def about(observations: Observations) -> dict[str, Any]:
    """What the record says of the pass."""
    meta = observations.meta
    return {
        "salient_pixels": int(observations.areas.sum()),
        "images_without_salient_pixel": int((observations.areas == 0).sum()),
        "pixels_near_threshold": int(observations.near.sum()),
        "from_cache": len(observations) - meta["fresh"],
        "device": meta.get("device"),
    }


def about_split(split: str, seen: Observations) -> dict[str, Any]:
    """What the record says of another split that had a part."""
    return {"split": split, "images": len(seen), "manifest": seen.manifest}


def painter(run: Run[S], observations: Observations, classes: Callable[[int], Classes]) -> Paint:
    """What paints the evaluated images: `classes(seed)` are N×2, what is inside a mask and what outside of it."""

    def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
        packed = store_of(run, run.samples).iterate_apart(run.samples.keys, chosen)
        kept = slice(None) if chosen is None else list(chosen)
        painted, ignore = classes(seed)[kept], run.card.labels.ignore
        return paint_masks(packed, run.preset.input, observations.sizes[kept], painted, ignore)

    return paint
