"""Run: one model, one data set, one protocol, from cards to a record."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import catalogue, kmeans, published, record
from bench.cards import DatasetCard
from bench.errors import BadInput, Warn, WrongName, unknown_name
from bench.files import cache_folder, require_writable, write_with
from bench.observations import Observations, ObservationStore
from bench.observe import Engine, Precision, choose_device, default_workers, observation_recipe, observe
from bench.presets import PRESETS, ClusteringPreset, Preset, RetrievalPreset, fingerprint, override
from bench.protocols import Scored, clustering, retrieval
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
    entries: dict[str, Any] = field(default_factory=dict)
    """Preset entries to override: text as after `--set`, or values."""
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
    bank: Samples | None
    """A second split that the protocol draws on."""
    protocol: str
    preset: Preset
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
    default = card.protocols.preset(protocol)
    if default is None:
        raise WrongName(f"{card.id} has no preset for {protocol}", f"Add [protocols.{protocol}] to its card.")
    preset = override(default, settings.entries)
    cache = cache_folder(settings.cache)
    require_writable(cache, "cache", "--cache")
    split = card.default_split if settings.split is None else settings.split
    samples, bank = _find_data(card, split, preset, settings, cache, warn)
    subject = find_model(model, settings.weights, cache, warn)
    if settings.name:
        subject = rename(subject, settings.name)
    seeds, variations = _seeds(preset, settings), _variations(settings)
    if seeds != _seeds(default, Settings()):
        variations = (f"seeds{seeds[0]}x{len(seeds)}", *variations)
    name, comparable = protocol, default
    if isinstance(preset, ClusteringPreset) and _overclusters(preset, default, card):
        name, comparable = f"overclustering-{preset.clusters}", default.model_copy(update={"clusters": preset.clusters})
    resolved = preset.resolved()
    published_recipes = [comparable.resolved()]
    if isinstance(comparable, ClusteringPreset):
        published_recipes.append(comparable.model_copy(update={"solver": "minibatch"}).resolved())
    return Plan(
        card,
        subject,
        samples,
        bank,
        name,
        preset,
        seeds,
        fingerprint(protocol, resolved),
        published_recipe=resolved in published_recipes,
        variations=variations,
        modified=bool(variations) or resolved != comparable.resolved(),
    )


def _find_data(
    card: DatasetCard, split: str, preset: Preset, settings: Settings, cache: Path, warn: Warn
) -> tuple[Samples, Samples | None]:
    """The samples to evaluate on, and those of the bank if the protocol has one."""
    writing = _stage(settings, "writing shapes")
    samples = find_samples(card, split, settings.data_root, cache, writing).first(settings.limit)
    bank = None
    if isinstance(preset, RetrievalPreset):
        bank = find_samples(card, preset.bank, settings.data_root, cache, writing)
    elif isinstance(preset, ClusteringPreset) and len(samples) < preset.clusters:
        raise BadInput(
            f"{len(samples)} images cannot form {preset.clusters} clusters",
            "Use more images, or fewer clusters with --clusters N.",
        )
    official = card.splits[split].images
    if official is not None and len(samples) > official:
        warn(f"{samples.root} lists {len(samples)} {split} images, the card says {official}")
    for part in (samples, bank):
        if part is not None and part.limited and settings.limit is None:
            warn(
                f"{part.root} holds {len(part)} of the {card.splits[part.split].images} {part.split} images: "
                "the run is marked as limited"
            )
    return samples, bank


def _seeds(preset: Preset, settings: Settings) -> tuple[int, ...]:
    """The seeds to run; none for a protocol that draws nothing at random."""
    if not isinstance(preset, ClusteringPreset):
        return ()
    seeds = range(settings.first_seed, settings.first_seed + (settings.num_seeds or preset.seeds))
    if not 0 <= seeds[0] <= seeds[-1] < 2**31:
        raise WrongName(f"seeds {seeds[0]} to {seeds[-1]} are out of range", "Seeds are 0 to 2147483647.")
    return tuple(seeds)


def _overclusters(preset: ClusteringPreset, default: Preset, card: DatasetCard) -> bool:
    return preset.clusters + 1 > len(card.classes) and preset.clusters != getattr(default, "clusters", None)


def _variations(settings: Settings) -> tuple[str, ...]:
    """Marks for the record's name of what the fingerprint leaves out but a full record must not be lost to."""
    return (settings.precision,) if settings.precision != "float32" else ()


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
    made: Record = {
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
    made["solver_gap"] = _solver_gap(made, plan, observations, settings, gpu)
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


def _store(plan: Plan, samples: Samples, settings: Settings) -> ObservationStore:
    recipe = observation_recipe(plan.subject.weights_sha256, samples, plan.preset, settings.precision)
    return ObservationStore.for_recipe(cache_folder(settings.cache), recipe)


def _look(plan: Plan, samples: Samples, engine: Engine, settings: Settings) -> Observations:
    """The observations of one split."""
    fresh = settings.fresh or not plan.subject.cacheable
    network = functools.partial(plan.subject.network, engine.device)
    return observe(network, samples, plan.preset, _store(plan, samples, settings), engine, fresh=fresh)


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
        _store(plan, plan.samples, settings).folder
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
