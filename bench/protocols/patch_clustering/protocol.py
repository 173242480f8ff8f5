"""The protocol `patch-clustering`, from a plan to its result."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bench.base.errors import BadInput, Warn
from bench.data.decoding import Label
from bench.data.preprocessing import nearest_of
from bench.data.samples import Samples, require_labelled_pixels
from bench.passes import tokens as token_pass
from bench.passes.tokens import ImageTokens
from bench.protocols import shared_by_pixel, shared_by_token
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.patch_clustering import fitted
from bench.protocols.patch_clustering.preset import PatchPreset
from bench.protocols.patch_clustering.space import Space
from bench.protocols.patch_clustering.tokens import at_100, on_input
from bench.protocols.prediction_maps import Map
from bench.scoring import cluster_members, kmeans
from bench.scoring.cluster_members import Clusters
from bench.scoring.id_counts import matched_classes
from bench.scoring.kmeans import Points


class PatchClustering(Protocol[PatchPreset]):
    """K-means on all patch tokens."""

    learns_from_evaluated = True

    def adapt(self, preset: PatchPreset, samples: Samples, asked: Mapping[str, Any], warn: Warn) -> PatchPreset:
        """As many clusters as classes are the default by whatever name; fewer images than a batch are not dropped.

        Raises BadInput where the user asked for a batch of more images than there are.
        """
        if preset.clusters == len(samples.card.classes):
            preset = preset.model_copy(update={"clusters": None})
        if preset.left_out(len(samples)) < len(samples):
            return preset
        said = f"{len(samples)} images do not fill one batch of {preset.drop_last_batch}"
        if "drop_last_batch" in asked:
            raise BadInput(f"{said}: all of them would be dropped", "Give more images, or --set drop_last_batch=null.")
        warn(f"{said}: none is dropped; the record is marked as modified")
        return preset.model_copy(update={"drop_last_batch": None})

    def measure(self, run: Run[PatchPreset]) -> Result:
        """Keep all tokens, cluster them, and count what each seed's clusters paint."""
        preset, clusters = run.preset, run.preset.clusters_of(run.num_classes)
        gpu = kmeans.use_gpu(run.engine.device)
        tokens = shared_by_token.tokens_of(run, run.samples, functools.cache(run.pixels), "reading tokens")
        work = fitted.Work(tokens, preset, clusters)
        kmeans.require_enough(
            work.total, clusters, "tokens", "Use more images, a larger --set input=[H,W], or --clusters N."
        )
        space = fitted.space_of(work, run.stage("standardising"), run.warn, fresh=run.fresh)
        centres = fitted.centres_of(work, space, run.plan.seeds, run.stage("clustering"), gpu=gpu, fresh=run.fresh)
        recipe = {"protocol": run.plan.base, "grid": preset.grid, "scored": work.kept, "by": _digest(space, centres)}
        label, map_of = _label_of(run, work), functools.partial(_at, preset.grid)
        painted = shared_by_token.count(
            run, tokens, lambda: _painter(preset, space, centres, map_of), label, recipe, "counting"
        )
        require_labelled_pixels(any(len(table) for one in painted for table in one.counts), run.samples)
        matching = preset.matching_of(run.num_classes)
        rows, mappings = matched_classes(painted, matching, run.num_classes, clusters)

        def shown() -> Clusters:
            return cluster_members.of_pixels(painted[0].rows(), clusters, mappings[0])

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            void, classes = run.card.labels.ignore, mappings[seed]
            shown_as = np.where(classes < 0, void, classes).astype(np.uint16)
            ids = _painter(preset, space, [centres[seed]], lambda found, image: shown_as[found])
            return shared_by_token.paint_again(tokens, lambda image: ids(image)[0], chosen, void)

        solver = kmeans.describe(preset.resolved(), work.trained_on, gpu)
        return shared_by_pixel.result(
            run,
            rows,
            painted[0],
            solver | ({"algorithm": "Lloyd, spherical"} if preset.spherical else {}),
            mappings=mappings,
            detail={"pixels": {"of": run.subject.pixels_are(preset.features)}, "tokens": work.said(space, matching)},
            clusters=shown,
            paint=paint,
        )

    def cached(self, run: Run[PatchPreset]) -> str:
        """How many images' tokens are kept."""
        return f"tokens of {shared_by_token.kept_images(run, run.samples)} of {len(run.samples)} images are cached"

    def forwards(self, run: Run[PatchPreset]) -> int:
        """Those whose tokens are not kept yet."""
        return shared_by_token.unseen(run, run.samples)

    def kept_bytes(self, run: Run[PatchPreset], width: int) -> int:
        """All tokens."""
        cells = shared_by_token.cells_of(run, run.preset.input)
        return token_pass.kept_bytes(width, cells, len(run.samples), "float32")


def _painter(
    preset: PatchPreset, space: Space, centres: Sequence[Points], made: Callable[[Map, ImageTokens], Map]
) -> Callable[[ImageTokens], Sequence[Map]]:
    """What makes a map of an image by each seed's centres: `made` of the clusters of its input."""

    def paint(image: ImageTokens) -> list[Map]:
        points = space.points(image.tokens)
        found = [kmeans.nearest(own, points, spherical=preset.spherical) for own in centres]
        return [made(on_input(ids, image.grid, image.placed), image) for ids in found]

    return paint


def _at(grid: str, found: Map, image: ImageTokens) -> Map:
    """Clusters of the input on the grid where pixels are counted."""
    if grid == "100x100":
        return at_100(found)
    return image.placed.to_own(found, 0) if grid == "label" else nearest_of("torch", found, image.placed.input)


def _label_of(run: Run[PatchPreset], work: fitted.Work) -> Callable[[ImageTokens], Label | None]:
    """What gives an image's label on the grid where pixels are counted; none of an image that is dropped."""
    scored, grid = frozenset(run.samples.ids[: work.kept]), run.preset.grid
    whole = shared_by_token.own_label(run.samples)

    def label(image: ImageTokens) -> Label | None:
        if image.id not in scored or image.label is None:
            return None
        if grid == "label":
            return whole(image)
        return at_100(image.label) if grid == "100x100" else image.label

    return label


def _digest(space: Space, centres: Sequence[Points]) -> str:
    digest = hashlib.sha256()
    for array in (space.mean, space.deviation, space.centre, space.components, *centres):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
