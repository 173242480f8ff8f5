"""The protocol `knn`, from a plan to its result."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.base.parallel import told
from bench.data.samples import require_labelled_pixels
from bench.passes.tokens import ImageTokens
from bench.protocols import shared_by_patch, shared_by_pixel, shared_by_token
from bench.protocols.base import Result, Run
from bench.protocols.knn import scoring
from bench.protocols.knn.preset import KnnPreset
from bench.protocols.knn.scoring import Ids, Setting, settings_of
from bench.protocols.prediction_maps import Map
from bench.protocols.shared_by_patch import Bank, BankProtocol, Material, Order
from bench.scoring import kmeans
from bench.scoring.id_counts import given_classes
from bench.scoring.neighbours import Scaling

_ENTRIES = ("neighbours", "distances", "every", "void_votes", "void_order", "void_classes", "standardise", "absent")
"""Of the preset, what decides the choice of a setting beside the tokens."""


class Knn(BankProtocol[KnnPreset]):
    """The nearest labelled patches vote on every pixel."""

    def measure(self, run: Run[KnnPreset]) -> Result:
        """Choose a setting, and let the whole bank vote by it."""
        features = functools.cache(run.features)
        work = _Work(run, shared_by_patch.material_of(run, features))
        learnt = work.learnt()
        setting = next(one for one in settings_of(run.preset) if one.name == learnt["chosen"])
        tokens = shared_by_token.tokens_of(run, run.samples, features, "observing")

        def paint_all(images: Iterator[ImageTokens]) -> Iterator[tuple[ImageTokens, Sequence[Map]]]:
            return scoring.paint(images, work.whole, [setting], run.preset, gpu=work.gpu)

        recipe = {"bank": work.digest, "setting": setting.name}
        label = functools.partial(_label, order=shared_by_patch.order_of(run))
        painted = shared_by_token.count_stream(run, tokens, paint_all, label, recipe, "voting")
        require_labelled_pixels(any(len(table) for one in painted for table in one.counts), run.samples)

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            images = iter(tokens) if chosen is None else tokens.of(chosen)
            void = run.card.labels.ignore
            for image, (found,) in paint_all(images):
                yield image.placed.to_own(_shown(found, run.num_classes, void), void)

        detail = shared_by_patch.describe(run, work.material, learnt)
        detail["pixels"] = {"of": run.subject.features_are(run.preset.features)}
        rows = given_classes(painted, run.num_classes)
        return shared_by_pixel.result(run, rows, painted[0], _solver(setting, work.gpu), detail=detail, paint=paint)


def _label(image: ImageTokens, order: Order) -> Ids | None:
    return order.counted(image.label)


def _shown(found: Ids, classes: int, void: int) -> Map:
    """A map with the ignore id where void was predicted."""
    return np.where(found == classes, void, found).astype(np.uint16)


def _solver(setting: Setting, gpu: bool) -> dict[str, Any]:
    return kmeans.exact_search(gpu=gpu) | {"algorithm": f"exact search, {setting.neighbours} by {setting.distance}"}


class _Work:
    """What the steps of one run share; banks are built when they are first needed."""

    def __init__(self, run: Run[KnnPreset], material: Material) -> None:
        self.run, self.material = run, material
        self.gpu = kmeans.use_gpu(run.engine.device)
        preset = run.preset.model_dump(mode="json")
        self.digest = material.digest({"knn": {key: preset[key] for key in _ENTRIES}, "classes": run.num_classes})

    @functools.cached_property
    def scaling(self) -> Scaling | None:
        """Of the bank's features."""
        return shared_by_patch.scaling_of(self.material, self.run.preset)

    def bank(self, parts: Sequence[shared_by_patch.Part]) -> Bank:
        """Of these images."""
        run = self.run
        order = shared_by_patch.order_of(run)
        return Bank(parts, order, self.scaling, run.cache, every=run.preset.every, void_votes=run.preset.void_votes)

    @functools.cached_property
    def whole(self) -> Bank:
        """That which votes in the end."""
        return self.bank(self.material.parts)

    def learnt(self) -> dict[str, Any]:
        """Every setting's mIoU, the chosen one, and the size of the bank, from the cache where it is there."""
        return shared_by_patch.remembered(self.run, "knn", self.digest, self._choose)

    def _choose(self) -> dict[str, Any]:
        settings, preset = settings_of(self.run.preset), self.run.preset
        first = self.bank([self.material.train])
        scoring.require_enough(first, max(preset.neighbours))
        images, stage = self.material.val.images(), self.run.stage("choosing a setting")
        watched = told(images, len(self.material.val.places), stage)
        found = scoring.figures(watched, first, settings, preset, gpu=self.gpu)
        return {"figures": found, "chosen": shared_by_patch.chosen_by_miou(found), "entries": len(self.whole)}
