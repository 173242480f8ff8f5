"""Tolerances: how far a faithful figure may lie from another by chance, and how large a fault would be found.

A tolerance is a quantile of Student's t times a standard error, so of runs that are alike one in twenty falls outside
of it. See docs/certainty.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

FALSE_ALARMS = 0.05
"""The share of faithful runs that fall outside of a tolerance."""
SURE = 0.8
"""The chance with which a fault of the size that is named is found."""


@dataclass(frozen=True)
class Tolerance:
    """What two figures that are alike may differ by, in points."""

    error: float
    """Standard error of their difference: what was drawn at random, and rounding."""
    freedom: float
    """Degrees of freedom of the spread that `error` was estimated from; infinite where it is known."""
    least: float = 0.0
    """What is admitted in any case."""

    @property
    def points(self) -> float:
        """How far apart they may lie."""
        return max(self.least, quantile(self.freedom) * self.error)

    def p(self, difference: float) -> float:
        """Two-sided p of "no difference": the chance of one at least as large where there is none. Without `least`."""
        if not self.error:
            return 1.0 if difference == 0 else 0.0
        apart = abs(difference) / self.error
        known = math.isinf(self.freedom)
        return float(2 * (scipy.stats.norm.sf(apart) if known else scipy.stats.t.sf(apart, self.freedom)))

    def power(self, shift: float) -> float:
        """The chance that a true difference of `shift` points is found, 0…1."""
        if not self.error:
            return float(abs(shift) > self.points)
        spreads, weights = _estimates(self.freedom)
        allowed = np.maximum(self.least / self.error, quantile(self.freedom) * spreads)
        away = abs(shift) / self.error
        return float(weights @ (scipy.special.ndtr(away - allowed) + scipy.special.ndtr(-away - allowed)))

    def found(self, chance: float = SURE) -> float:
        """The smallest true difference, in points, that is found with this chance."""
        low, high = 0.0, self.least + 5 * quantile(self.freedom) * self.error
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.power(middle) < chance else (low, middle)
        return high


@lru_cache(maxsize=256)
def _estimates(freedom: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a standard error of 1 may be estimated as, by χ² of these degrees of freedom; and the weight of each.

    With them the noncentral t, whose tails libraries get wrong at few degrees of freedom, is a sum of normal tails.
    """
    if math.isinf(freedom):
        return np.ones(1), np.ones(1)
    nodes, weights = _legendre()
    return np.sqrt(scipy.stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom), weights / 2


@cache
def _legendre() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Nodes and weights of an integral over −1…1."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


def quantile(freedom: float, outside: float = FALSE_ALARMS) -> float:
    """How many standard errors leave a share of `outside` on both sides together."""
    known = math.isinf(freedom)
    return float(scipy.stats.norm.isf(outside / 2) if known else scipy.stats.t.isf(outside / 2, freedom))


def of_one_spread(spread: float, ours: int, theirs: int, freedom: float, rounding: float = 0.0) -> Tolerance:
    """Of two means over so many seeds, both with this standard deviation; the other is rounded to ± `rounding`."""
    drawn = spread**2 * (1 / ours + 1 / theirs)
    return Tolerance(math.sqrt(drawn + rounding**2 / 3), freedom)


def of_two_samples(first: Sequence[float], second: Sequence[float], least: float) -> Tolerance:
    """Of the means of two samples of one distribution; its spread is pooled from both.

    Only `least` where neither has two values.
    """
    sizes = [len(first), len(second)]
    freedom = sum(sizes) - 2
    if max(sizes) < 2:
        return Tolerance(0.0, math.inf, least)
    squares = sum(float(np.sum((np.asarray(one) - np.mean(one)) ** 2)) for one in (first, second))
    return Tolerance(math.sqrt(squares / freedom * sum(1 / size for size in sizes)), freedom, least)
