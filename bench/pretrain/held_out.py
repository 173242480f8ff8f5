"""Held out: evaluates clustering on a part of the split that is not trained on, during training."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from bench.base.errors import BadInput, WrongName
from bench.base.temporaries import scratch_folder
from bench.cards.presets import FIRST_SEED
from bench.data.samples import Samples
from bench.networks.architectures import fold_batch_norm
from bench.passes.cache import ShardStore
from bench.passes.engine import Engine
from bench.passes.observation_pass import observe
from bench.passes.observations import MASK
from bench.protocols.clustering import scoring as clustering
from bench.protocols.clustering.preset import ClusteringPreset
from bench.scoring.kmeans import require_enough

SHARE = 5
"""One part in so many is held out: the last of the split's list."""


def hold_out(samples: Samples) -> tuple[Samples, Samples]:
    """The samples to train on, and the last fifth, which training then never sees.

    Raises WrongName where that fifth has no labels, BadInput where it is too small to be clustered.
    """
    preset = samples.card.protocols.preset("clustering")
    kept = len(samples) - len(samples) // SHARE
    held_out = replace(samples, entries=samples.entries[kept:], keys=samples.keys[kept:], cut=True)
    if preset is None or not (held_out or samples).labelled:
        raise WrongName(
            f"{samples.card.id} {samples.split} has no labels in its last fifth, or no preset for clustering, so "
            "nothing can be evaluated",
            "Leave --eval-every out.",
        )
    require_enough(len(held_out), dict(preset)["clusters"])
    return samples.first(kept), held_out


def clustering_miou(network: nn.Module, samples: Samples, engine: Engine) -> float | None:
    """mIoU in percent by the data set's clustering preset, mean over its seeds; the network stays as it is.

    None, with a warning, for a network that cannot be scored yet because nothing is salient.
    """
    preset = ClusteringPreset.model_validate(dict(samples.card.protocols.preset("clustering") or ()))
    frozen = fold_batch_norm(copy.deepcopy(network).eval().requires_grad_(False))
    with scratch_folder("held-out") as folder:
        try:
            observations = observe(lambda: frozen, samples, preset, ShardStore(folder, MASK), engine)
        except BadInput as error:
            engine.warn(f"held-out evaluation: {error.problem}")
            return None
    seeds = range(FIRST_SEED, FIRST_SEED + preset.seeds)
    scored = clustering.score(observations, preset.resolved(), seeds, len(samples.card.classes), warn=engine.warn)
    values = scored.rows.figures(preset.resolved())["mIoU"]
    return sum(values) / len(values)
