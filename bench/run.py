"""Run: carry a plan out, from observations to a record."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import kmeans, published, record
from bench.errors import BadInput, Warn, unknown_name
from bench.files import cache_folder, require_writable, write_with
from bench.observations import Observations, ObservationStore
from bench.observe import Engine, choose_device, default_workers, observation_recipe, observe
from bench.plan import FIRST_SEED, Plan, Settings, make_plan, stage
from bench.presets import ClusteringPreset
from bench.protocols import Scored, clustering, retrieval
from bench.record import Record, Stored
from bench.samples import Samples
from bench.subjects import Subject

if TYPE_CHECKING:
    from torch import nn

GAP_SEEDS = 20
"""Seeds over which our solver is held against the authors'."""


def evaluate(
    model: str | Path | nn.Module,
    dataset: str = "shapes",
    protocol: str = "clustering",
    *,
    results: Path | str | None = None,
    **settings: Any,
) -> Record:
    """Evaluate a model and return its record, the dict that `bench run --json` prints.

    `model` is a card's id, a path to a card or a checkpoint, or a `torch.nn.Module` that maps B×3×H×W
    normalised images to (embedding B×D×h×w, saliency logit B×h×w) of any resolution; it is put in eval mode.
    With `results`, record and rows are written below that folder. Further keywords are the fields of `Settings`. Raises
    `bench.errors.BenchError`.
    """
    return perform(model, dataset, protocol, results, settings).record


def perform(
    model: str | Path | nn.Module, dataset: str, protocol: str, results: Path | str | None, settings: dict[str, Any]
) -> Stored:
    """`evaluate`, and where the record was written (an empty path if nowhere)."""
    if unknown := set(settings) - set(Settings.__dataclass_fields__):
        raise unknown_name("setting", min(unknown), Settings.__dataclass_fields__, "pydoc bench.plan.Settings")
    chosen = Settings(**settings)
    warnings: list[str] = []

    def warn(message: str) -> None:
        if message not in warnings:
            warnings.append(message)
            if chosen.warn:
                chosen.warn(message)

    if results is not None:
        require_writable(Path(results), "record", "--results")
    plan = make_plan(model, dataset, protocol, chosen, warn)
    made, rows = execute(plan, chosen, warn)
    made["warnings"] = warnings
    if results is None:
        return Stored(Path(), made)
    return Stored(record.write(made, rows, Path(results)), made)


def execute(plan: Plan, settings: Settings, warn: Callable[[str], None]) -> tuple[Record, Any]:
    """Observe, score, and put the record together. Returns the record and its rows."""
    started = time.perf_counter()
    device = choose_device(settings.device)
    engine = Engine(
        device,
        settings.precision,
        settings.batch_size or (32 if device.type == "cuda" else 4),
        settings.workers if settings.workers is not None else default_workers(),
        stage(settings, "observing"),
        warn,
    )
    observations = _look(plan, plan.samples, engine, settings)
    if not observations.counts.any():
        raise BadInput(
            f"no labelled pixel in any of the {len(observations)} images: all are {plan.card.labels.ignore}",
            "Without labels there is nothing to score against.",
        )
    bank = _look(plan, plan.bank, engine, settings) if plan.bank else None
    gpu = kmeans.use_gpu(device.type)
    scoring = time.perf_counter()
    scored = _score(plan, observations, bank, gpu, warn)
    metrics = record.metrics_of(scored, plan.preset.absent)
    scoring = time.perf_counter() - scoring
    made = _describe(plan, observations, scored, metrics, gpu)
    made["solver_gap"] = _solver_gap(made, plan, observations, settings, gpu)
    made["published"] = {
        metric: published.compare(made, figure)
        for metric, figure in published.answers_to(made).items()
        if metric in metrics
    }
    made["cost"] = _cost(engine, observations) | {
        "seconds": time.perf_counter() - started,
        "scoring_seconds": scoring,
    }
    made["environment"] = record.environment()
    made["created"] = record.now()
    return made, scored.rows


def _describe(
    plan: Plan, observations: Observations, scored: Scored, metrics: dict[str, dict[str, Any]], gpu: bool
) -> Record:
    """The record of what was measured on what; how it compares and what it cost are added later."""
    return {
        "schema": record.SCHEMA,
        "model": _model_entry(plan.subject),
        "dataset": _dataset_entry(plan, observations),
        "protocol": {
            "id": plan.protocol,
            "fingerprint": plan.fingerprint,
            "preset": plan.preset.resolved(),
            "modified": plan.modified,
            "variations": list(plan.variations),
            "published_recipe": plan.published_recipe,
            "deterministic": not plan.seeds,
        },
        "seeds": list(plan.seeds),
        "metrics": metrics,
        "per_class": record.per_class(scored.rows, plan.card.classes),
        "confusion": {
            "classes": list(plan.card.classes),
            "rows": "predicted, the last one unmatched; mean over seeds",
            "mean": _mean_confusion(scored.rows),
        },
        "cluster_to_class": [mapping.tolist() for mapping in scored.mappings],
        "observed": _observed(observations),
        "solver": _solver_entry(plan, len(observations), gpu),
        **scored.detail,
    }


def _cost(engine: Engine, observations: Observations) -> dict[str, Any]:
    return {
        "images_per_second": observations.meta.get("images_per_second"),
        "peak_memory_mb": record.peak_memory_mb(),
        "device": str(engine.device),
        "device_name": _device_name(engine.device),
        "batch_size": engine.batch_size,
        "workers": engine.workers,
        "precision": engine.precision,
    }


def store_of(plan: Plan, samples: Samples, settings: Settings) -> ObservationStore:
    """Where the observations of a split are cached under this plan."""
    recipe = observation_recipe(plan.subject.weights_sha256, samples, plan.preset, settings.precision)
    return ObservationStore.for_recipe(cache_folder(settings.cache), recipe)


def _look(plan: Plan, samples: Samples, engine: Engine, settings: Settings) -> Observations:
    """The observations of one split."""
    fresh = settings.fresh or not plan.subject.cacheable
    network = functools.partial(plan.subject.network, engine.device)
    return observe(network, samples, plan.preset, store_of(plan, samples, settings), engine, fresh=fresh)


def _score(plan: Plan, observations: Observations, bank: Observations | None, gpu: bool, warn: Warn) -> Scored:
    """What the plan's protocol makes of the observations."""
    resolved = plan.preset.resolved()
    if bank is not None:
        return retrieval.score(bank, observations, resolved, plan.card.classes)
    return clustering.score(observations, resolved, plan.seeds, len(plan.card.classes), gpu=gpu, warn=warn)


def _solver_entry(plan: Plan, images: int, gpu: bool) -> dict[str, Any]:
    if isinstance(plan.preset, ClusteringPreset):
        return kmeans.describe(plan.preset.resolved(), images, gpu)
    import faiss

    return {"library": "faiss", "version": faiss.__version__, "device": "cpu", "algorithm": "exact inner product"}


def _dataset_entry(plan: Plan, observations: Observations) -> dict[str, Any]:
    return {
        "id": plan.card.id,
        "title": plan.card.title,
        "split": plan.samples.split,
        "images": len(plan.samples),
        "official_images": plan.card.splits[plan.samples.split].images,
        "manifest": observations.manifest,
        "limited": plan.samples.limited or (plan.bank is not None and plan.bank.limited),
        "layout": plan.samples.layout,
    }


def _model_entry(subject: Subject) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": subject.id,
        "title": subject.title,
        "weights_sha256": subject.weights_sha256,
        "weights_source": subject.weights_source,
        "initialisation": subject.initialisation,
        "prior": subject.prior,
        "supervision": subject.supervision,
    }
    if subject.card:
        entry["architecture"] = subject.card.architecture.model_dump()
        entry["paper"] = subject.card.paper.model_dump() if subject.card.paper else None
    return entry


def _observed(observations: Observations) -> dict[str, Any]:
    pixels = observations.areas.sum()
    meta = observations.meta
    return {
        "salient_pixels": int(pixels),
        "images_without_salient_pixel": int((observations.areas == 0).sum()),
        "pixels_near_threshold": int(observations.near.sum()),
        "from_cache": len(observations) - meta["fresh"],
        "device": meta.get("device"),
    }


def _mean_confusion(rows: Any) -> list[list[float]]:
    import numpy as np

    mean = np.mean([rows.confusion(i) for i in range(len(rows.seeds))], axis=0)
    return [[round(value, 3) for value in row] for row in mean.tolist()]


def _solver_gap(made: Record, plan: Plan, observations: Observations, settings: Settings, gpu: bool) -> float | None:
    """|mean mIoU of our solver − of the authors'| over 20 seeds on these observations, in points.

    0 when the solver is theirs or nothing is solved; measured only where there is a published figure to hold
    the run against.
    """
    if not isinstance(plan.preset, ClusteringPreset) or plan.preset.solver == "minibatch":
        return 0.0
    figures = published.answers_to(made)
    if made["dataset"]["limited"] or not plan.published_recipe or not any(f.comparable for f in figures.values()):
        return None
    theirs = plan.preset.model_copy(update={"solver": "minibatch"})
    known = (
        store_of(plan, plan.samples, settings).folder
        / f"solver-gap-{_short_hash(plan.fingerprint, observations.manifest)}.json"
    )
    try:
        return float(json.loads(known.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass
    means = [
        _mean_miou(observations, preset.resolved(), range(FIRST_SEED, FIRST_SEED + GAP_SEEDS), plan, gpu)
        for preset in (plan.preset, theirs)
    ]
    gap = abs(means[0] - means[1])
    write_with(known, lambda stream: stream.write(json.dumps(gap).encode()))
    return gap


def _short_hash(*texts: str) -> str:
    return hashlib.sha256("|".join(texts).encode()).hexdigest()[:16]


def _mean_miou(
    observations: Observations, preset: dict[str, Any], seeds: Sequence[int], plan: Plan, gpu: bool
) -> float:
    scored = clustering.score(observations, preset, seeds, len(plan.card.classes), gpu=gpu)
    values = [metrics["mIoU"] for metrics in record.seed_metrics(scored.rows, preset["absent"])]
    return sum(values) / len(values)


def _device_name(device: Any) -> str:
    import platform

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
