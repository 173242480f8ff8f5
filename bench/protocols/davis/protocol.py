"""The protocol `davis`, from a plan to J and F, and to the masks that were predicted."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from bench.base.environment import torch_version
from bench.base.errors import BadInput
from bench.cards.datasets import DatasetCard
from bench.networks.find_model import Subject
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
            raise BadInput(f"{subject.id} is {subject.what}: it has no embedding", "Use --set features=decoder.")
        kind = preset.features or ("embedding" if subject.has_embedding else "decoder")
        return preset.model_copy(update={"features": kind})

    def measure(self, run: Run[DavisPreset]) -> Result:
        """Carry objects through every sequence."""
        store, by_embedding = _store_of(run), run.preset.features == "embedding"
        network = functools.partial(run.subject.embedding if by_embedding else run.subject.features, run.engine.device)
        tracks = track(network, run.samples, run.preset, store, run.on("propagating"), fresh=run.fresh)
        if undefined := [name for name in METRICS if name not in tracks.rows.figures({})]:
            run.warn(f"{' and '.join(undefined)} left out: a sequence has more than {LONGEST} evaluated frames")
        are = "the pixel embedding" if by_embedding else run.subject.features_are
        library = {"library": "torch", "version": torch_version(), "device": run.engine.device}
        return Result(
            tracks.rows,
            tracks.manifest,
            library | {"algorithm": "label propagation"},
            _observed(tracks, len(run.samples)),
            detail={"features": {"kind": run.preset.features, "are": are}},
            images_per_second=tracks.meta.get("images_per_second"),
            paint=lambda seed, chosen: masks(run.samples, store, chosen),
        )

    def cached(self, run: Run[DavisPreset]) -> str:
        """How many sequences."""
        return f"{len(_store_of(run).known(run.samples.keys))} of {len(run.samples)} sequences are cached"


def _store_of(run: Run[DavisPreset]) -> ShardStore:
    weights, precision = run.subject.weights_sha256, run.settings.precision
    return tracking_store(run.cache, weights, run.samples, run.preset, precision)


def _observed(tracks: Tracks, sequences: int) -> dict[str, object]:
    return {
        "objects": len(tracks.rows.objects()),
        "evaluated": len(tracks.rows.frame),
        "from_cache": sequences - tracks.meta["fresh"],
        "device": tracks.meta.get("device"),
    }
