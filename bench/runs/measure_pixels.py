"""Measure pixels: the protocols that paint every pixel, from a plan to their figures."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from bench.base.files import cache_folder
from bench.cards.presets import TRAINING_ENTRIES, DensePreset, DistancePreset, ImagePreset, LinearPreset
from bench.data.samples import Samples, require_labelled_pixels
from bench.passes import classify
from bench.passes.classify import Classifiers, decode_map
from bench.passes.engine import Engine
from bench.passes.image_pass import observation_recipe
from bench.passes.shards import ShardStore
from bench.protocols.base import Scored
from bench.protocols.clustering_dense import pixels as dense
from bench.protocols.clustering_dense import scoring as dense_protocol
from bench.protocols.distance_matching import bank as distance
from bench.protocols.distance_matching import scoring as distance_protocol
from bench.protocols.linear import crf
from bench.protocols.linear import scoring as linear_protocol
from bench.protocols.linear import training as linear
from bench.protocols.linear.training import Training
from bench.runs.describe import Measured
from bench.runs.plan import Plan, Settings, is_fresh, stage
from bench.runs.predictions import Map, Maps, paint_clusters
from bench.scoring import clusters, kmeans, unlabelled
from bench.scoring.clusters import Clusters
from bench.scoring.painted import Painted
from bench.scoring.unlabelled import Grouped

EXACT_SEARCH = {"library": "faiss", "version": faiss.__version__, "algorithm": "exact inner product"}


def recipe_of(plan: Plan, samples: Samples, settings: Settings) -> dict[str, Any]:
    """All that decides what a pass of the plan's network over these samples sees of each."""
    return observation_recipe(plan.subject.weights_sha256, samples, plan.preset, settings.precision)


def _measured(
    scored: Scored | Grouped,
    painted: Painted,
    plan: Plan,
    solver: dict[str, Any],
    clusters: Callable[[], Clusters] | None = None,
) -> Measured:
    """What a protocol has to say whose figures stand on what one pass painted."""
    observed = {"from_cache": len(plan.samples) - painted.meta["fresh"], "device": painted.meta.get("device")}
    return Measured(scored, painted.manifest, observed, solver, painted.meta.get("images_per_second"), clusters)


# --- the linear classifier ---


def measure_linear(plan: Plan, preset: LinearPreset, engine: Engine, settings: Settings) -> tuple[Measured, Maps]:
    """Train classifiers (or take the released one), classify, and refine if asked to."""
    features = functools.cache(lambda: plan.subject.features(engine.device))
    classes = len(plan.card.classes)
    seeds = []
    stores: list[ShardStore | None] = []  # per seed, of what counts in the end, if the maps were kept at once
    for training, classifiers in _classifiers(plan, preset, features, engine, settings):
        epochs, kept = _classify(plan, preset, features, classifiers, engine, settings)
        seeds.append(linear_protocol.choose(classifiers, epochs, training, preset, classes))
        stores.append(kept if len(classifiers) == 1 and not preset.crf else None)
    painted = seeds[0].painted
    require_labelled_pixels(any(len(table) for table in painted.counts), plan.samples)

    @functools.cache
    def final(seed: int) -> tuple[Painted, ShardStore]:
        """What the chosen classifier of a seed painted, and where its maps are."""
        found, kept = _classify(plan, preset, features, seeds[seed].classifier, engine, settings, refine=preset.crf)
        return found[0]["label"], kept

    refined = [final(seed)[0] for seed in range(len(seeds))] if preset.crf else None
    scored = linear_protocol.score(seeds, refined, preset, classes, plan.samples.split)
    scored.detail["classifier"] = {"on": plan.subject.features_are, "kind": preset.classifier}
    if preset.crf:
        scored.detail["crf"] = crf.RECIPE
    solver = {"library": "torch", "version": torch.__version__, "device": str(engine.device), "algorithm": "SGD"}
    if not plan.seeds:
        solver = {"algorithm": "none: the classifier came with the weights"}

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        if chosen is None or preset.crf or stores[seed]:
            return map(decode_map, (stores[seed] or final(seed)[1]).iterate_apart(plan.samples.keys, chosen))
        # which epoch would count was not known when all of them painted, so no map was kept
        return _paint_again(plan, preset, features, seeds[seed].classifier, engine, settings, chosen)

    return _measured(scored, painted, plan, solver), maps


def _paint_again(
    plan: Plan,
    preset: ImagePreset,
    features: Callable[[], linear.Features],
    classifiers: Classifiers,
    engine: Engine,
    settings: Settings,
    chosen: Sequence[int] | None,
) -> Iterator[Map]:
    """One classifier's maps, of all images or of a few, in a pass of its own over just these."""
    samples = plan.samples if chosen is None else plan.samples.only(chosen)
    _, kept = _classify(replace(plan, samples=samples), preset, features, classifiers, engine, settings)
    return map(decode_map, kept.iterate_apart(samples.keys))


def _classify(
    plan: Plan,
    preset: ImagePreset,
    features: Callable[[], linear.Features],
    classifiers: Classifiers,
    engine: Engine,
    settings: Settings,
    *,
    refine: bool = False,
) -> tuple[list[dict[str, Painted]], ShardStore]:
    """One pass over the plan's images with these classifiers, in parallel processes if a CRF refines them."""
    recipe = recipe_of(plan, plan.samples, settings)
    recipe |= {"protocol": plan.protocol} if isinstance(preset, DensePreset) else {}
    recipe |= {} if plan.samples.labelled else {"labelled": False}
    recipe |= {"classifiers": classifiers.digest(), "crf": crf.RECIPE if refine else None}
    kept = classify.store(cache_folder(settings.cache), recipe)
    engine = replace(engine, progress=stage(settings, "dense CRF" if refine else "classifying"))
    with crf.processes(engine.workers) if refine else nullcontext() as pool:
        painted = classify.classify(
            features, classifiers, plan.samples, preset, kept, engine, refiner=pool, fresh=is_fresh(plan, settings)
        )
    return painted, kept


def _classifiers(
    plan: Plan,
    preset: LinearPreset,
    features: Callable[[], linear.Features],
    engine: Engine,
    settings: Settings,
) -> Iterator[tuple[Training | None, Classifiers]]:
    """Per seed its training and the classifiers of its epochs; the released one alone if there is one."""
    if plan.subject.classifier is not None:
        weight, bias = plan.subject.classifier
        yield None, Classifiers(weight[None], bias[None])
        return
    assert plan.support is not None
    folder = training_folder(plan, preset, plan.support, settings)
    for seed in plan.seeds:
        report = functools.partial(settings.progress, f"training, seed {seed}") if settings.progress else None
        path = folder / f"seed-{seed}.npz"
        fresh = is_fresh(plan, settings)
        training = linear.train(features, plan.support, preset, seed, path, engine, report, fresh=fresh)
        yield training, Classifiers(training.weights, training.biases)


def training_folder(plan: Plan, preset: LinearPreset, samples: Samples, settings: Settings) -> Path:
    """Where trainings by this recipe on these images are kept, of whatever length."""
    recipe = recipe_of(plan, samples, settings)
    entries = {key: preset.resolved()[key] for key in TRAINING_ENTRIES if key not in ("epochs", "selection")}
    text = json.dumps([recipe, entries, linear.TRAINER_VERSION], sort_keys=True)
    digest = hashlib.sha256(text.encode() + b"".join(samples.keys))
    return cache_folder(settings.cache) / "linear" / digest.hexdigest()[:24]


# --- dense clustering ---


def measure_dense(plan: Plan, preset: DensePreset, engine: Engine, settings: Settings) -> tuple[Measured, Maps]:
    """Draw pixels, cluster them, and paint every image with the clusters of all seeds in one more pass."""
    features = functools.cache(lambda: dense.unit_features(plan.subject.pixels(engine.device)))
    gpu, fresh = kmeans.use_gpu(engine.device.type), is_fresh(plan, settings)
    kept = pixel_store(plan, preset, settings)
    drawing = replace(engine, progress=stage(settings, "drawing pixels"))
    drawn = dense.draw_pixels(features, plan.samples, preset, kept, drawing, fresh=fresh)
    centres = dense.fit_all(kept, plan.samples, preset, plan.seeds, stage(settings, "clustering"), gpu=gpu, fresh=fresh)
    painters = dense.as_classifiers(centres)
    found, _ = _classify(plan, preset, features, painters, engine, settings)
    painted = [one[preset.grid] for one in found]
    scored: Scored | Grouped
    if not plan.grouped:
        require_labelled_pixels(any(len(table) for table in painted[0].counts), plan.samples)
        scored = dense_protocol.score(painted, preset, len(plan.card.classes))
    else:
        same = dense.drawn_clusters(kept, plan.samples, centres)
        scored = unlabelled.group_pixels(painted, same, plan.seeds, preset.clusters)
    mappings = None if isinstance(scored, Grouped) else scored.mappings
    scored.detail["pixels"] = {"of": plan.subject.pixels_are, "drawn": drawn}
    solver = kmeans.describe(preset.resolved(), drawn, gpu) | {"algorithm": "Lloyd, spherical"}

    def shown() -> Clusters:
        return clusters.of_pixels(painted[0].rows(), preset.clusters, mappings[0] if mappings else None)

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        ids = _paint_again(plan, preset, features, painters.only(seed), engine, settings, chosen)
        # without labels each cluster is painted as itself, counted from 1
        classes = np.arange(1, preset.clusters + 1) if mappings is None else mappings[seed]
        return paint_clusters(ids, classes, plan.card.labels.ignore)

    return _measured(scored, painted[0], plan, solver, shown), maps


# --- distance matching ---


def measure_distance(plan: Plan, preset: DistancePreset, engine: Engine, settings: Settings) -> tuple[Measured, Maps]:
    """Fill a bank with the labelled instances of one split, and let it vote on every pixel of another."""
    assert plan.support is not None
    features = functools.cache(lambda: plan.subject.pixels(engine.device))
    gpu, fresh = kmeans.use_gpu(engine.device.type), is_fresh(plan, settings)
    filling = replace(engine, progress=stage(settings, "filling the bank"))
    bank = distance.fill_bank(
        features, plan.support, preset, instance_store(plan, preset, settings), filling, fresh=fresh
    )
    kept = distance.painted_store(cache_folder(settings.cache), recipe_of(plan, plan.samples, settings), preset, bank)
    painted = distance.paint(features, bank, plan.samples, preset, kept, engine, gpu=gpu, fresh=fresh)
    if plan.samples.labelled:
        require_labelled_pixels(any(len(table) for table in painted.counts), plan.samples)
    scored = distance_protocol.score(painted, preset, len(plan.card.classes))
    entry = {"split": preset.bank, "images": bank.images, "entries": len(bank.classes), "manifest": bank.manifest}
    scored.detail.update(bank=entry, pixels={"of": plan.subject.pixels_are})
    solver = EXACT_SEARCH | {"device": "cuda" if gpu else "cpu"}

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        return map(decode_map, kept.iterate_apart(plan.samples.keys, chosen))

    return _measured(scored, painted, plan, solver), maps


def instance_store(plan: Plan, preset: DistancePreset, settings: Settings) -> ShardStore:
    """Where the instances of the plan's bank are cached."""
    assert plan.support is not None
    return distance.bank_store(cache_folder(settings.cache), recipe_of(plan, plan.support, settings), preset)


def pixel_store(plan: Plan, preset: DensePreset, settings: Settings) -> ShardStore:
    """Where the drawn pixels of the plan's images are cached."""
    return dense.store(cache_folder(settings.cache), recipe_of(plan, plan.samples, settings), preset)
