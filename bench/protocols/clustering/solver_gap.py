"""Solver gap: the difference between our solver and the authors', over many seeds on the same observations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.base.files import write_with
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
    known = folder / f"solver-gap-{digest}.json"
    try:
        return float(json.loads(known.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + GAP_SEEDS))
    presets = (run.preset, run.preset.model_copy(update={"solver": "minibatch"}))
    runs = (replace(run, plan=replace(plan, preset=preset, seeds=seeds)) for preset in presets)
    means = [float(np.mean(score(each).rows.figures(run.preset.resolved())["mIoU"])) for each in runs]
    gap = abs(means[0] - means[1])
    write_with(known, lambda stream: stream.write(json.dumps(gap).encode()))
    return gap
