"""Measure on video: from a plan to J and F, and to the masks that were predicted."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from bench.base.errors import Warn
from bench.base.files import cache_folder
from bench.cards.presets import DavisPreset
from bench.passes.engine import Engine
from bench.passes.shards import ShardStore
from bench.protocols.davis.tracking import Tracks, masks, track, tracking_store
from bench.runs.describe import Measured
from bench.runs.plan import Plan, Settings, is_fresh, stage
from bench.runs.predictions import Maps
from bench.scoring.j_and_f import LONGEST
from bench.scoring.video_figures import METRICS, Tracked


def measure_video(
    plan: Plan, preset: DavisPreset, engine: Engine, settings: Settings, warn: Warn
) -> tuple[Measured, Maps]:
    """Carry the protocol out; also returns how to paint its predictions."""
    engine.batch_size = 1  # and the record says so
    subject, store = plan.subject, store_of(plan, preset, settings)
    kind = subject.embedding if preset.features == "embedding" else subject.features
    network = functools.partial(kind, engine.device)
    engine = replace(engine, progress=stage(settings, "propagating"))
    tracks = track(network, plan.samples, preset, store, engine, fresh=is_fresh(plan, settings))
    are = "the pixel embedding" if preset.features == "embedding" else subject.features_are
    scored = Tracked(tracks.rows, {"features": {"kind": preset.features, "are": are}})
    if undefined := [name for name in METRICS if name not in scored.figures()["metrics"]]:
        warn(f"{' and '.join(undefined)} left out: a sequence has more than {LONGEST} evaluated frames")
    algorithm = {"library": "torch", "version": torch.__version__, "device": str(engine.device)}
    measured = Measured(
        scored,
        tracks.manifest,
        _observed(tracks, len(plan.samples)),
        algorithm | {"algorithm": "label propagation"},
        tracks.meta.get("images_per_second"),
    )
    return measured, lambda seed, chosen=None: masks(plan.samples, store, chosen)


def store_of(plan: Plan, preset: DavisPreset, settings: Settings) -> ShardStore:
    """Where the sequences of this plan are cached."""
    weights = plan.subject.weights_sha256
    return tracking_store(cache_folder(settings.cache), weights, plan.samples, preset, settings.precision)


def _observed(tracks: Tracks, sequences: int) -> dict[str, object]:
    return {
        "objects": len(tracks.rows.objects()),
        "evaluated": len(tracks.rows.frame),
        "from_cache": sequences - tracks.meta["fresh"],
        "device": tracks.meta.get("device"),
    }
