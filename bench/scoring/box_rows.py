"""Box rows: how well the one box that is predicted in an image fits the annotated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.base.files import save_npz
from bench.scoring.corloc import OVERLAP
from bench.scoring.image_rows import MOST, Floats, ImageRows, Series, changed_values
from bench.scoring.rows import integers, names_of, require_alike, rows_file


@dataclass(frozen=True)
class BoxRows(ImageRows):
    """Of every image, the best IoU of its predicted box."""

    objects: npt.NDArray[np.int32]
    """N: annotated boxes that count. An image without any is in no mean."""
    iou: Floats
    """N, 0…1: the largest IoU of the predicted box with any of them; 0 without a predicted box or an annotated one."""

    comparable: ClassVar[tuple[str, ...]] = ("corloc", "box_iou")

    def write(self, path: Path) -> None:
        """Write to an .npz file, atomically."""
        ids = np.array(self.ids, dtype=np.str_)
        save_npz(path, {"ids": ids, "objects": self.objects, "box_iou": self.iou})

    @classmethod
    def read(cls, path: Path) -> BoxRows:
        """Read what `write` wrote. Raises BadInput for a missing or damaged file."""
        with rows_file(path) as arrays:
            return cls.of_arrays(arrays)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> BoxRows:
        """The rows of a file's arrays. Raises KeyError or ValueError where they are none."""
        ids, iou = names_of(arrays), arrays["box_iou"]
        if not 0 < len(ids) <= MOST:
            raise ValueError(f"there are {len(ids)} images")
        objects = integers(arrays["objects"], "objects", 0, 1 << 31, (len(ids),)).astype(np.int32)
        if iou.dtype.kind != "f" or iou.shape != (len(ids),) or not ((iou >= 0) & (iou <= 1 + 1e-9)).all():
            raise ValueError("box_iou is not a share from 0 to 1, one for each image")
        return cls(ids, objects, iou.astype(np.float64))

    def series(self, preset: Mapping[str, Any]) -> dict[str, Series]:
        """CorLoc, by the preset's `overlap`, and the mean IoU."""
        overlap = float(preset.get("overlap", OVERLAP))
        counted = self.objects > 0
        return {
            "corloc": Series(np.where(counted, (self.iou >= overlap).astype(np.float64), np.nan)),
            "box_iou": Series(np.where(counted, self.iou, np.nan)),
        }

    @property
    def annotated(self) -> Sequence[npt.NDArray[Any]]:
        """How many boxes count."""
        return [self.objects]

    @property
    def predicted(self) -> Sequence[npt.NDArray[Any]]:
        """The IoU, unless it is the same everywhere."""
        return [self.iou] if len(np.unique(self.iou)) > 1 else []

    def image_scores(self) -> tuple[Floats, None]:
        """The best IoU, percent; NaN of an image that is in no mean."""
        return np.where(self.objects > 0, 100 * self.iou, np.nan), None

    def changed(self, other: BoxRows) -> npt.NDArray[np.bool_]:
        """Of each image, whether its boxes that count, or the IoU, are others."""
        require_alike(self, other)
        return changed_values(len(self.ids), (self.objects, other.objects), (self.iou, other.iou))
