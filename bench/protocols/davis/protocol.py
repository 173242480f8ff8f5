"""The protocol `davis`, from a plan to J and F, and to the masks that were predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.base.environment import torch_version
from bench.base.errors import BadInput
from bench.cards.datasets import DatasetCard
from bench.networks.subject import Subject
from bench.passes.cache import ShardStore
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.davis.preset import DavisPreset
from bench.protocols.davis.sequence_pass import Tracks, masks, track, tracking_store
from bench.scoring.davis_figures import LONGEST, METRICS


class Davis(Protocol[DavisPreset]):
    """Label propagation."""

    batch_size = 1  # what the network computes must not depend on which frames happen to share a batch

    def settle(self, preset: DavisPreset, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]) -> DavisPreset:
        """The preset with its features settled: the embedding where the network has one, unless told otherwise."""
        if preset.features == "embedding" and not subject.has_embedding:
            raise BadInput(f"{subject.id} is {subject.what}: it has no embedding", "Use another of its layers.")
        other = "decoder" if subject.architecture is not None else subject.layer or "last"
        kind = preset.features or ("embedding" if subject.has_embedding else other)
        return preset.model_copy(update={"features": kind})

    def measure(self, run: Run[DavisPreset]) -> Result:
        """Carry objects through every sequence."""
        store, layer = _store_of(run), run.preset.features
        tracks = track(run.features, run.samples, run.preset, store, run.on("propagating"), fresh=run.fresh)
        if undefined := [name for name in METRICS if name not in tracks.rows.figures({})]:
            run.warn(f"{' and '.join(undefined)} left out: a sequence has more than {LONGEST} evaluated frames")
        library = {"library": "torch", "version": torch_version(), "device": run.engine.device}
        return Result(
            tracks.rows,
            tracks.manifest,
            library | {"algorithm": "label propagation"},
            _observed(tracks, len(run.samples)),
            detail={"features": {"kind": layer, "are": run.subject.features_are(layer)}},
            images_per_second=tracks.meta.get("images_per_second"),
            paint=lambda seed, chosen: masks(run.samples, store, chosen),
        )

    def forwards(self, run: Run[DavisPreset]) -> int:
        """The frames of sequences that are not cached."""
        known = 0 if run.fresh else len(_store_of(run).known(run.samples.keys))
        return round(run.samples.images * (1 - known / len(run.samples)))

    def kept_bytes(self, run: Run[DavisPreset], width: int) -> int:
        """A mask of each frame."""
        return 2000 * run.samples.images

    def cached(self, run: Run[DavisPreset]) -> str:
        """How many sequences."""
        return f"{len(_store_of(run).known(run.samples.keys))} of {len(run.samples)} sequences are cached"


def _store_of(run: Run[DavisPreset]) -> ShardStore:
    key, precision = run.subject.key, run.settings.precision
    return tracking_store(run.cache, key, run.samples, run.preset, precision)


def _observed(tracks: Tracks, sequences: int) -> dict[str, object]:
    return {
        "objects": len(tracks.rows.objects()),
        "evaluated": len(tracks.rows.frame),
        "from_cache": sequences - tracks.meta["fresh"],
        "device": tracks.meta.get("device"),
    }
