"""The protocols `retrieval-21` and `retrieval-7`, from a plan to their result."""

from __future__ import annotations

from bench.protocols import shared_by_mask
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.retrieval import scoring
from bench.protocols.retrieval.preset import RetrievalPreset
from bench.protocols.shared_by_mask import about, look, look_at_evaluated, painter
from bench.scoring.kmeans import exact_search

BANK = "bank"


class Retrieval(Protocol[RetrievalPreset]):
    """The nearest neighbour in a labelled bank."""

    def splits(self, preset: RetrievalPreset, evaluated: str) -> dict[str, str]:
        """The bank's."""
        return {BANK: preset.bank}

    def measure(self, run: Run[RetrievalPreset]) -> Result:
        """Observe both splits, and look every image up."""
        observations = look_at_evaluated(run)
        bank = look(run, run.plan.others[BANK])
        rows, painted, detail = scoring.score(bank, observations, run.preset.resolved(), run.card.classes)
        return Result(
            rows,
            observations.manifest,
            exact_search(gpu=False),
            about(observations),
            detail=detail,
            images_per_second=observations.meta.get("images_per_second"),
            paint=painter(run, observations, lambda seed: painted),
        )

    def cached(self, run: Run[RetrievalPreset]) -> str:
        """How many images are observed."""
        return shared_by_mask.cached(run)

    def forwards(self, run: Run[RetrievalPreset]) -> int:
        """Those that are not observed yet."""
        return shared_by_mask.unseen(run)
