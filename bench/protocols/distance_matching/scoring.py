"""Distance matching: classes voted for by labelled instances, counted (docs/protocols.md#distance-matching)."""

from __future__ import annotations

from bench.protocols.distance_matching.preset import DistancePreset
from bench.scoring import imagenet_s_figures
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.id_counts import Painted, given_classes


def score(painted: Painted, preset: DistancePreset, num_classes: int) -> tuple[ConfusionRows, dict[str, list[float]]]:
    """Rows of the classes that were voted for, and the benchmark's figures where the preset asks for them."""
    extra = imagenet_s_figures.painted_figures([painted], (), num_classes) if preset.counts_boundaries else {}
    return given_classes([painted], num_classes), extra
