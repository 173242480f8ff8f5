"""Painted pixels: shared by the protocols that predict every pixel with linear classifiers on a frozen network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.cards.presets import ImagePreset
from bench.passes import classify
from bench.passes.cache import ShardStore
from bench.passes.classify import Classifiers, Grid, Refine, decode_map
from bench.passes.features import Features
from bench.protocols.base import Result, Run
from bench.protocols.prediction_maps import Map
from bench.scoring.id_counts import Painted
from bench.scoring.rows import Rows

Painting = TypeVar("Painting", bound=ImagePreset)


def drawn_places(name: str, there: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Which `count` of an image's pixels or cells are drawn: by the image's name, whatever batch, order or split."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return np.random.default_rng([seed, key]).choice(there, min(count, there), replace=False)


def paint_all(
    run: Run[Painting],
    features: Callable[[], Features],
    classifiers: Classifiers,
    recipe: dict[str, Any],
    stage: str = "classifying",
    refine: Callable[[], AbstractContextManager[Refine | None]] = nullcontext,
    refine_on: Grid = "label",
) -> tuple[list[dict[str, Painted]], ShardStore]:
    """One pass over the evaluated images with these classifiers; `recipe` is what else decides what they paint.

    Returns what each classifier painted on each grid, and the store in which a single one's maps lie.
    """
    whole = run.recipe(run.samples) | recipe
    whole |= {} if run.samples.labelled else {"labelled": False}
    whole |= {"classifiers": classifiers.digest()}
    kept = classify.store(run.cache, whole)
    with refine() as refiner:
        painted = classify.classify(
            features,
            classifiers,
            run.samples,
            run.preset,
            kept,
            run.on(stage),
            refiner=refiner,
            refine_on=refine_on,
            fresh=run.fresh,
        )
    return painted, kept


def paint_again(
    run: Run[Painting],
    features: Callable[[], Features],
    classifiers: Classifiers,
    recipe: dict[str, Any],
    chosen: Sequence[int] | None,
) -> Iterator[Map]:
    """One classifier's maps, of all images or of a few, in a pass of its own over just these."""
    samples = run.samples if chosen is None else run.samples.only(chosen)
    part = replace(run, plan=replace(run.plan, samples=samples))
    _, kept = paint_all(part, features, classifiers, recipe)
    return map(decode_map, kept.iterate_apart(samples.keys))


def result(run: Run[Painting], rows: Rows, painted: Painted, solver: dict[str, Any], **more: Any) -> Result:
    """The result of a protocol whose figures stand on what one pass painted; `more` are further fields of it."""
    observed = {"from_cache": len(run.samples) - painted.meta["fresh"], "device": painted.meta.get("device")}
    speed = painted.meta.get("images_per_second")
    return Result(rows, painted.manifest, solver, observed, images_per_second=speed, **more)
