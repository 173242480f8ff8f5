"""Held: how a figure was held against another, and in words what its tolerance is made of and would find."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.scoring.tolerance import FALSE_ALARMS, SURE, Tolerance, quantile


@dataclass(frozen=True)
class Held:
    """How a figure was held against another: how far off it is, in points, and what is admitted."""

    tolerance: Tolerance
    difference: float

    def as_json(self) -> dict[str, float | None]:
        """As plain JSON values; no degrees of freedom where the spread is known."""
        one = self.tolerance
        return {
            "difference": self.difference,
            "tolerance": one.points,
            "standard_error": one.error,
            "degrees_of_freedom": one.freedom if math.isfinite(one.freedom) else None,
            "power_at_1_point": one.power(1.0),
            "found_with_80_percent": one.found(),
        }

    @property
    def lines(self) -> tuple[str, ...]:
        """What the tolerance is made of, what it lets pass by mistake, and what it would find."""
        one = self.tolerance
        if not one.error:
            return (f"nothing was drawn at random: {one.points:.2f} points are admitted for rounding",)
        freedom = "known" if math.isinf(one.freedom) else f"estimated with {one.freedom:g} degrees of freedom"
        return (
            f"tolerance {one.points:.2f} = {quantile(one.freedom):.2f} (Student's t, {_percent(1 - FALSE_ALARMS)}) × "
            f"{one.error:.2f} (standard error, {freedom})",
            f"{_percent(FALSE_ALARMS)} of faithful runs fall outside; a fault of 1 point is found in "
            f"{_percent(one.power(1.0))} of checks, one of {_points(one.found())} in {_percent(SURE)}",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _points(value: float) -> str:
    return f"{value:.2f} points" if value < 1 else f"{value:.1f} points"
