"""Measure: from a plan to a protocol's figures, over whatever passes of the network they need."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import torch

from bench import classify, clusters, crf, dense, distance, kmeans, linear, unlabelled
from bench.centres import fit_all
from bench.classify import Classifiers, decode_map
from bench.clusters import Clusters
from bench.describe import Measured
from bench.engine import Engine
from bench.errors import BadInput, Warn
from bench.files import cache_folder
from bench.linear import Training
from bench.observations import Observations, observation_store
from bench.observe import observation_recipe, observe
from bench.plan import Plan, Settings, stage
from bench.predictions import Map, Maps, paint_clusters, paint_masks
from bench.presets import (
    TRAINING_ENTRIES,
    ClusteringPreset,
    DavisPreset,
    DensePreset,
    DistancePreset,
    ImagePreset,
    LinearPreset,
    RetrievalPreset,
    SaliencyPreset,
)
from bench.protocols import Scored, clustering, retrieval
from bench.protocols import dense as dense_protocol
from bench.protocols import distance as distance_protocol
from bench.protocols import linear as linear_protocol
from bench.samples import Samples
from bench.shards import ShardStore
from bench.tables import Painted
from bench.unlabelled import Grouped
from bench.video import measure as video
from bench.whitening import whiten

CENTRES_VERSION = 1
"""Raised whenever the same observations would give other centres."""


def measure(plan: Plan, engine: Engine, settings: Settings, warn: Warn) -> tuple[Measured, Maps]:
    """Carry the plan's protocol out; also returns how to paint its predictions.

    Where a plan for a submission has no labels, what is measured stands on nothing.
    """
    if isinstance(plan.preset, LinearPreset):
        return _measure_linear(plan, plan.preset, engine, settings)
    if isinstance(plan.preset, DavisPreset):
        return video.measure_video(plan, plan.preset, engine, settings, warn)
    if isinstance(plan.preset, DensePreset):
        return _measure_dense(plan, plan.preset, engine, settings)
    if isinstance(plan.preset, DistancePreset):
        return _measure_distance(plan, plan.preset, engine, settings)
    assert isinstance(plan.preset, SaliencyPreset)
    observations = look(plan, plan.samples, plan.preset, engine, settings)
    if plan.samples.labelled:
        require_labels(bool(observations.counts.any()), plan.samples)
    scored = score_observations(plan, observations, engine, settings, warn)
    measured = Measured(
        scored,
        observations.manifest,
        _observed(observations),
        _solver_entry(
            plan,
            scored.detail.get("fitted_on", {}).get("images", len(observations)),
            kmeans.use_gpu(engine.device.type),
        ),
        observations.meta.get("images_per_second"),
        functools.partial(_clusters_of, plan.preset, observations, scored)
        if isinstance(plan.preset, ClusteringPreset)
        else None,
    )

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        return _masks_of(plan, settings, observations, scored, seed, chosen)

    return measured, maps


def require_labels(any_label: bool, samples: Samples) -> None:
    """Raises BadInput where nothing could be counted."""
    if not any_label:
        raise BadInput(
            f"no labelled pixel in any of the {len(samples)} images: all are {samples.card.labels.ignore}",
            "Without labels there is nothing to score against.",
        )


# --- protocols on observations ---


def store_of(plan: Plan, samples: Samples, settings: Settings) -> ShardStore:
    """Where the observations of a split under this plan are cached."""
    recipe = observation_recipe(plan.subject.weights_sha256, samples, plan.preset, settings.precision)
    return observation_store(cache_folder(settings.cache), recipe)


def look(plan: Plan, samples: Samples, preset: SaliencyPreset, engine: Engine, settings: Settings) -> Observations:
    """The observations of one split."""
    network = functools.partial(plan.subject.network, engine.device)
    store = store_of(plan, samples, settings)
    return observe(network, samples, preset, store, engine, fresh=_is_fresh(plan, settings))


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
        version=CENTRES_VERSION, progress=step, gpu=gpu, fresh=_is_fresh(plan, settings),
    )  # fmt: skip


def _split_entry(split: str, seen: Observations) -> dict[str, Any]:
    return {"split": split, "images": len(seen), "manifest": seen.manifest}


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _solver_entry(plan: Plan, images: int, gpu: bool) -> dict[str, Any]:
    if isinstance(plan.preset, ClusteringPreset):
        return kmeans.describe(plan.preset.resolved(), images, gpu)
    return _EXACT_SEARCH | {"device": "cpu"}


_EXACT_SEARCH = {"library": "faiss", "version": faiss.__version__, "algorithm": "exact inner product"}


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


# --- the linear classifier ---


def _measure_linear(plan: Plan, preset: LinearPreset, engine: Engine, settings: Settings) -> tuple[Measured, Maps]:
    """Train classifiers (or take the released one), classify, and refine if asked to."""
    features = functools.cache(lambda: plan.subject.features(engine.device))
    classes = len(plan.card.classes)
    seeds = []
    for training, classifiers in _classifiers(plan, preset, features, engine, settings):
        epochs, _ = _classify(plan, preset, features, classifiers, engine, settings)
        seeds.append(linear_protocol.choose(classifiers, epochs, training, preset, classes))
    painted = seeds[0].painted
    require_labels(any(len(table) for table in painted.counts), plan.samples)

    @functools.cache
    def final(seed: int) -> tuple[Painted, ShardStore]:
        """What the chosen classifier of a seed painted, and where its maps are."""
        found, kept = _classify(plan, preset, features, seeds[seed].classifier, engine, settings, refine=preset.crf)
        return found[0]["label"], kept

    refined = [final(seed)[0] for seed in range(len(seeds))] if preset.crf else None
    scored = linear_protocol.score(seeds, refined, preset, classes)
    scored.detail["classifier"] = {"on": plan.subject.features_are, "kind": preset.classifier}
    if preset.crf:
        scored.detail["crf"] = crf.RECIPE
    measured = Measured(
        scored,
        painted.manifest,
        {"from_cache": len(plan.samples) - painted.meta["fresh"], "device": painted.meta.get("device")},
        {"library": "torch", "version": torch.__version__, "device": str(engine.device), "algorithm": "SGD"}
        if plan.seeds
        else {"algorithm": "none: the classifier came with the weights"},
        painted.meta.get("images_per_second"),
    )

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        if chosen is None or preset.crf or plan.subject.classifier is not None:
            return map(decode_map, final(seed)[1].iterate_apart(plan.samples.keys, chosen))
        # which epoch would count was not known when all of them painted, so no map was kept
        return _paint_again(plan, preset, features, seeds[seed].classifier, engine, settings, chosen)

    return measured, maps


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
    recipe = observation_recipe(plan.subject.weights_sha256, plan.samples, preset, settings.precision)
    recipe |= {"protocol": plan.protocol} if isinstance(preset, DensePreset) else {}
    recipe |= {} if plan.samples.labelled else {"labelled": False}
    recipe |= {"classifiers": classifiers.digest(), "crf": crf.RECIPE if refine else None}
    kept = classify.store(cache_folder(settings.cache), recipe)
    engine = replace(engine, progress=stage(settings, "dense CRF" if refine else "classifying"))
    with crf.processes(engine.workers) if refine else nullcontext() as pool:
        painted = classify.classify(
            features, classifiers, plan.samples, preset, kept, engine, refiner=pool, fresh=_is_fresh(plan, settings)
        )
    return painted, kept


def _is_fresh(plan: Plan, settings: Settings) -> bool:
    return settings.fresh or not plan.subject.cacheable


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
    folder = _training_folder(plan, preset, plan.support, settings)
    for seed in plan.seeds:
        report = functools.partial(settings.progress, f"training, seed {seed}") if settings.progress else None
        path = folder / f"seed-{seed}.npz"
        fresh = _is_fresh(plan, settings)
        training = linear.train(features, plan.support, preset, seed, path, engine, report, fresh=fresh)
        yield training, Classifiers(training.weights, training.biases)


def _training_folder(plan: Plan, preset: LinearPreset, samples: Samples, settings: Settings) -> Path:
    """Where trainings by this recipe on these images are kept, of whatever length."""
    recipe = observation_recipe(plan.subject.weights_sha256, samples, preset, settings.precision)
    entries = {key: preset.resolved()[key] for key in TRAINING_ENTRIES if key not in ("epochs", "selection")}
    text = json.dumps([recipe, entries, linear.TRAINER_VERSION], sort_keys=True)
    digest = hashlib.sha256(text.encode() + b"".join(samples.keys))
    return cache_folder(settings.cache) / "linear" / digest.hexdigest()[:24]


# --- dense clustering ---


def _measure_dense(plan: Plan, preset: DensePreset, engine: Engine, settings: Settings) -> tuple[Measured, Maps]:
    """Draw pixels, cluster them, and paint every image with the clusters of all seeds in one more pass."""
    features = functools.cache(lambda: dense.unit_features(plan.subject.pixels(engine.device)))
    gpu, fresh = kmeans.use_gpu(engine.device.type), _is_fresh(plan, settings)
    kept = _pixel_store(plan, preset, settings)
    drawing = replace(engine, progress=stage(settings, "drawing pixels"))
    drawn = dense.draw_pixels(features, plan.samples, preset, kept, drawing, fresh=fresh)
    centres = dense.fit_all(kept, plan.samples, preset, plan.seeds, stage(settings, "clustering"), gpu=gpu, fresh=fresh)
    painters = dense.as_classifiers(centres)
    found, _ = _classify(plan, preset, features, painters, engine, settings)
    painted = [one[preset.grid] for one in found]
    scored: Scored | Grouped
    if not plan.grouped:
        require_labels(any(len(table) for table in painted[0].counts), plan.samples)
        scored = dense_protocol.score(painted, preset, len(plan.card.classes))
    else:
        same = dense.drawn_clusters(kept, plan.samples, centres)
        scored = unlabelled.group_pixels(painted, same, plan.seeds, preset.clusters)
    mappings = None if isinstance(scored, Grouped) else scored.mappings
    scored.detail["pixels"] = {"of": plan.subject.pixels_are, "drawn": drawn}
    measured = Measured(
        scored,
        painted[0].manifest,
        {"from_cache": len(plan.samples) - painted[0].meta["fresh"], "device": painted[0].meta.get("device")},
        kmeans.describe(preset.resolved(), drawn, gpu) | {"algorithm": "Lloyd, spherical"},
        painted[0].meta.get("images_per_second"),
        lambda: clusters.of_pixels(painted[0].rows(), preset.clusters, mappings[0] if mappings else None),
    )

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        ids = _paint_again(plan, preset, features, painters.only(seed), engine, settings, chosen)
        # without labels each cluster is painted as itself, counted from 1
        shown = np.arange(1, preset.clusters + 1) if mappings is None else mappings[seed]
        return paint_clusters(ids, shown, plan.card.labels.ignore)

    return measured, maps


# --- distance matching ---


def _measure_distance(plan: Plan, preset: DistancePreset, engine: Engine, settings: Settings) -> tuple[Measured, Maps]:
    """Fill a bank with the labelled instances of one split, and let it vote on every pixel of another."""
    assert plan.support is not None
    features = functools.cache(lambda: plan.subject.pixels(engine.device))
    gpu, fresh = kmeans.use_gpu(engine.device.type), _is_fresh(plan, settings)
    filling = replace(engine, progress=stage(settings, "filling the bank"))
    bank = distance.fill_bank(
        features, plan.support, preset, _instance_store(plan, preset, settings), filling, fresh=fresh
    )
    recipe = observation_recipe(plan.subject.weights_sha256, plan.samples, preset, settings.precision)
    kept = distance.painted_store(cache_folder(settings.cache), recipe, preset, bank)
    painted = distance.paint(features, bank, plan.samples, preset, kept, engine, gpu=gpu, fresh=fresh)
    if plan.samples.labelled:
        require_labels(any(len(table) for table in painted.counts), plan.samples)
    scored = distance_protocol.score(painted, preset, len(plan.card.classes))
    entry = {"split": preset.bank, "images": bank.images, "entries": len(bank.classes), "manifest": bank.manifest}
    scored.detail.update(bank=entry, pixels={"of": plan.subject.pixels_are})
    measured = Measured(
        scored,
        painted.manifest,
        {"from_cache": len(plan.samples) - painted.meta["fresh"], "device": painted.meta.get("device")},
        _EXACT_SEARCH | {"device": "cuda" if gpu else "cpu"},
        painted.meta.get("images_per_second"),
    )

    def maps(seed: int, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        return map(decode_map, kept.iterate_apart(plan.samples.keys, chosen))

    return measured, maps


def _instance_store(plan: Plan, preset: DistancePreset, settings: Settings) -> ShardStore:
    """Where the instances of the plan's bank are cached."""
    assert plan.support is not None
    recipe = observation_recipe(plan.subject.weights_sha256, plan.support, preset, settings.precision)
    return distance.bank_store(cache_folder(settings.cache), recipe, preset)


def _pixel_store(plan: Plan, preset: DensePreset, settings: Settings) -> ShardStore:
    """Where the drawn pixels of the plan's images are cached."""
    recipe = observation_recipe(plan.subject.weights_sha256, plan.samples, preset, settings.precision)
    return dense.store(cache_folder(settings.cache), recipe, preset)


def cached(plan: Plan, settings: Settings) -> str:
    """What of the plan's work is in the cache, in words."""
    if isinstance(plan.preset, DavisPreset):
        known = len(video.store_of(plan, plan.preset, settings).known(plan.samples.keys))
        return f"{known} of {len(plan.samples)} sequences are cached"
    if isinstance(plan.preset, DensePreset):
        known = len(_pixel_store(plan, plan.preset, settings).known(plan.samples.keys))
        return f"pixels of {known} of {len(plan.samples)} images are cached"
    if isinstance(plan.preset, DistancePreset):
        assert plan.support is not None
        known = len(_instance_store(plan, plan.preset, settings).known(plan.support.keys))
        return f"{known} of {len(plan.support)} images of the bank are cached"
    if not isinstance(plan.preset, LinearPreset):
        known = len(store_of(plan, plan.samples, settings).known(plan.samples.keys))
        return f"{known} of {len(plan.samples)} images are cached"
    if plan.support is None:
        return "nothing to train: the classifier came with the weights"
    folder = _training_folder(plan, plan.preset, plan.support, settings)
    trainings = [Training.read(folder / f"seed-{seed}.npz") for seed in plan.seeds]
    done = sum(min(len(training), plan.preset.epochs) for training in trainings if training)
    return f"{done} of {plan.preset.epochs * len(plan.seeds)} epochs of training are cached"


def device_name(device: torch.device) -> str:
    """What a person calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
