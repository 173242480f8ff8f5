"""Distance matching: classes voted for by labelled instances, counted (spec §8)."""

from __future__ import annotations

from bench.cards.presets import DistancePreset
from bench.protocols.base import Scored
from bench.scoring import imagenet_s
from bench.scoring.painted import Painted, given_classes


def score(painted: Painted, preset: DistancePreset, num_classes: int) -> Scored:
    """Rows of the classes that were voted for, and the benchmark's figures where the preset asks for them."""
    extra = imagenet_s.painted_figures([painted], (), num_classes) if preset.figures == "imagenet-s" else {}
    return Scored(given_classes([painted], num_classes), extra=extra)
