"""The protocol `saliency`, from a plan to the counts of every image, and to the maps."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bench.base.errors import Warn
from bench.base.sample_columns import Item
from bench.cards.datasets import DatasetCard
from bench.networks.subject import Subject
from bench.passes.image_pass import run_pass
from bench.protocols import shared_by_foreground as shared
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.saliency.preset import MapsPreset
from bench.protocols.saliency.scoring import count_maps, counts_store, manifest, rows_of
from bench.scoring.saliency_figures import undefined_images
from bench.scoring.saliency_rows import SaliencyRows


class Saliency(Protocol[MapsPreset]):
    """Foreground against annotated masks."""

    batch_size = 1  # images have sizes of their own

    def require_model(self, preset: MapsPreset, subject: Subject) -> None:
        """Raises BadInput for a saliency head that is not there."""
        shared.require_model(preset, subject)

    def settle(self, preset: MapsPreset, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]) -> MapsPreset:
        """The preset with its layer, and what its rules decide."""
        return preset.model_copy(update=preset.settled() | shared.settled(preset, subject))

    def measure(self, run: Run[MapsPreset]) -> Result:
        """Find every image's foreground, and count it."""
        found, meta = shared.find(run)
        store = counts_store(run.cache, shared.recipe_of(run) | {"labels": _decoding(run)}, run.preset)
        digests = found["image"]

        def make(todo: Sequence[int]) -> Iterator[Item]:
            pictures = shared.pictures(run, todo)
            maps = (
                (run.samples.entries[i], picture.astype(np.float32) / np.float32(255), digests[i].tobytes())
                for i, picture in zip(todo, pictures, strict=True)
            )
            return count_maps(maps, run.samples, run.preset, run.engine.workers)

        counted, _ = run_pass(make, run.samples, store, run.on("scoring"), fresh=run.fresh)
        rows = rows_of(run.samples, counted)
        say_undefined(rows, run.preset, run.warn)
        return Result(
            rows,
            manifest(run.samples, counted),
            shared.solver(run),
            shared.about(run, meta),
            detail=shared.layer(run),
            images_per_second=meta.get("images_per_second"),
            paint=functools.partial(shared.paint, run),
        )

    def forwards(self, run: Run[MapsPreset]) -> int:
        """The images that are not cached."""
        return shared.unseen(run)

    def kept_bytes(self, run: Run[MapsPreset], width: int) -> int:
        """A picture of each."""
        return shared.kept_bytes(run)

    def cached(self, run: Run[MapsPreset]) -> str:
        """How many images."""
        return shared.cached(run)


def _decoding(run: Run[MapsPreset]) -> dict[str, Any]:
    """How annotations are read."""
    recipe = run.recipe(run.samples)
    return {key: recipe[key] for key in ("labels", "colours", "classes", "ignore") if key in recipe}


def say_undefined(rows: SaliencyRows, preset: MapsPreset, warn: Warn) -> None:
    """Say what an image without any foreground does to TokenCut's mean IoU."""
    count = undefined_images(rows.stack)
    if not count or preset.rules != "tokencut":
        return
    images = f"{count} image{'s have' if count > 1 else ' has'} neither annotated nor predicted foreground"
    if preset.undefined == "carry":
        warn(f"iou left out: {images}, and TokenCut's mean is then undefined; --set undefined=skip leaves them out")
    else:
        warn(f"{images}: left out of the mean IoU")
