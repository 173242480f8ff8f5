"""Solver gap: what our solver and the authors' come to, over many seeds on the same observations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import numpy as np

from bench.base.files import load_npz, save_npz
from bench.cards.presets import FIRST_SEED
from bench.protocols.base import Run
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.scoring import Scored
from bench.scoring.cluster_rows import ClusterRows
from bench.scoring.confusion_rows import ConfusionRows, Sums

GAP_SEEDS = 20
"""Seeds over which our solver is held against the authors'."""
_LARGEST = 1 << 26
"""Bytes of the sums, at most."""
Score = Callable[[Run[ClusteringPreset]], Scored]
"""What scores the run's observations by its plan."""


def measured(run: Run[ClusteringPreset], manifest: str, folder: Path, score: Score) -> Sums:
    """2×20×3C sums (`ConfusionRows.sums`) of our solver and of the authors', over 20 seeds; kept in `folder`.

    How far the two means of mIoU lie apart is `bench.scoring.metrics.solver_distance`.
    """
    plan = run.plan
    digest = hashlib.sha256(f"{plan.fingerprint}|{manifest}".encode()).hexdigest()[:16]
    known = folder / f"solver-sums-{digest}.npz"
    sums = (load_npz(known, most=_LARGEST) or {}).get("sums")
    if sums is not None and sums.shape == (2, GAP_SEEDS, 3 * run.num_classes) and sums.dtype == np.int64:
        return sums
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + GAP_SEEDS))
    presets = (run.preset, run.preset.model_copy(update={"solver": "minibatch"}))
    scored = [score(replace(run, plan=replace(plan, preset=preset, seeds=seeds))).rows for preset in presets]
    sums = np.stack([[rows.sums(seed) for seed in range(GAP_SEEDS)] for rows in scored if _labelled(rows)])
    save_npz(known, {"sums": sums})
    return sums


def _labelled(rows: ConfusionRows | ClusterRows) -> TypeGuard[ConfusionRows]:
    return isinstance(rows, ConfusionRows)
