"""The protocol `clustering`, from a plan to its result."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput, Warn, WrongName
from bench.data.samples import Samples
from bench.passes.observations import Observations
from bench.protocols import shared_by_mask
from bench.protocols.base import Plan, Protocol, Result, Run
from bench.protocols.clustering import resampled, scoring, solver_gap
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.scoring import Scored
from bench.protocols.shared_by_mask import about, about_split, look, look_at_evaluated, painter
from bench.scoring import cluster_members, kmeans
from bench.scoring.cached_centres import fit_all
from bench.scoring.cluster_members import Clusters
from bench.scoring.confusion_rows import ConfusionRows, Sums
from bench.scoring.metrics import solver_distance
from bench.scoring.whitening import most_components, whiten

CENTRES_VERSION = 1
"""Raised whenever the same observations would give other centres."""
FIT, MATCH = "fit", "match"
"""Parts of other splits: the one whose prototypes are clustered, and the one on whose labels clusters are matched."""


class Clustering(Protocol[ClusteringPreset]):
    """K-means on one prototype per image."""

    learns_from_evaluated = True
    learns_without_labels = frozenset({FIT})

    def splits(self, preset: ClusteringPreset, evaluated: str) -> dict[str, str]:
        """The splits to fit and to match on, where they are not the evaluated one."""
        named = {FIT: preset.fit, MATCH: preset.matched_on}
        return {part: name for part, name in named.items() if name not in (None, evaluated) and name}

    def check(self, preset: ClusteringPreset, samples: Samples, there_are: int, *, grouped: bool) -> None:
        """Clusters that are matched on another split need labels here; and there must be an image for each cluster."""
        if grouped and preset.matched_on is not None:
            raise BadInput(
                f"{samples.card.id} {samples.split} has no labels to count figures against",
                "`bench export` writes predictions for the server that has them; --set matched_on=null only describes "
                "clusters.",
            )
        if preset.fit in (None, samples.split):
            kmeans.require_enough(len(samples), preset.clusters, remedy=_ways_to_try(samples, there_are, preset))

    def adapt(
        self, preset: ClusteringPreset, samples: Samples, asked: Mapping[str, Any], warn: Warn
    ) -> ClusteringPreset:
        """Fewer components where there are few images; the user's own number stays, as in the reference."""
        kept = min(preset.whiten, most_components(len(samples)))
        if kept == preset.whiten:
            return preset
        if "whiten" in asked:
            warn(
                f"{len(samples)} images whitened to {preset.whiten} components lie almost equally far from each other: "
                f"rounding may decide their clusters (without --set whiten={preset.whiten} it would be {kept})"
            )
            return preset
        warn(
            f"whitening to {kept} components, not {preset.whiten}: with more these {len(samples)} images would lie "
            "almost equally far from each other; the record is marked as modified"
        )
        return preset.model_copy(update={"whiten": kept})

    def check_split(self, part: str, preset: ClusteringPreset, found: Samples, evaluated: str, warn: Warn) -> None:
        """An image for each cluster to fit, labels to match."""
        if part == FIT:
            kmeans.require_enough(len(found), preset.clusters)
        elif not found.labelled:
            raise WrongName(
                f"{found.card.id} {found.split} has no labels to match clusters on",
                "Name a split with labels: --set matched_on=…",
            )

    def published_presets(self, comparable: ClusteringPreset) -> list[ClusteringPreset]:
        """The preset, and the same with the authors' solver."""
        return [comparable, comparable.model_copy(update={"solver": "minibatch"})]

    def measure(self, run: Run[ClusteringPreset]) -> Result:
        """Observe, cluster, match and count."""
        observations = look_at_evaluated(run)
        scored = score(run, observations)
        if isinstance(scored.rows, ConfusionRows) and run.plan.judges is None:
            folder = shared_by_mask.store_of(run, run.samples).folder
            scored = replace(scored, rows=replace(scored.rows, subsamples=resampled.sums_of(run, observations, folder)))
        fitted = scored.detail.get("fitted_on", {}).get("images", len(observations))
        return Result(
            scored.rows,
            observations.manifest,
            kmeans.describe(run.preset.resolved(), fitted, kmeans.use_gpu(run.engine.device)),
            about(observations),
            scored.extra,
            scored.mappings,
            scored.detail,
            observations.meta.get("images_per_second"),
            functools.partial(_first_clusters, run.preset, observations, scored),
            painter(run, observations, lambda seed: scored.mask_classes[seed]),
        )

    def cached(self, run: Run[ClusteringPreset]) -> str:
        """How many images are observed."""
        return shared_by_mask.cached(run)

    def forwards(self, run: Run[ClusteringPreset]) -> int:
        """Those that are not observed yet."""
        return shared_by_mask.unseen(run)

    def solver_gap(self, run: Run[ClusteringPreset], manifest: str, *, wanted: bool) -> float | None:
        """0 with the authors' solver; else over 20 seeds on the same observations."""
        if run.preset.solver == "minibatch":
            return 0.0
        if not wanted:
            return None
        sums = self.solver_sums(run, manifest)
        return solver_distance(sums, run.preset.resolved()["absent"])

    def solver_sums(self, run: Run[ClusteringPreset], manifest: str) -> Sums:
        """Of both solvers over 20 seeds: what the distance is counted from."""
        # what `measure` has just seen; --fresh asks for one new pass, not for two
        settled = replace(run, settings=replace(run.settings, fresh=False), warn=lambda message: None)
        folder = shared_by_mask.store_of(run, run.samples).folder
        return solver_gap.measured(settled, manifest, folder, lambda each: score(each, look(each, each.samples)))

    def require_submission(self, plan: Plan, ids: str) -> None:
        """Where the evaluated split has no labels, clusters must get their classes on another."""
        if MATCH not in plan.others and not plan.samples.labelled:
            raise WrongName(
                f"{plan.samples.split} has no labels to match clusters on",
                "Name the split to match on with --set matched_on=val, and the one to cluster with --set fit=train.",
            )


def _ways_to_try(samples: Samples, there_are: int, preset: ClusteringPreset) -> str:
    """What can be run although these are too few images for the preset."""
    ways = [f"--limit {preset.clusters}"] if there_are >= preset.clusters else []
    ways += [f"--clusters {len(samples)}"] if len(samples) > 1 else []
    ways += ["--protocol clustering-dense"] if samples.card.protocols.preset("clustering-dense") else []
    return f"For a trial: {', or '.join(ways)}." if ways else ""


def score(run: Run[ClusteringPreset], observations: Observations) -> Scored:
    """What the plan makes of the evaluated split's observations."""
    plan, resolved, classes = run.plan, run.preset.resolved(), run.num_classes
    gpu = kmeans.use_gpu(run.engine.device)
    fitted = look(run, plan.others[FIT]) if FIT in plan.others else observations
    matched = look(run, plan.others[MATCH]) if MATCH in plan.others else None
    centres = None if run.preset.fit is None else _centres(run, fitted, gpu)
    labels = scoring.assign(observations, resolved, plan.seeds, centres=centres, gpu=gpu, warn=run.warn)
    if plan.grouped:
        scored = scoring.group_images(observations, labels, resolved)
    elif centres is None or matched is None:
        scored = scoring.score_labels(observations, labels, resolved, classes, plan.seeds, plan.judges)
    else:
        scored = scoring.score_elsewhere(observations, labels, resolved, classes, centres, matched)
    if centres is not None:
        entry = about_split(str(run.preset.fit), fitted)
        scored.detail["fitted_on"] = entry | {"centres_sha256": [*map(_sha256, centres)]}
    if run.preset.matched_on is not None:
        scored.detail["matched_on"] = about_split(run.preset.matched_on, matched or observations)
    return scored


def _centres(run: Run[ClusteringPreset], fitted: Observations, gpu: bool) -> list[kmeans.Points]:
    """Per seed the centres of the split that is clustered, kept beside its observations."""
    samples = run.plan.others.get(FIT, run.samples)
    names = ("solver", "clusters", "init", "iterations", "restarts", "batch")
    recipe = {key: value for key, value in run.preset.resolved().items() if key in names}
    folder, step = shared_by_mask.store_of(run, samples).folder, run.stage("clustering")
    return fit_all(
        folder, recipe, samples.keys, run.plan.seeds, lambda: fitted.prototypes,
        version=CENTRES_VERSION, progress=step, gpu=gpu, fresh=run.fresh,
    )  # fmt: skip


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _first_clusters(preset: ClusteringPreset, observations: Observations, scored: Scored) -> Clusters:
    """The first seed's clusters; typical is who lies in the middle of one, where they were made."""
    points = observations.prototypes
    if preset.fit is None:
        points = whiten(points, preset.whiten, lambda message: None)
    mapping = scored.mappings[0] if scored.mappings else None
    return cluster_members.of_prototypes(scored.labels[0], points, observations.areas == 0, preset.clusters, mapping)
