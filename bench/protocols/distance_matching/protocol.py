"""The protocol `distance-matching`, from a plan to its result."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from bench.base.errors import WrongName
from bench.data.samples import require_labelled_pixels
from bench.passes.cache import ShardStore
from bench.passes.classify import MAP_BYTES, decode_map
from bench.protocols import shared_by_pixel
from bench.protocols.base import Plan, Protocol, Result, Run
from bench.protocols.distance_matching import bank as banks
from bench.protocols.distance_matching.preset import DistancePreset
from bench.protocols.distance_matching.scoring import score
from bench.protocols.prediction_maps import Map
from bench.scoring import kmeans

BANK = "bank"


class DistanceMatching(Protocol[DistancePreset]):
    """Labelled instances of one split vote on every pixel of another."""

    def splits(self, preset: DistancePreset, evaluated: str) -> dict[str, str]:
        """The bank's."""
        return {BANK: preset.bank}

    def measure(self, run: Run[DistancePreset]) -> Result:
        """Fill the bank, and let it vote."""
        preset, others = run.preset, run.plan.others[BANK]
        features = functools.cache(run.pixels)
        gpu = kmeans.use_gpu(run.engine.device)
        bank = banks.fill_bank(features, others, preset, _bank_store(run), run.on("filling the bank"), fresh=run.fresh)
        kept = banks.painted_store(run.cache, run.recipe(run.samples), preset, bank)
        painted = banks.paint(features, bank, run.samples, preset, kept, run.engine, gpu=gpu, fresh=run.fresh)
        if run.samples.labelled:
            require_labelled_pixels(any(len(table) for table in painted.counts), run.samples)
        rows, extra = score(painted, preset, run.num_classes)
        entry = {"split": preset.bank, "images": bank.images, "entries": len(bank.classes), "manifest": bank.manifest}

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            return map(decode_map, kept.iterate_apart(run.samples.keys, chosen))

        detail = {"bank": entry, "pixels": {"of": run.subject.pixels_are(run.preset.features)}}
        solver = kmeans.exact_search(gpu=gpu)
        return shared_by_pixel.result(run, rows, painted, solver, extra=extra, detail=detail, paint=paint)

    def cached(self, run: Run[DistancePreset]) -> str:
        """How many images of the bank."""
        others = run.plan.others[BANK]
        return f"{len(_bank_store(run).known(others.keys))} of {len(others)} images of the bank are cached"

    def forwards(self, run: Run[DistancePreset]) -> int:
        """Those of the bank that are not in it yet, and all that are evaluated."""
        others = run.plan.others[BANK]
        filled = 0 if run.fresh else len(_bank_store(run).known(others.keys))
        return len(others) - filled + len(run.samples)

    def kept_bytes(self, run: Run[DistancePreset], width: int) -> int:
        """Three instances for each image of the bank, and a map for each evaluated image."""
        return 4 * width * 3 * len(run.plan.others[BANK]) + MAP_BYTES * len(run.samples)

    def require_submission(self, plan: Plan, ids: str) -> None:
        """It has classes, no clusters."""
        if ids == "clusters":
            raise WrongName("distance-matching has no clusters (--ids clusters)", "Leave --ids out.")


def _bank_store(run: Run[DistancePreset]) -> ShardStore:
    return banks.bank_store(run.cache, run.recipe(run.plan.others[BANK]), run.preset)
