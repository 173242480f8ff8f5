"""Run: evaluates a model by its name, and writes the record."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadEnvironment, Warn, WrongName, unknown_name
from bench.base.escaping import storable
from bench.base.files import display, require_writable
from bench.base.paths import expand
from bench.cards.models import NOT_STATED
from bench.networks.subject import Subject
from bench.passes.cache import again_where_damaged
from bench.passes.engine import device_name
from bench.protocols import registry
from bench.protocols.base import Plan, Result, Run, Settings, collect_warnings
from bench.records import record
from bench.records.published import is_held
from bench.records.record import Record, Stored
from bench.runs import example_pages, predictions
from bench.runs.label_warnings import warn_of_lone_class, warn_of_lone_prediction
from bench.runs.make_record import complete, describe, describe_read
from bench.runs.plan import make_plan, run_of
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.rows import Rows

if TYPE_CHECKING:
    from torch import nn

_logger = logging.getLogger("bench")


def evaluate(
    model: str | Path | nn.Module,
    dataset: str = "shapes",
    protocol: str = "clustering",
    *,
    results: Path | str | None = None,
    **settings: Any,
) -> Record:
    """Evaluate a model and return its record, the dict that `bench run --json` prints.

    Args:
        model: A card's id, a path to a card or a checkpoint, or a `torch.nn.Module` that maps B×3×H×W normalised
            images to (embedding B×D×h×w, saliency logit B×h×w) of any resolution; it is put in eval mode. An
            embedding alone serves all protocols but clustering and retrieval, which need to know what is salient.
        dataset: A data set's id, or a path to its card.
        protocol: A protocol's id, one of `bench list protocols`, or `linear+crf`.
        results: The folder to write record and rows below; None writes neither.
        split (str): The split to evaluate on. Default: the data set's own.
        data_root (path): The folder in which the data lie.
        weights (path): The weights of a model card whose file is elsewhere.
        name (str): Id and title in the record, for a model without a card.
        supervision (str): The labels that such a model has seen.
        device (str): `auto` (the default: CUDA where there is one), `cpu`, `cuda`, `cuda:1`, …
        batch_size (int or "auto"): Images at once; "auto" takes what fits. Default: 4 on a CPU, 32 on a GPU.
        workers (int): Loader threads. Default: one per core, at most 8.
        precision (str): `float32` (the default) or `bfloat16`.
        first_seed (int): The first seed; the others count up from it. Default: the protocol's, 1234 for most.
        num_seeds (int): How many seeds. Default: the preset's.
        entries (dict): Entries of the preset to override, as `--set` does: `{"clusters": 30}`.
        strict_input (bool): Refuse an input that is no multiple of the network's patch, in place of the nearest one.
        features (str or callable): What is read: a layer's name, as the preset's entry `features`; for a module in
            memory also a function of B×3×H×W images that returns B×D×h×w.
        normalisation (pair): Of a module in memory: the mean and the standard deviation that it was trained with, RGB
            in 0…1, in place of the preset's.
        cache_key (str): Of a module in memory: your word that what it computes under this key never changes. What is
            observed of it is then kept; without a key each call observes anew.
        trust_code (bool): Let the code of a `hub:` model run.
        limit (int): Only the first so many images, or sequences; marked in the record.
        cache (path): The cache folder. Default: `$BENCH_CACHE`, else the platform's.
        fresh (bool): Observe again even what is cached.
        progress (callable): Called with (what, images done, images in all), in training with a note as well.
        save_predictions (path): A folder for palette PNGs of class ids, one per image at its own size.
        save_examples (int): Picture so many of the best, the worst and each cluster's images beside the record.
        warn (callable): Called with each warning's text. Default: the logger `bench` tells it, at level WARNING. The
            record has all of them as `warnings`.

    Raises:
        bench.base.errors.BenchError: Problem and remedy; flags of `bench run` in it stand for keywords of that name.
    """
    for name, value in (("dataset", dataset), ("protocol", protocol)):
        if not isinstance(value, (str, Path)):
            raise WrongName(f"a {type(value).__name__} is not a {name}", f"Give one {name} by its name, for each call.")
    if unknown := set(settings) - set(Settings.__dataclass_fields__):
        raise unknown_name("setting", min(unknown), Settings.__dataclass_fields__, "pydoc bench.runs.run.evaluate")
    chosen = Settings(**settings | {"warn": settings.get("warn") or _logger.warning})
    folder = None if results is None else expand(results)
    return perform(model, dataset, protocol, folder, chosen).record


def perform(
    model: str | Path | nn.Module, dataset: str, protocol: str, results: Path | None, settings: Settings
) -> Stored:
    """`evaluate`, and where the record was written (an empty path if nowhere)."""
    warn, warnings = collect_warnings(settings)
    if results is not None:
        require_writable(results, "record", "--results")
    elif settings.save_examples is not None:
        raise WrongName(
            "save_examples needs results: the pictures are written beside the record", "Give results=FOLDER as well."
        )
    if settings.save_predictions is not None:
        require_writable(settings.save_predictions, "predictions", "--save-predictions")
    plan = make_plan(model, dataset, protocol, settings, warn)
    return again_where_damaged(lambda: carry_out(plan, results, settings, warn, warnings))


def carry_out(plan: Plan, results: Path | None, settings: Settings, warn: Warn, warnings: list[str]) -> Stored:
    """Measure, and write the record. Raises DamagedShard where the cache had not what it seemed to have."""
    made, measured = execute(plan, settings, warn)
    made["warnings"] = warnings
    if results is None:
        return Stored(Path(), made)
    _warn_of_other_weights(made, results, warn)
    try:
        if settings.save_examples is not None:
            folder = record.examples_folder(record.place(made, results))
            step = settings.stage("writing examples")
            made["examples"] = example_pages.save(folder, made, plan.samples, measured, settings.save_examples, step)
    finally:  # pictures that fail cost no figure
        path = _write(made, judged_rows(plan, measured), results)
    return Stored(path, made)


def judged_rows(plan: Plan, measured: Result) -> Rows:
    """The rows that figures are counted from: without images that lack a label, where others have one."""
    if plan.judges is None:
        return measured.rows
    assert isinstance(measured.rows, ConfusionRows)  # as of all protocols that learn from the evaluated images
    return measured.rows.only(plan.judges)


def _write(made: Record, rows: Rows, results: Path) -> Path:
    """Raises BadEnvironment, with the figure that then stands nowhere else."""
    try:
        return record.write(made, rows, results)
    except OSError as error:
        metric, measured = next(iter(made["metrics"].items()))
        raise BadEnvironment(
            f"cannot write the record, whose {metric} is {measured['value']:.2f}: {error.strerror or error} "
            f"({error.filename or results})",
            "Free space or correct the permissions, and run the same command again: it continues from the cache.",
        ) from error


def _warn_of_other_weights(made: Record, results: Path, warn: Warn) -> None:
    """Warn if the record that is replaced was made with different weights."""
    if found := record.of_other_weights(made, results):
        path, before = found
        mine = made["model"]["weights_sha256"]
        warn(
            f"this run overwrites {display(path)}, a record made with different weights "
            f"(SHA-256 {before[:12]}…, now {mine[:12]}…)"
        )


def execute(plan: Plan, settings: Settings, warn: Warn) -> tuple[Record, Result]:
    """Measure, and put the record together. Returns it, and what was measured."""
    started = time.perf_counter()
    if settings.save_predictions is not None:
        predictions.require_free(settings.save_predictions, _identity(plan), settings.fresh)
    run, room = run_of(plan, settings, warn), registry.load(plan.base)
    measured: Result = room.measure(run)
    warn_of_lone_class(measured.rows, plan.samples.card, warn)
    warn_of_lone_prediction(measured.rows, plan.samples.card, warn)
    protocol: dict[str, Any] = {
        "id": plan.protocol,
        "fingerprint": plan.fingerprint,
        "preset": plan.preset.resolved(),
        "modified": plan.modified,
        "variations": list(plan.variations),
        "published_recipe": plan.published_recipe,
        "deterministic": not plan.seeds,
    }
    if plan.by_model:
        protocol["by_model"] = dict(plan.by_model)
    judged = replace(measured, rows=judged_rows(plan, measured))
    made = describe(_model_entry(plan.subject), plan.samples, protocol, plan.seeds, judged, plan.cut)
    if plan.judges is not None:
        made["dataset"]["judges"] = len(plan.judges)
    if (shape := run.shape_read()) is not None:
        made["read"] = describe_read(run, shape)
    if settings.save_predictions is not None:
        _save_predictions(settings.save_predictions, made, run, measured)
    cost = {
        "images_per_second": measured.images_per_second,
        "device": run.engine.device,
        "device_name": device_name(run.engine.device),
        "batch_size": run.engine.batch_size,
        "workers": run.engine.workers,
        "precision": run.engine.precision,
    }
    # measured only where there is a published figure to hold the run against
    wanted = is_held(made)
    gap = room.solver_gap(run, made["dataset"]["manifest"], wanted=wanted)
    if wanted and isinstance(measured.rows, ConfusionRows):
        sums = room.solver_sums(run, made["dataset"]["manifest"])
        measured = replace(measured, rows=replace(measured.rows, solver_sums=sums))
    complete(made, cost | {"seconds": time.perf_counter() - started}, gap, measured.rows.authors(protocol["preset"]))
    return made, measured


def _save_predictions(folder: Path, made: Record, run: Run[Any], measured: Result) -> None:
    assert measured.paint is not None
    step = run.stage("writing predictions")
    predictions.save(folder, made, run.card, measured.rows.ids, measured.paint, step)
    grid = run.preset.resolved().get("grid", "label")
    if grid != "label":
        where = {"input": "at the input size", "patch": "on patches"}.get(grid, f"at {str(grid).replace('x', '×')}")
        run.warn(f"the figure was counted {where}: predictions at the images' own size can differ by a little")


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
        "title": storable(subject.title),
        "weights_sha256": subject.weights_sha256,
        "weights_source": storable(subject.weights_source),
        "initialisation": subject.training.initialisation,
        "prior": subject.training.prior,
        "supervision": subject.training.supervision,
    }
    told = {"images": subject.training.images, "overlaps": dict(subject.training.overlaps)}
    entry |= {key: value for key, value in told.items() if value and value != NOT_STATED.images}
    if subject.origin:
        entry["network"] = subject.origin
    if subject.card:
        if subject.card.architecture is not None:
            entry["architecture"] = subject.card.architecture.model_dump()
        entry["paper"] = subject.card.paper.model_dump() if subject.card.paper else None
    return entry
