"""The protocol `linear`, from a plan to its result: classifiers are trained (or come with the weights), and paint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.base.environment import torch_version
from bench.base.errors import BadInput, WrongName
from bench.cards.datasets import DatasetCard
from bench.data.samples import Samples, require_labelled_pixels
from bench.networks.subject import Subject
from bench.passes.cache import ShardStore
from bench.passes.classify import Classifiers, decode_map
from bench.passes.features import Features
from bench.protocols import dense_crf, shared_by_pixel
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.linear import scoring, training
from bench.protocols.linear.preset import TRAINING_ENTRIES, LinearPreset
from bench.protocols.linear.training import Training
from bench.protocols.prediction_maps import Map
from bench.scoring.id_counts import Painted

TRAIN = "train"


class Linear(Protocol[LinearPreset]):
    """A 1×1 convolution on frozen features."""

    in_list_order = frozenset({TRAIN})

    def settle(
        self, preset: LinearPreset, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]
    ) -> LinearPreset:
        """With its classifier settled: the one in the checkpoint where there is one, else a trained one."""
        if preset.crf:
            dense_crf.require()
        kind = "trained" if subject.outputs is None else "released"
        if asked.get("classifier", kind) != kind:
            raise WrongName(
                f"the classifier of {subject.id} is {kind} (--set classifier={asked['classifier']})",
                "Leave the entry out: it follows from whether the checkpoint has a classifier.",
            )
        if subject.outputs is not None and subject.outputs != len(card.classes):
            raise BadInput(
                f"{subject.id} classifies into {subject.outputs} classes, {card.id} has {len(card.classes)}",
                "Give a classifier of this data set, or a pre-trained network to train one on.",
            )
        return preset.model_copy(update={"classifier": kind})

    def splits(self, preset: LinearPreset, evaluated: str) -> dict[str, str]:
        """The one to train on, if there is something to train."""
        return {TRAIN: preset.train} if preset.classifier == "trained" else {}

    def measure(self, run: Run[LinearPreset]) -> Result:
        """Train classifiers (or take the released one), classify, and refine if asked to."""
        work = _Work(run)
        seeds = []
        stores: list[ShardStore | None] = []  # per seed, of what counts in the end, if the maps were kept at once
        for learnt, classifiers in work.classifiers():
            epochs, kept = work.classify(classifiers)
            seeds.append(scoring.choose(classifiers, epochs, learnt, run.preset, run.num_classes))
            stores.append(kept if len(classifiers) == 1 and not run.preset.crf else None)
        require_labelled_pixels(any(len(table) for table in seeds[0].painted.counts), run.samples)

        @functools.cache
        def final(seed: int) -> tuple[Painted, ShardStore]:
            """What the chosen classifier of a seed painted, and where its maps are."""
            found, kept = work.classify(seeds[seed].classifier, refine=run.preset.crf)
            return found[0]["label"], kept

        refined = [final(seed)[0] for seed in range(len(seeds))] if run.preset.crf else None
        rows, extra, detail = scoring.score(seeds, refined, run.preset, run.num_classes, run.samples.split)
        detail["classifier"] = {"on": run.subject.features_are(run.preset.features), "kind": run.preset.classifier}
        if run.preset.crf:
            detail["crf"] = dense_crf.RECIPE

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            if chosen is None or run.preset.crf or stores[seed]:
                kept = stores[seed] or final(seed)[1]
                return map(decode_map, kept.iterate_apart(run.samples.keys, chosen))
            # which epoch would count was not known when all of them painted, so no map was kept
            return shared_by_pixel.paint_again(run, work.features, seeds[seed].classifier, {"crf": None}, chosen)

        solver = _solver(run)
        return shared_by_pixel.result(run, rows, seeds[0].painted, solver, extra=extra, detail=detail, paint=paint)

    def cached(self, run: Run[LinearPreset]) -> str:
        """How many epochs of training."""
        if TRAIN not in run.plan.others:
            return "nothing to train: the classifier came with the weights"
        folder = _folder(run, _train_samples(run))
        trainings = [Training.read(folder / f"seed-{seed}.npz") for seed in run.plan.seeds]
        done = sum(min(len(one), run.preset.epochs) for one in trainings if one)
        return f"{done} of {run.preset.epochs * len(run.plan.seeds)} epochs of training are cached"

    def forwards(self, run: Run[LinearPreset]) -> int:
        """The epochs of training that are not cached, and the evaluated images for each seed."""
        if TRAIN not in run.plan.others:
            return len(run.samples)
        preset, images = run.preset, _train_samples(run)
        folder = _folder(run, images)
        done = [] if run.fresh else [Training.read(folder / f"seed-{seed}.npz") for seed in run.plan.seeds]
        left = preset.epochs * len(run.plan.seeds) - sum(min(len(one), preset.epochs) for one in done if one)
        return left * (len(images) // preset.batch) * preset.batch + len(run.plan.seeds) * len(run.samples)

    def kept_bytes(self, run: Run[LinearPreset], width: int) -> int:
        """The classifier after each epoch, and its counts on each image."""
        epochs = run.preset.epochs * max(1, len(run.plan.seeds))
        return epochs * (4 * width * run.num_classes + 32 * 8 * len(run.samples))


def _solver(run: Run[LinearPreset]) -> dict[str, Any]:
    if not run.plan.seeds:
        return {"algorithm": "none: the classifier came with the weights"}
    return {"library": "torch", "version": torch_version(), "device": run.engine.device, "algorithm": "SGD"}


def _train_samples(run: Run[LinearPreset]) -> Samples:
    return run.plan.others[TRAIN].first(run.preset.train_images)


def _folder(run: Run[LinearPreset], samples: Samples) -> Path:
    """Where trainings by this recipe on these images are kept, of whatever length."""
    entries = {key: run.preset.resolved()[key] for key in TRAINING_ENTRIES if key not in ("epochs", "selection")}
    return run.learnt_folder("linear", [run.recipe(samples), entries, training.TRAINER_VERSION], samples)


class _Work:
    """What the steps of one run share: its features, built when they are first needed."""

    def __init__(self, run: Run[LinearPreset]) -> None:
        self.run = run
        self.features: Callable[[], Features] = functools.cache(run.features)

    def classifiers(self) -> Iterator[tuple[Training | None, Classifiers]]:
        """Per seed its training and the classifiers of its epochs; the released one alone if there is one."""
        run = self.run
        if run.subject.classifier is not None:
            weight, bias = run.subject.classifier()
            yield None, Classifiers(weight[None], bias[None])
            return
        samples = _train_samples(run)
        folder = _folder(run, samples)
        for seed in run.plan.seeds:
            show = run.settings.progress
            report = functools.partial(show, f"training, seed {seed}") if show else None
            path = folder / f"seed-{seed}.npz"
            learnt = training.train(self.features, samples, run.preset, seed, path, run.engine, report, fresh=run.fresh)
            yield learnt, Classifiers(learnt.weights, learnt.biases)

    def classify(
        self, classifiers: Classifiers, *, refine: bool = False
    ) -> tuple[list[dict[str, Painted]], ShardStore]:
        """One pass over the evaluated images with these classifiers, in parallel processes if a CRF refines them."""
        if not refine:
            return shared_by_pixel.paint_all(self.run, self.features, classifiers, {"crf": None})
        pool = functools.partial(dense_crf.processes, self.run.engine.workers)
        return shared_by_pixel.paint_all(
            self.run, self.features, classifiers, {"crf": dense_crf.RECIPE}, "dense CRF", refine=pool
        )
