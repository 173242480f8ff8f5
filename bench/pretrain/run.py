"""One training run: from names and flags to a checkpoint, a log and a network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bench.base import environment
from bench.base.environment import whole_number
from bench.base.errors import BadEnvironment, BadInput, Warn, WrongName
from bench.base.files import cache_folder, locked, require_writable, sha256_file
from bench.base.parallel import default_workers
from bench.base.paths import expand
from bench.cards import catalogue
from bench.cards.recipes import Recipe, override
from bench.data.find_samples import find_samples
from bench.data.samples import Samples, require_images
from bench.passes.engine import Engine, choose_device, is_out_of_memory
from bench.pretrain import checkpoint, distributed
from bench.pretrain.held_out import clustering_miou, hold_out
from bench.pretrain.initialise import RANDOM, initial_network
from bench.pretrain.log import write_run
from bench.pretrain.momentum import MomentumContrast
from bench.pretrain.pairs import Pairs, named
from bench.pretrain.trainer import Job, Trainer
from bench.priors import open_priors
from bench.priors.reader import read_manifest


@dataclass(frozen=True)
class Settings:
    """How to train; the defaults are those of the command line."""

    data_root: Path | None = None
    init: str | None = None
    """`random`, a file of weights, or None for what the recipe says."""
    device: str = "auto"
    workers: int | None = None
    entries: dict[str, Any] = field(default_factory=dict)
    """Recipe entries to override: text as after `--set`, or values."""
    eval_every: int = 0
    """Epochs between two evaluations on a held-out fifth of the split; 0 trains on all of it."""
    seed: int = 0
    fresh: bool = False
    cache: Path | None = None
    progress: Callable[..., None] | None = None
    """Called with (what, images done, images in all, how it stands)."""
    warn: Warn = lambda message: None


@dataclass(frozen=True)
class Outcome:
    """What a run has left."""

    checkpoint: Path
    network: Path
    images: int
    steps: int
    resumed_at: int
    """The step that the checkpoint found was after; 0 for a run from the beginning."""


def pretrain(recipe: str | Path, dataset: str, priors: Path, out: Path, settings: Settings | None = None) -> Outcome:
    """Train by a recipe on a data set and its masks; resumes where `out` holds a checkpoint of the same run.

    `recipe` is an id or a path to a card, `priors` a folder of `<id>.png`. Writes `checkpoint.pth.tar`,
    `run.json`, `log.csv`, TensorBoard events and `network.safetensors` into `out`. Under `torchrun` all ranks call it.
    Raises `bench.base.errors.BenchError`.
    """
    settings = settings or Settings()
    if whole_number("RANK"):
        settings = replace(settings, warn=lambda message: None)  # rank 0 speaks for all
    device = _join_ranks(torch.device(choose_device(settings.device)))
    chosen = override(catalogue.recipe(str(recipe)), settings.entries)
    chosen = _settle_precision(chosen, device, settings)
    _require_shares(chosen.batch, distributed.world())
    require_writable(out, "checkpoint", "--out")
    with _alone(out), _memory_errors(device, chosen.batch):
        module = _module(chosen, settings)
        trainer = Trainer(_prepare(chosen, dataset, priors, out, device, settings), module)
        resumed_at = _train(trainer, priors, settings)
    if distributed.rank() == 0:
        checkpoint.export(out / checkpoint.EXPORT, trainer.module.model_q)
    return Outcome(out / checkpoint.FILE, out / checkpoint.EXPORT, len(trainer.job.pairs), trainer.steps, resumed_at)


def _train(trainer: Trainer, priors: Path, settings: Settings) -> int:
    """Train to the end, from the checkpoint of the same run where there is one. Returns the step it was after."""
    job = trainer.job
    if trainer.path.is_file() and not settings.fresh:
        _check_identity(trainer.path, job.identity)
        trainer.resume()
    if distributed.rank() == 0:
        if settings.fresh:
            checkpoint.remove(trainer.path)
        write_run(job.out, _run_entries(job.recipe, priors, job.identity, settings))
    resumed_at = trainer.progress.step
    trainer.train()
    return resumed_at


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other trainings out of a folder: two would replace each other's checkpoint. Raises BadEnvironment."""
    if distributed.rank():
        yield
        return
    with locked(
        out / ".lock", 0, f"{out} is in use by another `bench train`", "Wait for it to end, or name another --out."
    ):
        yield


@contextmanager
def _memory_errors(device: torch.device, batch: int) -> Iterator[None]:
    """Raises BadEnvironment where memory does not suffice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise BadEnvironment(
            f"out of memory on {device} with a batch of {batch}",
            "Set a smaller batch, queue or crop: --set batch=… --set queue=… --set crop=…",
        ) from error


def _join_ranks(device: torch.device) -> torch.device:
    """Join the process group that `torchrun` announces; returns this rank's device."""
    if "WORLD_SIZE" not in os.environ:
        return device
    if not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (ValueError, RuntimeError) as error:
            raise BadEnvironment(
                f"cannot join the processes that $WORLD_SIZE announces: {error}",
                "Start with `torchrun`, or unset WORLD_SIZE and RANK for a single process.",
            ) from error
    if device.type != "cuda":
        return device
    device = torch.device("cuda", whole_number("LOCAL_RANK"))
    torch.cuda.set_device(device)
    return device


def _require_shares(batch: int, world: int) -> None:
    """Raises WrongName unless every rank gets as many images, and enough for its batch norms."""
    if batch % world:
        raise WrongName(f"batch: {batch} is no multiple of the {world} ranks", "Set another batch.")
    if batch < 2 * world:
        raise WrongName(f"batch: {batch} gives the {world} ranks fewer than two images each", "Set a larger batch.")


def _settle_precision(recipe: Recipe, device: torch.device, settings: Settings) -> Recipe:
    """bfloat16 of the recipe's own is dropped on a CPU without instructions for it, where it does not pay."""
    asked = "precision" in settings.entries
    if recipe.precision == "float32" or device.type != "cpu" or asked or _has_bfloat16():
        return recipe
    settings.warn("this CPU has no bfloat16 instructions: training in float32")
    return override(recipe, {"precision": "float32"})


def _has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16. torch's own test has no public name; without it, assume not."""
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(test() for test in tests if test is not None)


def _module(recipe: Recipe, settings: Settings) -> MomentumContrast:
    return MomentumContrast(
        initial_network(recipe, settings.init, settings.seed, settings.warn),
        queue=recipe.queue,
        momentum=recipe.momentum,
        temperature=recipe.temperature,
        contrast_stride=recipe.contrast_stride,
        contrast_weight=recipe.contrast_weight,
        saliency_weight=recipe.saliency_weight,
        frozen=recipe.frozen,
    )


def _prepare(recipe: Recipe, dataset: str, priors: Path, out: Path, device: torch.device, settings: Settings) -> Job:
    """Find images and masks, and check all that can be checked before the work begins."""
    workers = settings.workers or default_workers()
    samples, held_out = _find_samples(recipe, dataset, settings)
    masks = open_priors(priors, samples)
    if masks.missing:
        settings.warn(f"{named(masks.missing)} of {len(samples)} without a mask in {priors}: skipped")
    pairs = Pairs(masks.entries, masks, recipe, workers, settings.warn)
    engine = Engine(str(device), workers=workers, warn=settings.warn)
    return Job(
        recipe=recipe,
        pairs=pairs,
        out=out,
        device=device,
        seed=settings.seed,
        workers=workers,
        identity=_identity(recipe, samples, pairs, settings),
        overrides=dict(settings.entries),
        evaluate=partial(clustering_miou, samples=held_out, engine=engine) if held_out else None,
        eval_every=settings.eval_every,
        report=partial(settings.progress, "training") if settings.progress else None,
        warn=settings.warn,
    )


def _find_samples(recipe: Recipe, dataset: str, settings: Settings) -> tuple[Samples, Samples | None]:
    """The samples to train on and those held out, if any."""
    card = catalogue.dataset(dataset)
    require_images(card, "bench train")
    samples = find_samples(card, recipe.split, settings.data_root, cache_folder(settings.cache))
    return hold_out(samples) if settings.eval_every else (samples, None)


def _identity(recipe: Recipe, samples: Samples, pairs: Pairs, settings: Settings) -> dict[str, Any]:
    """All that decides the weights, as plain values."""
    init = settings.init or recipe.initialisation
    return {
        "recipe": recipe.entries(),
        "dataset": samples.card.id,
        "split": samples.split,
        "held_out": bool(settings.eval_every),
        "images": len(pairs),
        "manifest": pairs.manifest,
        "seed": settings.seed,
        "init": init if init == RANDOM else sha256_file(expand(init)),
        "ranks": distributed.world(),
    }


def _run_entries(recipe: Recipe, priors: Path, identity: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """What `run.json` says."""
    return {
        "recipe": recipe.id,
        "overrides": settings.entries,
        "identity": identity,
        "priors": read_manifest(priors),
        "eval_every": settings.eval_every,
        "environment": environment.environment(),
        "created": environment.now(),
    }


def _check_identity(path: Path, identity: dict[str, Any]) -> None:
    """Raises BadInput where the checkpoint is of a run that was given something else."""
    known = checkpoint.peek(path).get("identity")
    if known == identity:
        return
    if not isinstance(known, dict) or not isinstance(known.get("recipe"), dict):
        raise BadInput(f"{path} was not written by `bench train`", checkpoint.START_OVER)
    differs = _differences(known | known["recipe"], identity | identity["recipe"])
    raise BadInput(
        f"{path} is of another run: {'; '.join(differs[:3])}",
        f"Give the same options and entries to continue it. {checkpoint.START_OVER}",
    )


def _differences(known: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What a checkpoint was made with and what is asked for now, in words."""
    if bool(known.get("held_out")) != asked["held_out"]:  # the images differ for that reason alone
        return [f"it was made {'with' if known.get('held_out') else 'without'} --eval-every"]
    keys = [key for key in asked if key != "recipe" and known.get(key) != asked[key]]
    return [f"{key} was {known.get(key)}, now {asked[key]}" for key in keys]
