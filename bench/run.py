"""Run: one model, one data set, one protocol, from cards to a record."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import catalogue, kmeans, published, record
from bench.cards import DatasetCard
from bench.errors import BadInput, WrongName, unknown_name
from bench.files import cache_folder, require_writable, write_with
from bench.observations import Observations, ObservationStore
from bench.observe import Engine, Precision, choose_device, default_workers, observation_recipe, observe
from bench.presets import PRESETS, ClusteringPreset, fingerprint, override
from bench.protocols import clustering
from bench.record import Record, Stored
from bench.samples import Samples
from bench.subjects import Subject, find_model, find_samples, rename

if TYPE_CHECKING:
    from torch import nn

FIRST_SEED = 1234
"""The authors' first seed."""
GAP_SEEDS = 20
"""Seeds over which our solver is held against the authors'."""


@dataclass(frozen=True)
class Settings:
    """How to run; the defaults are those of the command line."""

    split: str | None = None
    data_root: Path | None = None
    weights: Path | None = None
    name: str | None = None
    device: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    precision: Precision = "float32"
    first_seed: int = FIRST_SEED
    num_seeds: int | None = None
    entries: dict[str, str] = field(default_factory=dict)
    limit: int | None = None
    cache: Path | None = None
    fresh: bool = False
    progress: Callable[[str, int, int], None] | None = None
    """Called with (what, images done, images in all)."""
    warn: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before anything is computed; what `--dry-run` prints."""

    card: DatasetCard
    subject: Subject
    samples: Samples
    protocol: str
    preset: ClusteringPreset
    seeds: tuple[int, ...]
    fingerprint: str
    published_recipe: bool
    variations: tuple[str, ...]
    modified: bool


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
        raise unknown_name("setting", min(unknown), Settings.__dataclass_fields__, "pydoc bench.run.Settings")
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


def make_plan(
    model: str | Path | nn.Module, dataset: str, protocol: str, settings: Settings, warn: Callable[[str], None]
) -> Plan:
    """Resolve names, files and recipe, and check all that can be checked before the work begins."""
    if protocol not in PRESETS:
        raise unknown_name("protocol", protocol, PRESETS, "bench list protocols")
    card = catalogue.dataset(dataset)
    default = card.protocols.clustering
    if default is None:
        raise WrongName(f"{card.id} has no preset for {protocol}", f"Add [protocols.{protocol}] to its card.")
    preset = override(default, settings.entries)
    assert isinstance(preset, ClusteringPreset)
    cache = cache_folder(settings.cache)
    require_writable(cache, "cache", "--cache")
    split = settings.split or card.default_split
    samples = find_samples(card, split, settings.data_root, cache, _stage(settings, "writing shapes"))
    samples = samples.first(settings.limit)
    if len(samples) < preset.clusters:
        raise BadInput(
            f"{len(samples)} images cannot form {preset.clusters} clusters",
            "Use more images, or fewer clusters with --clusters N.",
        )
    if samples.limited and settings.limit is None:
        warn(
            f"{samples.root} holds {len(samples)} of the {card.splits[split].images} {split} images: "
            "the run is marked as limited"
        )
    subject = find_model(model, settings.weights, cache, warn)
    if settings.name:
        subject = rename(subject, settings.name)
    count = settings.num_seeds or preset.seeds
    variations = _variations(settings, count, default.seeds)
    resolved = preset.resolved()
    over = preset.clusters + 1 > len(card.classes) and preset.clusters != default.clusters
    comparable = default.model_copy(update={"clusters": preset.clusters}) if over else default
    theirs = comparable.model_copy(update={"solver": "minibatch"})
    return Plan(
        card,
        subject,
        samples,
        f"overclustering-{preset.clusters}" if over else protocol,
        preset,
        tuple(range(settings.first_seed, settings.first_seed + count)),
        fingerprint(protocol, resolved),
        published_recipe=resolved in (comparable.resolved(), theirs.resolved()),
        variations=variations,
        modified=bool(variations) or resolved != comparable.resolved(),
    )


def _variations(settings: Settings, count: int, default: int) -> tuple[str, ...]:
    """Marks for the record's name of what the fingerprint leaves out but a full record must not be lost to."""
    marks = []
    if (settings.first_seed, count) != (FIRST_SEED, default):
        marks.append(f"seeds{settings.first_seed}x{count}")
    if settings.precision != "float32":
        marks.append(settings.precision)
    return tuple(marks)


def execute(plan: Plan, settings: Settings, warn: Callable[[str], None]) -> tuple[Record, Any]:
    """Observe, score, and put the record together. Returns the record and its rows."""
    started = time.perf_counter()
    device = choose_device(settings.device)
    engine = Engine(
        device,
        settings.precision,
        settings.batch_size or (32 if device.type == "cuda" else 4),
        settings.workers if settings.workers is not None else default_workers(),
        _stage(settings, "observing"),
        warn,
    )
    recipe = observation_recipe(plan.subject.weights_sha256, plan.samples, plan.preset, settings.precision)
    store = ObservationStore.for_recipe(cache_folder(settings.cache), recipe)
    observations = observe(
        lambda: plan.subject.network(device),
        plan.samples,
        plan.preset,
        store,
        engine,
        fresh=settings.fresh or not plan.subject.cacheable,
    )
    resolved = plan.preset.resolved()
    gpu = kmeans.use_gpu(device.type)
    classes = len(plan.card.classes)
    scoring = time.perf_counter()
    scored = clustering.score(observations, resolved, plan.seeds, classes, gpu=gpu, warn=warn)
    metrics = record.metrics_of(scored, plan.preset.absent)
    scoring = time.perf_counter() - scoring
    made: Record = {
        "schema": record.SCHEMA,
        "model": _model_entry(plan.subject),
        "dataset": {
            "id": plan.card.id,
            "title": plan.card.title,
            "split": plan.samples.split,
            "images": len(plan.samples),
            "official_images": plan.card.splits[plan.samples.split].images,
            "manifest": observations.manifest,
            "limited": plan.samples.limited,
            "layout": plan.samples.layout,
        },
        "protocol": {
            "id": plan.protocol,
            "fingerprint": plan.fingerprint,
            "preset": resolved,
            "modified": plan.modified,
            "variations": list(plan.variations),
            "published_recipe": plan.published_recipe,
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
        "solver": kmeans.describe(resolved, len(observations), gpu),
    }
    made["solver_gap"] = _solver_gap(made, plan, observations, store, gpu)
    made["published"] = {
        metric: published.compare(made, figure)
        for metric, figure in published.answers_to(made).items()
        if metric in metrics
    }
    made["cost"] = {
        "seconds": time.perf_counter() - started,
        "scoring_seconds": scoring,
        "images_per_second": observations.meta.get("images_per_second"),
        "peak_memory_mb": record.peak_memory_mb(),
        "device": str(device),
        "batch_size": engine.batch_size,
        "workers": engine.workers,
        "precision": settings.precision,
        "device_name": _device_name(device),
    }
    made["environment"] = record.environment()
    made["created"] = record.now()
    return made, scored.rows


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


def _solver_gap(
    made: Record, plan: Plan, observations: Observations, store: ObservationStore, gpu: bool
) -> float | None:
    """|mean mIoU of our solver − of the authors'| over 20 seeds on these observations, in points.

    0 when the solver is theirs; measured only where there is a published figure to hold the run against.
    """
    if plan.preset.solver == "minibatch":
        return 0.0
    figures = published.answers_to(made)
    if made["dataset"]["limited"] or not plan.published_recipe or not any(f.comparable for f in figures.values()):
        return None
    theirs = plan.preset.model_copy(update={"solver": "minibatch"})
    known = store.folder / f"solver-gap-{_short_hash(plan.fingerprint, observations.manifest)}.json"
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
    from bench.metrics import confusion_sums, from_sums

    scored = clustering.score(observations, preset, seeds, len(plan.card.classes), gpu=gpu)
    values = [
        float(from_sums(confusion_sums(scored.rows.confusion(i)), preset["absent"])["mIoU"]) for i in range(len(seeds))
    ]
    return sum(values) / len(values)


def _stage(settings: Settings, name: str) -> Callable[[int, int], None] | None:
    if settings.progress is None:
        return None
    show = settings.progress
    return lambda done, total: show(name, done, total)


def _device_name(device: Any) -> str:
    import platform

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
