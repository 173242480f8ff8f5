"""Saliency rows: how every image's pixels pass the thresholds of a saliency map, inside and outside of the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.base.files import save_npz
from bench.scoring.image_rows import MOST, Floats, ImageRows, Series, changed_values
from bench.scoring.rows import integers, names_of, require_alike, rows_file
from bench.scoring.saliency_figures import LEVELS, Rule, Stack, iou, series

_COLUMNS = ("totals", "half", "adaptive", "error", "image", "level", "count")


@dataclass(frozen=True)
class SaliencyRows(ImageRows):
    """The counts of every image, from which each definition's figures follow."""

    stack: Stack

    comparable: ClassVar[tuple[str, ...]] = ("max_f", "iou", "accuracy", "f_half", "mean_f", "adaptive_f", "mae")
    """Of all definitions; each has some of them, and all have the first."""

    def write(self, path: Path) -> None:
        """Write to an .npz file, atomically."""
        arrays = {name: getattr(self.stack, name) for name in _COLUMNS}
        save_npz(path, {"ids": np.array(self.ids, dtype=np.str_), **arrays})

    @classmethod
    def read(cls, path: Path) -> SaliencyRows:
        """Read what `write` wrote. Raises BadInput for a missing or damaged file."""
        with rows_file(path) as arrays:
            return cls.of_arrays(arrays)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> SaliencyRows:
        """The rows of a file's arrays. Raises KeyError or ValueError where they are none."""
        ids = names_of(arrays)
        if not 0 < len(ids) <= MOST:
            raise ValueError(f"there are {len(ids)} images")
        most = 1 << 40
        totals, half, adaptive = (
            integers(arrays[name], name, 0, most, (len(ids), 2)).astype(np.int64)
            for name in ("totals", "half", "adaptive")
        )
        image = integers(arrays["image"], "image", 0, len(ids))
        level = integers(arrays["level"], "level", 0, 2 * LEVELS, (len(image),))
        count = integers(arrays["count"], "count", 0, most, (len(image),)).astype(np.int64)
        error = arrays["error"]
        if error.dtype.kind != "f" or error.shape != (len(ids),) or not (error >= 0).all():
            raise ValueError("error is not a sum of differences, one for each image")
        places = image.astype(np.int64) * 2 * LEVELS + level
        if (np.diff(places) <= 0).any():
            raise ValueError("its levels are not in order")
        found = np.zeros(2 * len(ids), np.int64)
        np.add.at(found, places // LEVELS, count)
        if not np.array_equal(found.reshape(-1, 2), totals) or (half > totals).any() or (adaptive > totals).any():
            raise ValueError("its numbers of pixels do not agree")
        if (error > totals.sum(axis=1) * (1 + 1e-9)).any():
            raise ValueError("error is above the number of pixels")
        stack = Stack(
            totals,
            half,
            adaptive,
            error.astype(np.float64),
            image.astype(np.int32),
            level.astype(np.uint16),
            count,
        )
        return cls(ids, stack)

    def series(self, preset: Mapping[str, Any]) -> dict[str, Series]:
        """Those of the preset's definition. Raises ValueError for one that is not known."""
        return series(self.stack, Rule.of(preset))

    @property
    def annotated(self) -> Sequence[npt.NDArray[Any]]:
        """The pixels of background and foreground."""
        return [self.stack.totals]

    @property
    def predicted(self) -> Sequence[npt.NDArray[Any]]:
        """The levels, unless every pixel of all images has the same."""
        levels = self.stack.level % LEVELS
        if len(np.unique(levels)) <= 1:
            return []
        return [getattr(self.stack, name) for name in _COLUMNS]

    def image_scores(self) -> tuple[Floats, None]:
        """IoU at more than .5, percent; NaN where it is 0/0."""
        return 100 * iou(self.stack), None

    def changed(self, other: SaliencyRows) -> npt.NDArray[np.bool_]:
        """Of each image, whether any count is another one."""
        require_alike(self, other)
        pairs = [(getattr(self.stack, name), getattr(other.stack, name)) for name in _COLUMNS[:4]]
        found = changed_values(len(self.ids), *pairs)
        for start in range(0, len(self.ids), 1024):
            stop = min(start + 1024, len(self.ids))
            tables = [rows.stack.passing(start, stop).reshape(stop - start, -1) for rows in (self, other)]
            found[start:stop] |= (tables[0] != tables[1]).any(axis=1)
        return found
