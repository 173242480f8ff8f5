"""Rows: the counts that every protocol gives. They are kept beside the record; all figures are counted from them.

There are three kinds: `confusion_rows` (pixels per image, predicted and true class), `frame_rows` (J and F of objects
in a video's frames) and `cluster_rows` (clusters where there are no labels). Whoever reads rows asks them, and need
not know which kind they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.files import load_npz
from bench.scoring import matching

if TYPE_CHECKING:
    from bench.scoring.paired import Paired

Floats = npt.NDArray[np.float64]
Seed = TypeVar("Seed")


@dataclass(frozen=True)
class Context:
    """What a record says that rows do not know."""

    preset: Mapping[str, Any] = field(default_factory=dict)
    """The resolved one; `absent` says how absent classes count."""
    classes: Sequence[str] = ()
    seeds: tuple[int, ...] = ()
    extra: Mapping[str, list[float]] = field(default_factory=dict)
    """Further metrics that the rows do not give, a value per seed."""
    mappings: Sequence[matching.Mapping] = ()
    """Per seed: predicted id → class, or −1."""


class Rows(Protocol):
    """What a protocol's figures are computed from."""

    @property
    def ids(self) -> Sequence[str]:
        """The images that were predicted, in order."""
        ...

    @property
    def comparable(self) -> tuple[str, ...]:
        """The metrics of which every image's part is known, so that two models can be compared; the main one first."""
        ...

    def write(self, path: Path) -> None:
        """Write to an .npz file, atomically."""
        ...

    def figures(self, preset: Mapping[str, Any]) -> dict[str, list[float]]:
        """Metric → its value under each seed, percent, of the metrics that the rows alone give."""
        ...

    def entries(self, context: Context) -> dict[str, Any]:
        """What a record says of figures: `metrics`, and the parts that they are made of."""
        ...

    def image_scores(self) -> tuple[Floats | None, Sequence[str] | None]:
        """Each image's score under the first seed, percent, NaN where it has none; None without labels.

        And the home of each image, where several are of one kind, as frames of a sequence are; None where not.
        """
        ...

    def part_names(self, classes: Sequence[str]) -> list[str]:
        """What the parts that figures are made of are called, where a record names `classes`."""
        ...

    def pair(self, other: Self, preset: Mapping[str, Any], names: Sequence[str], resamples: int) -> Paired:
        """How the same images' `other` rows differ, metric by metric and part by part (`names`, as `part_names` has).

        Raises ValueError, saying why, for rows that are not of the same things.
        """
        ...


def read(path: Path) -> Rows:
    """Read a rows file of any kind. Raises BadInput for a missing or damaged one."""
    from bench.scoring.cluster_rows import ClusterRows
    from bench.scoring.confusion_rows import ConfusionRows
    from bench.scoring.frame_rows import FrameRows

    with rows_file(path) as arrays:
        if "clusters" in arrays:
            return ClusterRows.of_arrays(arrays)
        return FrameRows.of_arrays(arrays) if "J" in arrays else ConfusionRows.of_arrays(arrays)


@contextmanager
def rows_file(path: Path) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The arrays of a rows file. Raises BadInput where it is missing or damaged, or what is read in here not as it was.

    KeyError, ValueError and TypeError inside of the `with` count as damage.
    """
    try:
        arrays = load_npz(path)
        if arrays is None:
            raise KeyError("no .npz archive")
        yield arrays
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{path} is missing or damaged ({error})", "Run the evaluation again.") from error


def by_seed(arrays: Mapping[str, npt.NDArray[Any]], kind: type[Seed]) -> tuple[Seed, ...]:
    """The columns of a rows file cut into one `kind` per seed; `lengths` says how many rows each has."""
    ends = np.cumsum(arrays["lengths"])[:-1]
    columns = (np.split(arrays[name], ends) for name in kind.__annotations__)
    return tuple(kind(*parts) for parts in zip(*columns, strict=True))
