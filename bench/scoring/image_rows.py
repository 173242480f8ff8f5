"""Image rows: rows of figures that are means over images, not counts of classes: of saliency, of discovered boxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bench.scoring.bootstrap import RESAMPLES, interval, resample_weights
from bench.scoring.paired import Paired, of_images
from bench.scoring.rows import Context, WithoutClasses

Floats = npt.NDArray[np.float64]
MOST = 1 << 17
"""Images whose curves may be held: 0.3 GB."""


@dataclass(frozen=True)
class Series:
    """Every image's part of a metric."""

    values: Floats
    """N shares of 1, NaN where undefined; or N×T, a curve for each image: the figure is the mean curve's maximum."""
    carried: bool = False
    """Whether an image that is undefined makes the mean undefined; else it is left out."""

    def figures(self, weights: Floats) -> Floats:
        """R: the figure under each of R×N weights of the images; NaN where it is undefined."""
        values = self.values.reshape(len(self.values), -1)
        known = ~np.isnan(values)
        if self.carried and not known.all():
            return np.full(len(weights), np.nan)
        total = weights @ np.where(known, values, 0.0)
        count = weights.sum(axis=1, keepdims=True) if known.all() else weights @ known
        with np.errstate(invalid="ignore"):
            return np.asarray((total / count).max(axis=1))

    def figure(self) -> float:
        """The figure of all images, a share of 1; NaN where it is undefined."""
        return float(self.figures(np.ones((1, len(self.values))))[0])


def resampled(series: Mapping[str, Series], images: int, resamples: int = RESAMPLES) -> dict[str, Floats]:
    """Metric → R: its figure in every resample of the images, percent. The draws depend on both numbers alone."""
    chunks: dict[str, list[Floats]] = {name: [] for name in series}
    for weights in resample_weights(images, resamples, 0):
        for name, one in series.items():
            chunks[name].append(100 * one.figures(weights))
    return {name: np.concatenate(parts) for name, parts in chunks.items()}


@dataclass(frozen=True)
class ImageRows(WithoutClasses, ABC):
    """What each image adds to the figures. Nothing is drawn at random, so that there is one value of each."""

    ids: tuple[str, ...]

    comparable: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def series(self, preset: Mapping[str, Any]) -> dict[str, Series]:
        """Metric → every image's part. Raises ValueError for a preset by which nothing can be counted."""

    @property
    @abstractmethod
    def annotated(self) -> Sequence[npt.NDArray[Any]]:
        """What of the annotations is in the rows: the same of every model on the same images."""

    @property
    @abstractmethod
    def predicted(self) -> Sequence[npt.NDArray[Any]]:
        """What of the predictions is in the rows; empty where they are so plain that two models could have them."""

    @abstractmethod
    def image_scores(self) -> tuple[Floats | None, None]:
        """Each image's own score, percent."""

    @abstractmethod
    def changed(self, other: Self) -> npt.NDArray[np.bool_]:
        """Of each image, whether its counts are others."""

    # what every kind of rows answers: see `bench.scoring.rows.Rows`

    def figures(self, preset: Mapping[str, Any]) -> dict[str, list[float]]:
        """One value of each metric; one that is undefined is left out."""
        values = {name: 100 * one.figure() for name, one in self.series(preset).items()}
        return {name: [value] for name, value in values.items() if not np.isnan(value)}

    @property
    def resampling(self) -> int:
        """The images to draw, and what is added up of each."""
        return 8 * len(self.ids)

    def entries(self, context: Context) -> dict[str, Any]:
        """`metrics`, with intervals over images if they are drawn."""
        series = self.series(context.preset)
        figures = self.figures(context.preset)
        metrics: dict[str, dict[str, Any]] = {
            name: {"value": values[0], "std": None, "per_seed": values} for name, values in figures.items()
        }
        if context.intervals and len(self.ids) > 1:
            drawn = resampled({name: series[name] for name in metrics}, len(self.ids))
            for name, entry in metrics.items():
                entry["ci95"] = list(interval(drawn[name]))
        return {"metrics": metrics}

    def pair(
        self,
        other: Self,
        preset: Mapping[str, Any],
        names: Sequence[str],
        resamples: int,
        *,
        one_model: bool = False,
    ) -> Paired:
        """By a paired bootstrap over images."""
        if tuple(self.ids) != tuple(other.ids):
            raise ValueError("they are of other images")
        sides = [rows.series(preset) for rows in (self, other)]
        values = [{name: 100 * one.figure() for name, one in side.items()} for side in sides]
        draws = [resampled(side, len(self.ids), resamples) for side in sides]
        return of_images(values[0], values[1], draws[0], draws[1], len(self.ids))


def changed_values(images: int, *pairs: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Of each image, whether any of several arrays, N or N×k, has another value than its pair; NaN is equal to NaN."""
    found = np.zeros(images, np.bool_)
    for mine, theirs in pairs:
        same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
        found |= ~same.reshape(images, -1).all(axis=1)
    return found
