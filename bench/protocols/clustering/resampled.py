"""Resampled: the sums of a run's subsamples, clustered again, which its rows keep; see `bench.scoring.subsamples`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from bench.base.errors import BadInput
from bench.base.own_files import load_arrays, save_arrays
from bench.passes.observations import Observations
from bench.protocols.base import Run
from bench.protocols.clustering import scoring
from bench.protocols.clustering.preset import ClusteringPreset
from bench.scoring import kmeans
from bench.scoring.confusion_rows import Sums
from bench.scoring.subsamples import MOST_SUMS, SEEDS, SUBSAMPLES, obstacle

VERSION = 1
"""Raised whenever the same observations would give other sums."""


def sums_of(run: Run[ClusteringPreset], observations: Observations, folder: Path) -> Sums | None:
    """B×S×3C sums (`ConfusionRows.subsamples`) of this run's subsamples; kept in `folder`.

    None where the clusters are not of the evaluated images, where these are too few or too many
    (`bench.scoring.subsamples.obstacle`), or where a subsample lacks what makes clusters, as different images.
    """
    preset = run.preset
    seeds = seeds_of(run.plan.seeds)
    shape = (SUBSAMPLES, len(seeds), 3 * run.num_classes)
    if preset.fit is not None or obstacle(len(observations), preset.clusters) or np.prod(shape) > MOST_SUMS:
        return None
    gpu = kmeans.use_gpu(run.engine.device)
    text = f"{run.plan.fingerprint}|{observations.manifest}|{seeds}|{gpu}|{VERSION}"
    known = folder / f"subsamples-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    sums = None if run.fresh else (load_arrays(known) or {}).get("sums")
    if sums is not None and sums.shape == shape and sums.dtype == np.int64:
        return sums
    step = run.stage("clustering subsamples")
    try:
        sums = scoring.resampled_sums(observations, preset.resolved(), seeds, run.num_classes, gpu=gpu, progress=step)
    except BadInput:  # of a part of the images: the figure of all of them stands
        return None
    save_arrays(known, {"sums": sums})
    return sums


def seeds_of(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """The seeds under which subsamples are clustered: at least two, to tell seeds from images."""
    return seeds[:SEEDS] if len(seeds) > 1 else (seeds[0], (seeds[0] + 1) % (1 << 31))
