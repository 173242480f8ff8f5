"""The protocols `stego-cluster`, `stego-kmeans` and `stego-linear`, from a plan to their result."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from bench.base.environment import torch_version
from bench.base.errors import Warn
from bench.cards.datasets import DatasetCard
from bench.data.samples import Samples, require_labelled_pixels
from bench.networks.reading.reader import Read
from bench.networks.reading.watched import Watched
from bench.networks.subject import Subject
from bench.passes.features import Features
from bench.passes.tokens import ImageTokens, Tokens, kept_bytes
from bench.protocols import dense_crf, shared_by_crf, shared_by_pixel
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.prediction_maps import Map, paint_clusters
from bench.protocols.shared_by_crf import Refined
from bench.protocols.shared_by_token import cells_of, count, kept_images, paint_again, tokens_of, unseen
from bench.protocols.stego import training
from bench.protocols.stego.preset import (
    StegoClusterPreset,
    StegoKmeansPreset,
    StegoLinearPreset,
    StegoMatched,
    StegoPreset,
)
from bench.protocols.stego.probes import Probe, probabilities, probed
from bench.protocols.stego.scoring import score
from bench.protocols.stego.training import Learnt
from bench.scoring import cluster_members, kmeans
from bench.scoring.cluster_members import Clusters
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.id_counts import Painted, given_classes
from bench.scoring.matching import Mapping as ClusterClasses
from bench.scoring.metrics import seed_metrics

TRAIN = "train"
P = TypeVar("P", bound=StegoPreset)
M = TypeVar("M", bound=StegoMatched)
Scored = tuple[ConfusionRows, tuple[ClusterClasses, ...], dict[str, Any]]


class _Stego(Protocol[P], Generic[P]):
    """A probe on a code that is upsampled before it."""

    in_list_order = frozenset({TRAIN})
    needs_labels: ClassVar[bool] = False
    """Whether the probe is trained on labels."""

    @abstractmethod
    def learn(self, run: Run[P], features: Callable[[], Features]) -> list[Learnt]:
        """A probe for each seed."""

    @abstractmethod
    def score(self, painted: Sequence[Painted], run: Run[P]) -> Scored:
        """Rows of what each seed's probe painted, cluster → class if ids are clusters, and what the record says."""

    @abstractmethod
    def solver(self, run: Run[P]) -> dict[str, Any]:
        """What trained the probe, for the record."""

    def settle(self, preset: P, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]) -> P:
        """As it is; the CRF needs its library."""
        if preset.crf:
            dense_crf.require()
        return preset

    def splits(self, preset: P, evaluated: str) -> dict[str, str]:
        """The one that the probe is trained on."""
        return {TRAIN: preset.train}

    def check_split(self, part: str, preset: P, found: Samples, evaluated: str, warn: Warn) -> None:
        """Only a probe that is trained on labels needs them."""
        if self.needs_labels:
            super().check_split(part, preset, found, evaluated, warn)

    def measure(self, run: Run[P]) -> Result:
        """Train the probe, paint every image with it, and refine what was painted if asked to."""
        features = functools.cache(run.pixels)
        learnt = self.learn(run, lambda: _unwatched(features()))
        probes = [one.probe for one in learnt]
        tokens = tokens_of(run, run.samples, features, "observing", run.preset.stored)
        painted = _paint(run, tokens, probes)
        require_labelled_pixels(any(len(table) for table in painted[0].counts), run.samples)
        rows, mappings, detail = self.score(painted, run)
        refined = [_refine(run, tokens, probe) for probe in probes] if run.preset.crf else []
        extra = {}
        if refined:
            extra["mIoU_without_crf"] = [one["mIoU"] for one in seed_metrics(rows, run.preset.absent)]
            painted = [one.painted for one in refined]
            rows, mappings, detail = self.score(painted, run)
            detail["crf"] = dense_crf.RECIPE | {"image": run.preset.crf_image}
        detail["probe"] = self._said(run, learnt)
        return shared_by_pixel.result(
            run,
            rows,
            painted[0],
            self.solver(run),
            extra=extra,
            mappings=mappings,
            detail=detail,
            clusters=functools.partial(_clusters, painted[0], run, mappings) if mappings else None,
            paint=functools.partial(_maps, run, tokens, probes, refined, mappings),
        )

    def cached(self, run: Run[P]) -> str:
        """How many images' code is kept."""
        known = kept_images(run, run.samples, run.preset.stored)
        return f"the code of {known} of {len(run.samples)} images is cached"

    def forwards(self, run: Run[P]) -> int:
        """The images whose code is not kept, those of training once and those evaluated twice where mirrored."""
        left = self._train_forwards(run)
        return left + unseen(run, run.samples, run.preset.stored) * (2 if run.preset.mirror else 1)

    def _train_forwards(self, run: Run[P]) -> int:
        return unseen(training.train_run(run), self._drawn(run), run.preset.stored)

    def kept_bytes(self, run: Run[P], width: int) -> int:
        """The code of every image."""
        stored, train = run.preset.stored, (run.preset.train_input,) * 2
        evaluated = kept_bytes(width, cells_of(run, run.preset.input), len(run.samples), stored)
        return evaluated + kept_bytes(width, cells_of(run, train), len(self._drawn(run)), stored)

    def _train_samples(self, run: Run[P]) -> Samples:
        return run.plan.others[TRAIN].first(run.preset.train_images)

    def _drawn(self, run: Run[P]) -> Samples:
        """The training images that are seen."""
        return self._train_samples(run)

    def _said(self, run: Run[P], learnt: Sequence[Learnt]) -> dict[str, Any]:
        """What the record says of the probes."""
        said: dict[str, Any] = {
            "on": run.subject.pixels_are(run.preset.features),
            "train": {"split": run.preset.train, "images": len(self._train_samples(run))},
            "train_input": list(training.train_run(run).preset.input),
        }
        if any(len(one.losses) for one in learnt):
            said["loss"] = [{"first": float(one.losses[0]), "last": float(one.losses[-1])} for one in learnt]
        return said


class _Matched(_Stego[M], Generic[M]):
    """A probe that gives clusters."""

    learns_without_labels = frozenset({TRAIN})

    def score(self, painted: Sequence[Painted], run: Run[M]) -> Scored:
        """Clusters are matched to classes on all pixels."""
        return score(painted, run.preset, run.num_classes)


class StegoCluster(_Matched[StegoClusterPreset]):
    """Learnt centroids."""

    def learn(self, run: Run[StegoClusterPreset], features: Callable[[], Features]) -> list[Learnt]:
        """As many as there are classes, and the extra ones."""
        return training.train(run, self._train_samples(run), "cosine", features, run.num_classes)

    def solver(self, run: Run[StegoClusterPreset]) -> dict[str, Any]:
        """torch's Adam."""
        return _adam(run)

    def _drawn(self, run: Run[StegoClusterPreset]) -> Samples:
        return training.seen_by(run, self._train_samples(run))

    def _train_forwards(self, run: Run[StegoClusterPreset]) -> int:
        return _unless_trained(run, self._train_samples(run), "cosine", super()._train_forwards)


class StegoKmeans(_Matched[StegoKmeansPreset]):
    """K-means centres."""

    def learn(self, run: Run[StegoKmeansPreset], features: Callable[[], Features]) -> list[Learnt]:
        """On normalised cells of the training images."""
        samples = self._train_samples(run)
        clusters = run.num_classes + run.preset.extra_clusters
        kmeans.require_enough(len(samples) * run.preset.pixels, clusters, "cells", "Train on more images.")
        return training.cluster(run, samples, features)

    def solver(self, run: Run[StegoKmeansPreset]) -> dict[str, Any]:
        """faiss."""
        cells = run.preset.pixels * len(self._train_samples(run))
        gpu = kmeans.use_gpu(run.engine.device)
        return kmeans.describe(run.preset.resolved(), cells, gpu) | {"algorithm": "Lloyd, spherical"}


class StegoLinear(_Stego[StegoLinearPreset]):
    """A 1×1 convolution."""

    needs_labels = True

    def learn(self, run: Run[StegoLinearPreset], features: Callable[[], Features]) -> list[Learnt]:
        """On labels of the training images."""
        return training.train(run, self._train_samples(run), "linear", features, run.num_classes)

    def score(self, painted: Sequence[Painted], run: Run[StegoLinearPreset]) -> Scored:
        """Ids are classes."""
        return given_classes(painted, run.num_classes), (), {}

    def solver(self, run: Run[StegoLinearPreset]) -> dict[str, Any]:
        """torch's Adam."""
        return _adam(run)

    def _drawn(self, run: Run[StegoLinearPreset]) -> Samples:
        return training.seen_by(run, self._train_samples(run))

    def _train_forwards(self, run: Run[StegoLinearPreset]) -> int:
        return _unless_trained(run, self._train_samples(run), "linear", super()._train_forwards)


def _unwatched(read: Read) -> Features:
    """What is evaluated has its shape told in the record, and training images are of another size."""
    return read.read if isinstance(read, Watched) else read


def _unless_trained(run: Run[Any], samples: Samples, kind: str, left: Callable[[Run[Any]], int]) -> int:
    done = not run.fresh and training.cached(run, samples, kind) == len(run.plan.seeds)
    return 0 if done else left(run)


def _adam(run: Run[Any]) -> dict[str, Any]:
    return {"library": "torch", "version": torch_version(), "device": run.engine.device, "algorithm": "Adam"}


def _paint(run: Run[P], tokens: Tokens, probes: Sequence[Probe]) -> list[Painted]:
    """What each seed's probe painted, counted at the input size."""
    device = run.engine.device
    return count(
        run,
        tokens,
        lambda: lambda image: [probed(probe, image, device) for probe in probes],
        _label,
        {"probes": [probe.digest for probe in probes], "device": device.partition(":")[0]},
        "painting",
    )


def _refine(run: Run[P], tokens: Tokens, probe: Probe) -> Refined:
    """What the CRF makes of one seed's probe."""
    device = run.engine.device
    return shared_by_crf.refine(
        run,
        tokens,
        lambda: lambda image: probabilities(probe, image, device),
        _label,
        {"probe": probe.digest},
        run.preset.crf_image,
    )


def _label(image: ImageTokens) -> Map | None:
    return image.label


def _clusters(painted: Painted, run: Run[Any], mappings: tuple[ClusterClasses, ...]) -> Clusters:
    """The clusters of the first seed."""
    return cluster_members.of_pixels(painted.rows(), run.num_classes + run.preset.extra_clusters, mappings[0])


def _maps(
    run: Run[Any],
    tokens: Tokens,
    probes: Sequence[Probe],
    refined: Sequence[Refined],
    mappings: tuple[ClusterClasses, ...],
    seed: int,
    chosen: Sequence[int] | None,
) -> Iterator[Map]:
    """One seed's maps of classes at the images' own size; void where the input did not reach."""
    void = run.card.labels.ignore
    outside = len(mappings[seed]) if mappings else void  # one more id than there are clusters
    if refined:
        maps = refined[seed].own_maps(chosen, outside)
    else:
        device = run.engine.device
        maps = paint_again(tokens, lambda image: probed(probes[seed], image, device), chosen, outside)
    if not mappings:
        return maps
    return paint_clusters(maps, np.append(mappings[seed], void), void)
