"""Frame rows: the rows of the protocol on video, J and F of every object in every evaluated frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bench.base.files import save_npz
from bench.scoring import davis_figures
from bench.scoring.paired import Paired, of_frames
from bench.scoring.rows import Context, WithoutClasses, integers, names_of, require_alike, rows_file

Ints = npt.NDArray[np.int32]
MOST_OBJECTS = 100_000
"""Of all sequences. DAVIS has some hundred."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FrameRows(WithoutClasses):
    """Parallel arrays, a row per object and evaluated frame, ordered by sequence, object, frame."""

    ids: tuple[str, ...]
    """`<sequence>/<frame>` of every frame, also of those that are not evaluated."""
    frame: Ints
    """Index into `ids`."""
    object: Ints
    """Counted from 1 within its sequence."""
    similarity: Floats
    """J, 0…1."""
    accuracy: Floats
    """F, 0…1."""

    def write(self, path: Path) -> None:
        """Write to an .npz file, atomically."""
        save_npz(
            path,
            {
                "ids": np.array(self.ids, dtype=np.str_),
                "frame": self.frame,
                "object": self.object,
                "J": self.similarity,
                "F": self.accuracy,
            },
        )

    @classmethod
    def read(cls, path: Path) -> FrameRows:
        """Read what `write` wrote. Raises BadInput for a missing or damaged file."""
        with rows_file(path) as arrays:
            return cls.of_arrays(arrays)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> FrameRows:
        """The rows of a file's arrays. Raises KeyError or ValueError where they are none."""
        ids = names_of(arrays)
        frame = integers(arrays["frame"], "frame", 0, len(ids))
        if not len(frame):
            raise ValueError("it has no rows")
        number = integers(arrays["object"], "object", 0, 1 << 31, (len(frame),))
        return cls(ids, frame, number, *(_shares(arrays[name], name, len(frame)) for name in ("J", "F")))

    @property
    def sequences(self) -> tuple[str, ...]:
        """The sequences in order."""
        return tuple(dict.fromkeys(name.rpartition("/")[0] for name in self.ids))

    def objects(self) -> list[tuple[str, int, Floats, Floats]]:
        """Of every object: its sequence, its number, and J and F of its frames in order.

        Raises ValueError for more than `MOST_OBJECTS`.
        """
        names = self.sequences
        number = {name: i for i, name in enumerate(names)}
        home = np.array([number[name.rpartition("/")[0]] for name in self.ids])[self.frame]
        changes = (home[1:] != home[:-1]) | (self.object[1:] != self.object[:-1])
        if np.count_nonzero(changes) >= MOST_OBJECTS:
            raise ValueError(f"there are more than {MOST_OBJECTS:,} objects")
        starts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(home)]
        return [
            (names[home[a]], int(self.object[a]), self.similarity[a:b], self.accuracy[a:b]) for a, b in pairwise(starts)
        ]

    # what every kind of rows answers: see `bench.scoring.rows.Rows`

    comparable: ClassVar[tuple[str, ...]] = ("JF_mean", *davis_figures.METRICS[:-1])

    def figures(self, preset: Mapping[str, Any]) -> dict[str, list[float]]:
        """The means over objects, one value each; what is undefined for any object is left out."""
        means = davis_figures.tables_of(self)[0].mean(axis=0)
        return {name: [value] for name, value in davis_figures.known(means).items()}

    @property
    def resampling(self) -> int:
        """The sequences to draw, and their objects to add up."""
        return 8 * len(self.ids)

    def entries(self, context: Context) -> dict[str, Any]:
        """`metrics` and `per_sequence`."""
        return davis_figures.entries(self, drawn=context.intervals)

    def image_scores(self) -> tuple[Floats, list[str]]:
        """J over a frame's objects; frames of a sequence are of one home."""
        objects = np.bincount(self.frame, minlength=len(self.ids))
        similarity = np.bincount(self.frame, self.similarity, minlength=len(self.ids))
        mean = np.divide(100 * similarity, objects, out=np.full(len(objects), np.nan), where=objects > 0)
        return mean, [name.rpartition("/")[0] for name in self.ids]

    def changed(self, other: FrameRows) -> npt.NDArray[np.bool_]:
        """Of each frame, whether J or F of any object is another one."""
        same = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("frame", "object"))
        require_alike(self, other, (same, True))
        found = np.zeros(len(self.ids), np.bool_)
        for mine, theirs in ((self.similarity, other.similarity), (self.accuracy, other.accuracy)):
            found[self.frame[(mine != theirs) & ~(np.isnan(mine) & np.isnan(theirs))]] = True
        return found

    def pair(
        self,
        other: FrameRows,
        preset: Mapping[str, Any],
        names: Sequence[str],
        resamples: int,
        *,
        one_model: bool = False,
    ) -> Paired:
        """By a paired bootstrap over sequences, which are also the parts."""
        return of_frames(self, other, resamples)


def _shares(array: npt.NDArray[Any], name: str, length: int) -> Floats:
    """J or F as it came, if it is of shares, or NaN where it is undefined. Raises ValueError that names it."""
    known = array[~np.isnan(array)] if array.dtype.kind == "f" else array
    if array.dtype.kind not in "fiu" or array.shape != (length,) or not ((known >= 0) & (known <= 1 + 1e-9)).all():
        raise ValueError(f"{name} is not a share from 0 to 1, one for each row")
    return array.astype(np.float64)
