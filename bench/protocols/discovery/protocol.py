"""The protocol `discovery`, from a plan to the best IoU of every image's box."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from bench.base.errors import Warn
from bench.cards.datasets import DatasetCard
from bench.data.annotated_boxes import manifest_of_boxes, require_boxes
from bench.data.boxes import has_boxes, read_boxes
from bench.data.samples import Samples
from bench.networks.subject import Subject
from bench.protocols import shared_by_foreground as shared
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.discovery.preset import DiscoveryPreset
from bench.protocols.discovery.scoring import about, manifest, rows_of


class Discovery(Protocol[DiscoveryPreset]):
    """One box of an image against annotated boxes."""

    batch_size = 1  # images have sizes of their own

    def labelled(self, samples: Samples) -> bool:
        """Boxes are its labels."""
        return has_boxes(samples)

    def evaluated(self, samples: Samples, warn: Warn) -> Samples:
        """All of them: label maps have no part in it."""
        return samples

    def require_model(self, preset: DiscoveryPreset, subject: Subject) -> None:
        """Raises BadInput for a saliency head that is not there."""
        shared.require_model(preset, subject)

    def settle(
        self, preset: DiscoveryPreset, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]
    ) -> DiscoveryPreset:
        """The preset with its layer."""
        return preset.model_copy(update=shared.settled(preset, subject))

    def check(self, preset: DiscoveryPreset, samples: Samples, there_are: int, *, grouped: bool) -> None:
        """Raises BadInput for samples without boxes."""
        require_boxes(samples)

    def measure(self, run: Run[DiscoveryPreset]) -> Result:
        """Find every image's box, and hold it against the annotated ones."""
        annotated = read_boxes(run.samples)
        found, meta = shared.find(run)
        boxes = [own[0] if len(own) else None for own in found["box"]]
        rows = rows_of(run.samples, boxes, annotated, hard=run.preset.hard)
        return Result(
            rows,
            manifest(run.samples, (image.tobytes() for image in found["image"])),
            shared.solver(run),
            shared.about(run, meta) | about(rows),
            detail=shared.layer(run) | {"boxes": {"manifest": manifest_of_boxes(run.samples)}},
            images_per_second=meta.get("images_per_second"),
            paint=functools.partial(shared.paint, run),
        )

    def forwards(self, run: Run[DiscoveryPreset]) -> int:
        """The images that are not cached."""
        return shared.unseen(run)

    def kept_bytes(self, run: Run[DiscoveryPreset], width: int) -> int:
        """A picture of each."""
        return shared.kept_bytes(run)

    def cached(self, run: Run[DiscoveryPreset]) -> str:
        """How many images."""
        return shared.cached(run)
