"""Run: carry a plan out, from a model's name to a record."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import examples, predictions, record
from bench.describe import Measured, complete, describe
from bench.engine import Engine, choose_device
from bench.errors import Warn, WrongName, unknown_name
from bench.files import require_writable
from bench.gap import solver_gap
from bench.measure import device_name, measure
from bench.parallel import default_workers
from bench.plan import Plan, Settings, make_plan, stage
from bench.predictions import Maps
from bench.record import Record, Stored
from bench.subjects import Subject

if TYPE_CHECKING:
    from torch import nn


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
    elif chosen.save_examples is not None:
        raise WrongName("save_examples needs results: pictures lie beside the record", "Give results=FOLDER as well.")
    if chosen.save_predictions is not None:
        require_writable(Path(chosen.save_predictions), "predictions", "--save-predictions")
    plan = make_plan(model, dataset, protocol, chosen, warn)
    made, measured, maps = execute(plan, chosen, warn)
    made["warnings"] = warnings
    if results is None:
        return Stored(Path(), made)
    try:
        if chosen.save_examples is not None:
            folder = record.examples_folder(record.place(made, Path(results)))
            step = stage(chosen, "writing examples")
            made["examples"] = examples.save(folder, made, plan.samples, measured, maps, chosen.save_examples, step)
    finally:  # pictures that fail cost no figure
        path = record.write(made, measured.scored.rows, Path(results))
    return Stored(path, made)


def engine_for(settings: Settings, warn: Warn) -> Engine:
    """What passes over images run on. Raises BadEnvironment for a device that is not there."""
    device = choose_device(settings.device)
    return Engine(
        device,
        settings.precision,
        settings.batch_size or (32 if device.type == "cuda" else 4),
        settings.workers if settings.workers is not None else default_workers(),
        stage(settings, "observing"),
        warn,
    )


def execute(plan: Plan, settings: Settings, warn: Callable[[str], None]) -> tuple[Record, Measured, Maps]:
    """Measure, and put the record together. Returns it, what was measured, and how to paint its predictions."""
    started = time.perf_counter()
    if settings.save_predictions is not None:
        predictions.require_free(Path(settings.save_predictions), _identity(plan), settings.fresh)
    engine = engine_for(settings, warn)
    measured, maps = measure(plan, engine, settings, warn)
    protocol = {
        "id": plan.protocol,
        "fingerprint": plan.fingerprint,
        "preset": plan.preset.resolved(),
        "modified": plan.modified,
        "variations": list(plan.variations),
        "published_recipe": plan.published_recipe,
        "deterministic": not plan.seeds,
    }
    made = describe(_model_entry(plan.subject), plan.samples, protocol, plan.seeds, measured, limited=plan.limited)
    if settings.save_predictions is not None:
        ids = measured.scored.rows.ids
        step = stage(settings, "writing predictions")
        predictions.save(settings.save_predictions, made, plan.card, ids, maps, step)
        if plan.preset.resolved().get("grid", "label") != "label":
            warn("the figure was counted at the input size: predictions at the images' own size can differ by a little")
    cost = {
        "images_per_second": measured.images_per_second,
        "device": str(engine.device),
        "device_name": device_name(engine.device),
        "batch_size": engine.batch_size,
        "workers": engine.workers,
        "precision": engine.precision,
    }
    gap = solver_gap(made, plan, engine, settings)
    complete(made, cost | {"seconds": time.perf_counter() - started}, gap)
    return made, measured, maps


def _identity(plan: Plan) -> dict[str, Any]:
    """The entries of the record to come that `predictions.IDENTITY` names."""
    return {
        "model": {"id": plan.subject.id, "weights_sha256": plan.subject.weights_sha256},
        "dataset": {"id": plan.card.id, "split": plan.samples.split, "images": plan.samples.images},
        "protocol": {"id": plan.protocol, "fingerprint": plan.fingerprint, "variations": list(plan.variations)},
        "seeds": list(plan.seeds),
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
