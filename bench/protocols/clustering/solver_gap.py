"""Gap: how far our solver is from the authors', over many seeds on the same observations."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np

from bench.base.files import write_with
from bench.cards.presets import FIRST_SEED, ClusteringPreset
from bench.passes.engine import Engine
from bench.passes.observations import Observations
from bench.protocols.base import Scored
from bench.records import published
from bench.records.record import Record
from bench.runs.measure import look, score_observations, store_of
from bench.runs.plan import Plan, Settings
from bench.scoring.metrics import seed_metrics

GAP_SEEDS = 20
"""Seeds over which our solver is held against the authors'."""


def solver_gap(made: Record, plan: Plan, engine: Engine, settings: Settings) -> float | None:
    """|mean mIoU of our solver − of the authors'| over 20 seeds on these observations, in points.

    0 when the solver is theirs or nothing is clustered; measured only where there is a published figure to hold
    the run against.
    """
    if not isinstance(plan.preset, ClusteringPreset) or plan.preset.solver == "minibatch":
        return 0.0
    figures = published.answers_to(made)
    if made["dataset"]["limited"] or not plan.published_recipe or not any(f.comparable for f in figures.values()):
        return None
    digest = hashlib.sha256(f"{plan.fingerprint}|{made['dataset']['manifest']}".encode()).hexdigest()[:16]
    known = store_of(plan, plan.samples, settings).folder / f"solver-gap-{digest}.json"
    try:
        return float(json.loads(known.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass
    # what `measure` has just seen; --fresh asks for one new pass, not for two
    observations = look(plan, plan.samples, plan.preset, engine, replace(settings, fresh=False))
    theirs = plan.preset.model_copy(update={"solver": "minibatch"})
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + GAP_SEEDS))
    plans = (replace(plan, preset=preset, seeds=seeds) for preset in (plan.preset, theirs))
    means = [_mean_miou(observations, each, engine, settings) for each in plans]
    gap = abs(means[0] - means[1])
    write_with(known, lambda stream: stream.write(json.dumps(gap).encode()))
    return gap


def _mean_miou(observations: Observations, plan: Plan, engine: Engine, settings: Settings) -> float:
    assert isinstance(plan.preset, ClusteringPreset)
    scored = score_observations(plan, observations, engine, replace(settings, fresh=False), lambda message: None)
    assert isinstance(scored, Scored)  # what has a published figure has labels
    return float(np.mean([metrics["mIoU"] for metrics in seed_metrics(scored.rows, plan.preset.absent)]))
