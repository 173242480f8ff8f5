"""Frame rows: what the protocol on video ends in, J and F of every object in every evaluated frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.base.files import save_npz
from bench.scoring.confusion_rows import rows_file

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FrameRows:
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
            ids = tuple(arrays["ids"].tolist())
            return cls(ids, arrays["frame"], arrays["object"], arrays["J"], arrays["F"])

    @property
    def sequences(self) -> tuple[str, ...]:
        """The sequences in order."""
        return tuple(dict.fromkeys(name.rpartition("/")[0] for name in self.ids))

    def objects(self) -> list[tuple[str, int, Floats, Floats]]:
        """Of every object: its sequence, its number, and J and F of its frames in order."""
        names = np.array([self.ids[i].rpartition("/")[0] for i in self.frame])
        changes = (names[1:] != names[:-1]) | (self.object[1:] != self.object[:-1])
        starts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(names)]
        return [
            (str(names[a]), int(self.object[a]), self.similarity[a:b], self.accuracy[a:b]) for a, b in pairwise(starts)
        ]
