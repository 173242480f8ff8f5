"""Rows: the counts that every protocol gives. They are kept beside the record; all figures are counted from them.

There are `confusion_rows` (pixels per image, predicted and true class), `frame_rows` (J and F of objects in a video's
frames), `cluster_rows` (clusters where there are no labels), and two kinds of `image_rows`, whose figures are means
over images: `saliency_rows` and `box_rows`. Whoever reads rows asks them, and need not know which kind they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[Any]
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
    intervals: bool = True
    """Whether to draw the resamples that intervals need, which takes most of the time."""


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

    def further(self, preset: Mapping[str, Any], names: Collection[str]) -> dict[str, list[float]]:
        """As `figures`, of those `names` that a protocol counts beside them (`Context.extra`) and rows give too."""
        ...

    def mappings(self) -> list[list[int]]:
        """Per seed: predicted id → class, as far as the rows show it; none where they do not tell ids apart."""
        ...

    def solver_gap(self, preset: Mapping[str, Any]) -> float | None:
        """How far the solver is from the authors', in points, where the rows have what it was counted from."""
        ...

    def authors(self, preset: Mapping[str, Any]) -> dict[str, list[float]] | None:
        """Metric → what the authors' solver gives over many seeds, percent, where the rows have it."""
        ...

    @property
    def resampling(self) -> int:
        """About how many numbers a resample takes up: what an interval costs."""
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

    def changed(self, other: Self) -> Flags:
        """Of each image, whether `other` rows of the same images have other counts under any seed.

        Raises ValueError for rows of other images, seeds or classes.
        """
        ...

    def pair(
        self,
        other: Self,
        preset: Mapping[str, Any],
        names: Sequence[str],
        resamples: int,
        *,
        one_model: bool = False,
    ) -> Paired:
        """How the same images' `other` rows differ, metric by metric and part by part (`names`, as `part_names` has).

        Raises ValueError, saying why, for rows that are not of the same things.
        """
        ...


class WithoutClasses:
    """What rows answer in which no id has a class, and nothing was solved."""

    def further(self, preset: Mapping[str, Any], names: Collection[str]) -> dict[str, list[float]]:
        """None."""
        return {}

    def mappings(self) -> list[list[int]]:
        """None: nothing has a class."""
        return []

    def solver_gap(self, preset: Mapping[str, Any]) -> None:
        """None: there is no figure that solvers could differ in."""
        return None

    def authors(self, preset: Mapping[str, Any]) -> None:
        """None: nothing is solved."""
        return None

    def part_names(self, classes: Sequence[str]) -> list[str]:
        """None: the parts, if there are any, have names of their own."""
        return []


def read(path: Path) -> Rows:
    """Read a rows file of any kind. Raises BadInput for a missing or damaged one."""
    from bench.scoring.box_rows import BoxRows
    from bench.scoring.cluster_rows import ClusterRows
    from bench.scoring.confusion_rows import ConfusionRows
    from bench.scoring.frame_rows import FrameRows
    from bench.scoring.saliency_rows import SaliencyRows

    kinds = {"clusters": ClusterRows, "J": FrameRows, "level": SaliencyRows, "box_iou": BoxRows}
    with rows_file(path) as arrays:
        kind: Any = next((kind for column, kind in kinds.items() if column in arrays), ConfusionRows)
        found: Rows = kind.of_arrays(arrays)
        return found


@contextmanager
def rows_file(path: Path) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The arrays of a rows file. Raises BadInput where it is missing or damaged, or what is read in here not as it was.

    KeyError, ValueError and TypeError inside of the `with` count as damage.
    """
    try:
        arrays = load_npz(path, most=_unpacked(path))
        if arrays is None:
            raise KeyError("no .npz archive")
        yield arrays
    except (KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise BadInput(f"{path} is missing or damaged ({error})", "Run the evaluation again.") from error


def _unpacked(path: Path) -> int:
    """Bytes that a rows file may unpack to. What we write packs to a tenth or so; all zeros would to a thousandth."""
    try:
        return (64 << 20) + 50 * min(path.stat().st_size, 1 << 26)
    except (OSError, ValueError):
        return 0


def require_alike(one: Rows, other: Rows, *sizes: tuple[object, object]) -> None:
    """Raises ValueError where rows are of other images, or of other sizes: of seeds, classes, clusters."""
    if tuple(one.ids) != tuple(other.ids):
        raise ValueError("they are of other images")
    if any(mine != theirs for mine, theirs in sizes):
        raise ValueError("they are of other numbers of seeds, classes, clusters or objects")


def changed_images(
    one: Sequence[tuple[Ints, Ints, Ints]], other: Sequence[tuple[Ints, Ints, Ints]], images: int
) -> Flags:
    """Of each image, whether two runs' counts differ under any seed. Both are image, kind and count of rows, per seed.

    Rows of an image and kind add up, whatever their order.
    """
    found = np.zeros(images, np.bool_)
    for mine, theirs in zip(one, other, strict=True):
        image, kind = (np.concatenate([a, b]).astype(np.int64) for a, b in zip(mine[:2], theirs[:2], strict=True))
        count = np.concatenate([mine[2].astype(np.int64), -theirs[2].astype(np.int64)])
        pairs, place = np.unique(np.stack([image, kind]), axis=1, return_inverse=True)
        difference = np.zeros(pairs.shape[1], np.int64)
        np.add.at(difference, place.reshape(-1), count)
        found[pairs[0][difference != 0]] = True
    return found


MOST_IMAGES = 1 << 22
MOST_CLASSES = 1 << 16
"""A label map has 16 bits."""
MOST_SEEDS = 1000


def integers(
    array: npt.NDArray[Any], name: str, low: int, high: int, shape: tuple[int | None, ...] = (None,)
) -> npt.NDArray[Any]:
    """An array as it came, if it is of whole numbers from `low` to below `high` and of this shape; None is any length.

    Raises ValueError that names it.
    """
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in "iu" or not fits:
        raise ValueError(f"{name} is not an array of whole numbers, one for each row")
    if array.size and not low <= int(array.min()) <= int(array.max()) < high:
        raise ValueError(f"{name} is out of range")
    return array


def whole_number(array: npt.NDArray[Any], name: str, low: int, high: int) -> int:
    """The one whole number, from `low` to below `high`, that an array holds. Raises ValueError that names it."""
    return int(integers(array, name, low, high, ()))


def names_of(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    """The images' ids. Raises ValueError where they are none."""
    ids = arrays["ids"]
    if ids.ndim != 1 or (ids.dtype.kind != "U" and len(ids)) or len(ids) > MOST_IMAGES:
        raise ValueError("ids is not a list of names")
    names = tuple(ids.tolist())
    if len(set(names)) < len(names):
        raise ValueError("an id is there twice")
    return names


def by_seed(arrays: Mapping[str, npt.NDArray[Any]], kind: type[Seed]) -> tuple[Seed, ...]:
    """The columns of a rows file cut into one `kind` per seed; `lengths` says how many rows each has.

    Raises ValueError where the lengths are not those of the columns.
    """
    lengths = integers(arrays["lengths"], "lengths", 0, 1 << 40)
    if not 0 < len(lengths) <= MOST_SEEDS:
        raise ValueError(f"there are {len(lengths)} seeds")
    names, total = list(kind.__annotations__), int(lengths.sum())
    if any(arrays[name].shape != (total,) for name in names):
        raise ValueError("its columns are not of the lengths that it says")
    columns = (np.split(arrays[name], np.cumsum(lengths)[:-1]) for name in names)
    return tuple(kind(*parts) for parts in zip(*columns, strict=True))
