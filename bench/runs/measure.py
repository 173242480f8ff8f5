"""Measure: from a plan to a protocol's figures, over whatever passes of the network they need."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.base.errors import Warn
from bench.base.files import cache_folder
from bench.cards.presets import (
    ClusteringPreset,
    DavisPreset,
    DensePreset,
    DistancePreset,
    LinearPreset,
    RetrievalPreset,
    SaliencyPreset,
)
from bench.data.samples import Samples, require_labelled_pixels
from bench.passes.engine import Engine
from bench.passes.observations import Observations, observation_store
from bench.passes.observe import observe
from bench.passes.shards import ShardStore
from bench.protocols.base import Scored
from bench.protocols.clustering import scoring as clustering
from bench.protocols.davis import measure as video
from bench.protocols.linear.training import Training
from bench.protocols.retrieval import scoring as retrieval
from bench.runs.describe import Measured
from bench.runs.measure_pixels import (
    EXACT_SEARCH,
    instance_store,
    measure_dense,
    measure_distance,
    measure_linear,
    pixel_store,
    recipe_of,
    training_folder,
)
from bench.runs.plan import Plan, Settings, is_fresh, stage
from bench.runs.predictions import Map, Maps, paint_masks
from bench.scoring import clusters, kmeans, unlabelled
from bench.scoring.clusters import Clusters
from bench.scoring.kept_centres import fit_all
from bench.scoring.unlabelled import Grouped
from bench.scoring.whitening import whiten

CENTRES_VERSION = 1
"""Raised whenever the same observations would give other centres."""


def measure(plan: Plan, engine: Engine, settings: Settings, warn: Warn) -> tuple[Measured, Maps]:
    """Carry the plan's protocol out; also returns how to paint its predictions.

    Where a plan for a submission has no labels, what is measured stands on nothing.
    """
    if isinstance(plan.preset, LinearPreset):
        return measure_linear(plan, plan.preset, engine, settings)
    if isinstance(plan.preset, DavisPreset):
        return video.measure_video(plan, plan.preset, engine, settings, warn)
    if isinstance(plan.preset, DensePreset):
        return measure_dense(plan, plan.preset, engine, settings)
    if isinstance(plan.preset, DistancePreset):
        return measure_distance(plan, plan.preset, engine, settings)
    assert isinstance(plan.preset, SaliencyPreset)
    return _measure_observations(plan, plan.preset, engine, settings, warn)


# --- protocols on observations ---


def _measure_observations(
    plan: Plan, preset: SaliencyPreset, engine: Engine, settings: Settings, warn: Warn
) -> tuple[Measured, Maps]:
    """Observe, and score: clustering and retrieval."""
    observations = look(plan, plan.samples, preset, engine, settings)
    if plan.samples.labelled:
        require_labelled_pixels(bool(observations.counts.any()), plan.samples)
    scored = score_observations(plan, observations, engine, settings, warn)
    solver, shown = EXACT_SEARCH | {"device": "cpu"}, None
    if isinstance(preset, ClusteringPreset):
        fitted = scored.detail.get("fitted_on", {}).get("images", len(observations))
        solver = kmeans.describe(preset.resolved(), fitted, kmeans.use_gpu(engine.device.type))
        shown = functools.partial(_clusters_of, preset, observations, scored)
    speed = observations.meta.get("images_per_second")
    measured = Measured(scored, observations.manifest, _observed(observations), solver, speed, shown)

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        return _masks_of(plan, settings, observations, scored, seed, chosen)

    return measured, maps


def store_of(plan: Plan, samples: Samples, settings: Settings) -> ShardStore:
    """Where the observations of a split under this plan are cached."""
    return observation_store(cache_folder(settings.cache), recipe_of(plan, samples, settings))


def look(plan: Plan, samples: Samples, preset: SaliencyPreset, engine: Engine, settings: Settings) -> Observations:
    """The observations of one split."""
    network = functools.partial(plan.subject.network, engine.device)
    store = store_of(plan, samples, settings)
    return observe(network, samples, preset, store, engine, fresh=is_fresh(plan, settings))


def score_observations(
    plan: Plan, observations: Observations, engine: Engine, settings: Settings, warn: Warn
) -> Scored | Grouped:
    """What the plan's protocol makes of the observations."""
    assert isinstance(plan.preset, (ClusteringPreset, RetrievalPreset))
    resolved, classes = plan.preset.resolved(), plan.card.classes
    if isinstance(plan.preset, RetrievalPreset):
        assert plan.support is not None
        bank = look(plan, plan.support, plan.preset, engine, settings)
        return retrieval.score(bank, observations, resolved, classes)
    gpu = kmeans.use_gpu(engine.device.type)
    seen = functools.partial(look, plan, preset=plan.preset, engine=engine, settings=settings)
    fitted = observations if plan.support is None else seen(plan.support)
    matched = None if plan.matched is None else seen(plan.matched)
    centres = None if plan.preset.fit is None else _centres(plan, fitted, settings, gpu)
    labels = clustering.assign(observations, resolved, plan.seeds, centres=centres, gpu=gpu, warn=warn)
    scored: Scored | Grouped
    if plan.grouped:
        pixels = plan.preset.input[0] * plan.preset.input[1]
        scored = unlabelled.group_images(observations, labels, plan.seeds, plan.preset.clusters, pixels)
    elif centres is None or matched is None:
        scored = clustering.score_labels(observations, labels, resolved, len(classes))
    else:
        scored = clustering.score_elsewhere(observations, labels, resolved, len(classes), centres, matched)
    if centres is not None:
        entry = _split_entry(str(plan.preset.fit), fitted)
        scored.detail["fitted_on"] = entry | {"centres_sha256": [*map(_sha256, centres)]}
    if plan.preset.matched_on is not None:
        scored.detail["matched_on"] = _split_entry(plan.preset.matched_on, matched or observations)
    return scored


def _centres(plan: Plan, fitted: Observations, settings: Settings, gpu: bool) -> list[kmeans.Points]:
    """Per seed the centres of the split that is clustered, kept beside its observations."""
    samples = plan.support or plan.samples
    names = ("solver", "clusters", "init", "iterations", "restarts", "batch")
    recipe = {key: value for key, value in plan.preset.resolved().items() if key in names}
    folder, step = store_of(plan, samples, settings).folder, stage(settings, "clustering")
    return fit_all(
        folder, recipe, samples.keys, plan.seeds, lambda: fitted.prototypes,
        version=CENTRES_VERSION, progress=step, gpu=gpu, fresh=is_fresh(plan, settings),
    )  # fmt: skip


def _split_entry(split: str, seen: Observations) -> dict[str, Any]:
    return {"split": split, "images": len(seen), "manifest": seen.manifest}


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _observed(observations: Observations) -> dict[str, Any]:
    meta = observations.meta
    return {
        "salient_pixels": int(observations.areas.sum()),
        "images_without_salient_pixel": int((observations.areas == 0).sum()),
        "pixels_near_threshold": int(observations.near.sum()),
        "from_cache": len(observations) - meta["fresh"],
        "device": meta.get("device"),
    }


def _masks_of(
    plan: Plan,
    settings: Settings,
    observations: Observations,
    scored: Scored | Grouped,
    seed: int,
    chosen: Sequence[int] | None,
) -> Iterator[Map]:
    """Each mask in its class; without labels in its cluster, counted from 1."""
    assert isinstance(plan.preset, SaliencyPreset)
    packed = store_of(plan, plan.samples, settings).iterate_apart(plan.samples.keys, chosen)
    if isinstance(scored, Grouped):
        cluster = scored.rows.seeds[seed].cluster.astype(np.int64)
        painted = np.stack([cluster + 1, np.zeros_like(cluster)], axis=1)
    else:
        assert scored.mask_classes is not None
        painted = scored.mask_classes[seed]
    kept = slice(None) if chosen is None else list(chosen)
    return paint_masks(packed, plan.preset.input, observations.sizes[kept], painted[kept], plan.card.labels.ignore)


def _clusters_of(preset: ClusteringPreset, observations: Observations, scored: Scored | Grouped) -> Clusters:
    """The first seed's clusters; typical is who lies in the middle of one, where they were made."""
    labels = scored.rows.seeds[0].cluster if isinstance(scored, Grouped) else scored.rows.labels[0]
    points = observations.prototypes
    if preset.fit is None:
        points = whiten(points, preset.whiten, lambda message: None)
    mapping = None if isinstance(scored, Grouped) else scored.mappings[0]
    return clusters.of_prototypes(labels, points, observations.areas == 0, preset.clusters, mapping)


def cached(plan: Plan, settings: Settings) -> str:
    """What of the plan's work is in the cache, in words."""
    if isinstance(plan.preset, DavisPreset):
        known = len(video.store_of(plan, plan.preset, settings).known(plan.samples.keys))
        return f"{known} of {len(plan.samples)} sequences are cached"
    if isinstance(plan.preset, DensePreset):
        known = len(pixel_store(plan, plan.preset, settings).known(plan.samples.keys))
        return f"pixels of {known} of {len(plan.samples)} images are cached"
    if isinstance(plan.preset, DistancePreset):
        assert plan.support is not None
        known = len(instance_store(plan, plan.preset, settings).known(plan.support.keys))
        return f"{known} of {len(plan.support)} images of the bank are cached"
    if not isinstance(plan.preset, LinearPreset):
        known = len(store_of(plan, plan.samples, settings).known(plan.samples.keys))
        return f"{known} of {len(plan.samples)} images are cached"
    if plan.support is None:
        return "nothing to train: the classifier came with the weights"
    folder = training_folder(plan, plan.preset, plan.support, settings)
    trainings = [Training.read(folder / f"seed-{seed}.npz") for seed in plan.seeds]
    done = sum(min(len(training), plan.preset.epochs) for training in trainings if training)
    return f"{done} of {plan.preset.epochs * len(plan.seeds)} epochs of training are cached"


def device_name(device: torch.device) -> str:
    """What a person calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
