"""The protocol `clustering-dense`, from a plan to its result."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bench.cards.datasets import DatasetCard
from bench.data.samples import Samples, require_labelled_pixels
from bench.networks.subject import Subject
from bench.passes.cache import ShardStore
from bench.passes.classify import decode_map
from bench.passes.features import Features
from bench.protocols import dense_crf, shared_by_pixel
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.clustering_dense import pixels
from bench.protocols.clustering_dense.pixels import Float32
from bench.protocols.clustering_dense.preset import DensePreset
from bench.protocols.clustering_dense.scoring import group_pixels, score
from bench.protocols.prediction_maps import Map, paint_clusters
from bench.scoring import cluster_members, kmeans
from bench.scoring.cluster_members import Clusters
from bench.scoring.id_counts import Painted


class DenseClustering(Protocol[DensePreset]):
    """K-means on pixels."""

    learns_from_evaluated = True

    def check(self, preset: DensePreset, samples: Samples, there_are: int, *, grouped: bool) -> None:
        """There must be a pixel for each cluster."""
        kmeans.require_enough(len(samples) * preset.pixels, preset.clusters, "pixels")

    def settle(self, preset: DensePreset, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]) -> DensePreset:
        """As it is; the CRF needs its library."""
        if preset.crf:
            dense_crf.require()
        return preset

    def measure(self, run: Run[DensePreset]) -> Result:
        """Draw pixels, cluster them, and paint every image with the clusters of all seeds in one more pass."""
        preset, plan = run.preset, run.plan
        features = functools.cache(lambda: pixels.unit_features(run.pixels()))
        gpu, kept = kmeans.use_gpu(run.engine.device), _store_of(run)
        drawn = pixels.draw_pixels(features, run.samples, preset, kept, run.on("drawing pixels"), fresh=run.fresh)
        centres = pixels.fit_all(
            kept, run.samples, preset, plan.seeds, run.stage("clustering"), gpu=gpu, fresh=run.fresh
        )
        painters, recipe = pixels.as_classifiers(centres), {"protocol": plan.protocol, "crf": None}
        found, _ = shared_by_pixel.paint_all(run, features, painters, recipe)
        painted = [one[preset.grid] for one in found]
        if not plan.grouped:
            require_labelled_pixels(any(len(table) for table in painted[0].counts), run.samples)
        refined = [_refined(run, features, centre) for centre in centres] if preset.crf else []
        without = {}
        if refined and not plan.grouped:
            rows = score(painted, preset, run.num_classes).rows
            without = {"mIoU_without_crf": rows.figures(preset.resolved())["mIoU"]}
        painted = [one for one, _ in refined] or painted
        if plan.grouped:
            scored = group_pixels(painted, pixels.drawn_clusters(kept, run.samples, centres), preset.clusters)
        else:
            scored = score(painted, preset, run.num_classes)
        mappings = scored.mappings

        def shown() -> Clusters:
            return cluster_members.of_pixels(painted[0].rows(), preset.clusters, mappings[0] if mappings else None)

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            ids: Iterator[Map]
            if refined:
                ids = map(decode_map, refined[seed][1].iterate_apart(run.samples.keys, chosen))
            else:
                ids = shared_by_pixel.paint_again(run, features, painters.only(seed), recipe, chosen)
            # without labels each cluster is painted as itself, counted from 1
            classes = mappings[seed] if mappings else np.arange(1, preset.clusters + 1)
            return paint_clusters(ids, classes, run.card.labels.ignore)

        return shared_by_pixel.result(
            run,
            scored.rows,
            painted[0],
            kmeans.describe(preset.resolved(), drawn, gpu) | {"algorithm": "Lloyd, spherical"},
            extra=scored.extra | without,
            mappings=mappings,
            detail={"pixels": {"of": run.subject.pixels_are(run.preset.features), "drawn": drawn}}
            | ({"crf": dense_crf.RECIPE} if refined else {}),
            clusters=shown,
            paint=paint,
        )

    def cached(self, run: Run[DensePreset]) -> str:
        """How many images' pixels are drawn."""
        known = len(_store_of(run).known(run.samples.keys))
        return f"pixels of {known} of {len(run.samples)} images are cached"

    def forwards(self, run: Run[DensePreset]) -> int:
        """Those whose pixels are not drawn yet, and all once more to be painted, and again for the CRF of each seed."""
        drawn = 0 if run.fresh else len(_store_of(run).known(run.samples.keys))
        return (2 + run.preset.crf * len(run.plan.seeds)) * len(run.samples) - drawn

    def kept_bytes(self, run: Run[DensePreset], width: int) -> int:
        """The drawn pixels."""
        return 4 * width * run.preset.pixels * len(run.samples)


def _refined(run: Run[DensePreset], features: Callable[[], Features], centres: Float32) -> tuple[Painted, ShardStore]:
    """What the CRF makes of one seed's clusters, and where its maps are."""
    grid = run.preset.grid
    (found,), kept = shared_by_pixel.paint_all(
        run,
        features,
        pixels.as_classifiers([centres], run.preset.crf_scale),
        {"crf": dense_crf.RECIPE, "crf_on": grid},
        "dense CRF",
        refine=functools.partial(dense_crf.processes, run.engine.workers),
        refine_on=grid,
    )
    return found[grid], kept


def _store_of(run: Run[DensePreset]) -> ShardStore:
    return pixels.store(run.cache, run.recipe(run.samples), run.preset)
