"""Solver gap: the difference between our solver and the authors', over many seeds on the same observations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.base.own_files import load_json, save_json
from bench.cards.presets import FIRST_SEED
from bench.protocols.base import Run
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.scoring import Scored

GAP_SEEDS = 20
"""Seeds over which our solver is held against the authors'."""
Score = Callable[[Run[ClusteringPreset]], Scored]
"""What scores the run's observations by its plan."""


def measured(run: Run[ClusteringPreset], manifest: str, folder: Path, score: Score) -> float:
    """|mean mIoU of our solver − of the authors'| over 20 seeds, in points; kept in `folder`."""
    plan = run.plan
    digest = hashlib.sha256(f"{plan.fingerprint}|{manifest}".encode()).hexdigest()[:16]
    known = folder / f"solver-gap-{digest}-v2.json"
    if (found := _known(known)) is not None:
        return found
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + GAP_SEEDS))
    presets = (run.preset, run.preset.model_copy(update={"solver": "minibatch"}))
    runs = (replace(run, plan=replace(plan, preset=preset, seeds=seeds)) for preset in presets)
    means = [float(np.mean(score(each).rows.figures(run.preset.resolved())["mIoU"])) for each in runs]
    gap = abs(means[0] - means[1])
    save_json(known, {"gap": gap})
    return gap


def _known(path: Path) -> float | None:
    """The difference that was kept; None where it is absent or damaged."""
    found = load_json(path)
    gap = None if found is None else found.get("gap")
    return gap if isinstance(gap, float) else None
