"""Shards: the cache of passes over images. It can be resumed, and several processes can share it.

Rows are found by the sample's key, not only by position: a limited run, a longer list or one changed image
uses all rows that are still valid. Files are replaced whole, so a reader never sees half a shard. At worst, two
writers do the same work twice. What a power loss damaged is dropped and made again (`bench.base.own_files`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadEnvironment
from bench.base.own_files import drop, load_arrays, load_json, save_arrays, save_json
from bench.base.packed_arrays import Keys, Ragged
from bench.base.parallel import Progress
from bench.base.sample_columns import Columns, Item

SHARD = 256
"""Samples per file."""
FLUSH_SECONDS = 30.0
_TRIES = 3
Found = TypeVar("Found")


class DamagedShard(BadEnvironment):
    """What lies apart of some samples was damaged: it is dropped, and the next pass makes it again."""


def again_where_damaged(work: Callable[[], Found]) -> Found:
    """What `work` gives; it is done again where the cache turns out to be damaged on the way, three times at most."""
    for _ in range(_TRIES - 1):
        with suppress(DamagedShard):  # it is dropped by now
            return work()
    return work()


@dataclass(frozen=True)
class Column:
    """What the arrays of one name are: a file of another form is none that this program wrote."""

    dtype: str
    row: tuple[int | None, ...] = ()
    """The shape of a row; None for any length."""
    rows: int | None = None
    """Rows per sample; None for any number."""
    like: str = ""
    """The column with as many rows per sample, if there is one."""
    optional: bool = False

    def fits(self, column: Ragged, others: Mapping[str, Ragged]) -> bool:
        """Whether a column is of this form."""
        row = column.flat.shape[1:]
        return (
            column.flat.dtype == self.dtype
            and len(row) == len(self.row)
            and all(own in (None, length) for own, length in zip(self.row, row, strict=True))
            and (self.rows is None or bool((column.lengths == self.rows).all()))
            and (self.like not in others or np.array_equal(column.ends, others[self.like].ends))
        )


DIGEST = Column("uint8", rows=16)
"""`bench.passes.image_pass.short_digest` of a sample's files."""


class ShardStore:
    """Cached items of one split under one recipe, in shards of 256 samples, or of `size`.

    The array named `apart` lies in a file of its own beside the others, and is read only on demand. `columns` says what
    the arrays are like; without it they are taken as they come.
    """

    def __init__(
        self, folder: Path, apart: str, columns: Mapping[str, Column] | None = None, size: int | None = None
    ) -> None:
        self.folder = folder
        self.apart = apart
        self.columns = columns or {}
        self.size = SHARD if size is None else size

    @classmethod
    def for_recipe(
        cls,
        cache: Path,
        kind: str,
        recipe: dict[str, Any],
        apart: str,
        columns: Mapping[str, Column] | None = None,
        size: int | None = None,
    ) -> ShardStore:
        """The store of all that was found in this way. `recipe` must be plain JSON values."""
        text = json.dumps(recipe, sort_keys=True)
        return cls(cache / kind / hashlib.sha256(text.encode()).hexdigest()[:24], apart, columns, size)

    def _paths(self, shard: int) -> tuple[Path, Path]:
        return self.folder / f"{shard:05d}.npz", self.folder / f"{shard:05d}.{self.apart}.npz"

    def load(self, shard: int) -> Columns:
        """One shard, without what lies apart, of the samples that have both. A damaged file is dropped."""
        path, beside = self._paths(shard)
        found = load_arrays(beside, only=("keys",))
        apart = _keys(found) if found else None
        if apart is None:
            return Columns.of_items({})
        rows = self._read(path, self.columns.keys() - {self.apart})
        if np.array_equal(rows.keys.array, apart.array):
            return rows
        there = set(apart)
        return _only(rows, [key for key in rows.keys if key in there])

    def load_apart(self, shard: int) -> dict[bytes, npt.NDArray[Any]]:
        """The arrays of one shard that lie apart, by sample key. A damaged file is dropped."""
        return {key: item[self.apart] for key, item in self._read(self._paths(shard)[1], {self.apart}).items()}

    def _read(self, path: Path, names: Iterable[str]) -> Columns:
        """What `_write` wrote, with the columns of these `names` in their form; empty where it is absent or damaged."""
        arrays = load_arrays(path)
        if arrays is None:
            return Columns.of_items({})
        read = _columns(arrays)
        if read is not None and all(self._fits(name, read) for name in names):
            return read
        drop(path)
        return Columns.of_items({})

    def _fits(self, name: str, read: Columns) -> bool:
        """Whether a file has the column of this name, in its form."""
        form = self.columns.get(name)
        if name not in read.names:
            return not len(read) or (form is not None and form.optional)
        return form is None or form.fits(read[name], read.names)

    def save(self, shard: int, fresh: dict[bytes, Item]) -> None:
        """Add items to a shard; what lies apart is written first."""
        path, beside = self._paths(shard)
        apart = self.load_apart(shard) | {key: item[self.apart] for key, item in fresh.items()}
        rows = {key: item for key, item in self.load(shard).items() if key in apart}
        rows |= {key: without(item, self.apart) for key, item in fresh.items()}
        _write(beside, {key: {self.apart: apart[key]} for key in rows})
        _write(path, rows)

    def known(self, keys: Sequence[bytes]) -> Columns:
        """All that is cached of `keys`, in their order, without what lies apart."""
        return Columns.joined([_only(self.load(shard), members) for shard, members in shards(keys, self.size)])

    def read_meta(self) -> dict[str, Any]:
        """What is known of the pass that filled this store."""
        return load_json(self.folder / "meta.json") or {}

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Keep what is known of the pass that filled this store."""
        save_json(self.folder / "meta.json", meta)

    def iterate_apart(self, keys: Sequence[bytes], chosen: Sequence[int] | None = None) -> Iterator[npt.NDArray[Any]]:
        """What lies apart of each of `keys`, or of those at `chosen`, in order, one shard in memory at a time.

        Raises DamagedShard where some of it is no longer there; then all that is damaged is dropped.
        """
        wanted = None if chosen is None else frozenset(chosen)
        for shard, members in shards(keys, self.size):
            places = enumerate(members, start=shard * self.size)
            mine = [key for i, key in places if wanted is None or i in wanted]
            if mine:
                rows = self.load_apart(shard)
                if any(key not in rows for key in mine):
                    self._give_up(keys)
                yield from (rows[key] for key in mine)

    def _give_up(self, keys: Sequence[bytes]) -> None:
        """Drop every file that is damaged, so that one more pass makes all of it, and raise DamagedShard."""
        for shard, _ in shards(keys, self.size):
            self.load_apart(shard)
        raise DamagedShard(
            f"files of the cache at {self.folder} were damaged and are dropped",
            "Run the same command again: it makes them again. If that does not help, check the disk.",
        )

    def fill(
        self,
        keys: Sequence[bytes],
        todo: Sequence[int],
        fresh: Iterable[Item],
        progress: Progress | None,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> Columns:
        """Take in the items of the samples at `todo`, saving shard by shard, and what there is on any way out.

        Returns them in order, without what lies apart: memory must not grow with it. A killed process loses the work of
        `flush_seconds`, or of the one sample in hand.
        """
        found: list[Columns] = []
        unsaved: dict[int, dict[bytes, Item]] = {}
        saved_at = time.monotonic()
        already = len(keys) - len(todo)

        def save(numbers: Iterable[int]) -> None:
            for shard in list(numbers):
                self.save(shard, unsaved[shard])
                found.append(Columns.of_items(unsaved.pop(shard)).without(self.apart))

        try:
            for done, (index, item) in enumerate(zip(todo, fresh, strict=True), start=already + 1):
                shard = index // self.size
                unsaved.setdefault(shard, {})[keys[index]] = item
                if progress:
                    progress(done, len(keys))
                save([other for other in unsaved if other != shard])  # complete: nothing more of it can come
                if time.monotonic() - saved_at > flush_seconds:
                    save(unsaved)
                    saved_at = time.monotonic()
        finally:
            save(unsaved)
        return Columns.joined(found)


def without(item: Item, name: str) -> Item:
    """The item without one of its arrays."""
    return {key: array for key, array in item.items() if key != name}


def shards(keys: Sequence[bytes], size: int = SHARD) -> Iterable[tuple[int, Sequence[bytes]]]:
    """Shard numbers with the sample keys that belong in each."""
    return ((start // size, keys[start : start + size]) for start in range(0, len(keys), size))


def _only(held: Columns, keys: Iterable[bytes]) -> Columns:
    """What is held of `keys`, in their order."""
    places = {key: i for i, key in enumerate(held.keys)}
    return held.take(np.array([places[key] for key in keys if key in places], np.int64))


def _write(path: Path, rows: dict[bytes, Item]) -> None:
    """Arrays of one name are joined; `<name>.ends` says where each sample's part ends."""
    columns = Columns.of_items(rows)
    arrays: dict[str, npt.NDArray[Any]] = {"keys": columns.keys.array}
    for name, column in columns.names.items():
        arrays |= {name: column.flat, f"{name}.ends": column.ends}
    save_arrays(path, arrays)


def _columns(arrays: Mapping[str, npt.NDArray[Any]]) -> Columns | None:
    """The arrays that `_write` made of columns as columns again; None where they are no such arrays."""
    keys = _keys(arrays)
    if keys is None:
        return None
    names = {name: Ragged(arrays[name], arrays[f"{name}.ends"]) for name in arrays if f"{name}.ends" in arrays}
    return Columns(keys, names) if all(_fits(column, len(keys)) for column in names.values()) else None


def _keys(arrays: Mapping[str, npt.NDArray[Any]]) -> Keys | None:
    keys = arrays.get("keys")
    return None if keys is None or keys.ndim != 2 or keys.dtype != np.uint8 else Keys(keys)


def _fits(column: Ragged, samples: int) -> bool:
    """Whether a column from a file is one: an end per sample, none before the last, within the array."""
    flat, ends = column.flat, column.ends
    if flat.ndim == 0 or ends.dtype != np.int64 or ends.shape != (samples,):
        return False
    return bool((column.lengths >= 0).all()) and int(ends[-1] if samples else 0) == len(flat)
