"""Dense clustering: clusters painted on every pixel, matched to the classes (spec §7)."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cards.presets import DensePreset
from bench.protocols.base import Scored
from bench.scoring.metrics import ari, nmi
from bench.scoring.painted import Painted, matched_classes


def score(painted: Sequence[Painted], preset: DensePreset, num_classes: int) -> Scored:
    """Rows of what each seed's clusters painted, the background being a class like any other."""
    rows, mappings = matched_classes(painted, preset.matching, num_classes, preset.clusters)
    tables = [one.table(num_classes)[1] for one in painted]
    return Scored(rows, mappings, extra={"nmi": [nmi(t) for t in tables], "ari": [ari(t) for t in tables]})
