"""Shards: the cache of passes over images. It can be resumed, and several processes can share it.

Rows are found by the sample's key, not only by position: a limited run, a longer list or one changed image
uses all rows that are still valid. Files are replaced whole, so a reader never sees half a shard. At worst, two
writers do the same work twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.files import load_npz, save_npz, write_with
from bench.base.packed_arrays import Keys, Ragged
from bench.base.parallel import Progress
from bench.base.sample_columns import Columns, Item

SHARD = 256
"""Samples per file."""
FLUSH_SECONDS = 30.0


class ShardStore:
    """Cached items of one split under one recipe, in shards of 256 samples.

    The array named `apart` lies in a file of its own beside the others, and is read only on demand.
    """

    def __init__(self, folder: Path, apart: str) -> None:
        self.folder = folder
        self.apart = apart

    @classmethod
    def for_recipe(cls, cache: Path, kind: str, recipe: dict[str, Any], apart: str) -> ShardStore:
        """The store of all that was found in this way. `recipe` must be plain JSON values."""
        text = json.dumps(recipe, sort_keys=True)
        return cls(cache / kind / hashlib.sha256(text.encode()).hexdigest()[:24], apart)

    def _paths(self, shard: int) -> tuple[Path, Path]:
        return self.folder / f"{shard:05d}.npz", self.folder / f"{shard:05d}.{self.apart}.npz"

    def load(self, shard: int) -> Columns:
        """One shard, without what lies apart. A damaged file counts as absent."""
        path, beside = self._paths(shard)
        return _read(path) if beside.is_file() else Columns.of_items({})

    def load_apart(self, shard: int) -> dict[bytes, npt.NDArray[Any]]:
        """The arrays of one shard that lie apart, by sample key."""
        return {key: item[self.apart] for key, item in _read(self._paths(shard)[1]).items()}

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
        return Columns.joined([_only(self.load(shard), members) for shard, members in shards(keys)])

    def read_meta(self) -> dict[str, Any]:
        """What is known of the pass that filled this store."""
        try:
            meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return meta if isinstance(meta, dict) else {}

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Keep what is known of the pass that filled this store."""
        write_with(self.folder / "meta.json", lambda stream: stream.write(json.dumps(meta).encode()))

    def iterate_apart(self, keys: Sequence[bytes], chosen: Sequence[int] | None = None) -> Iterator[npt.NDArray[Any]]:
        """What lies apart of each of `keys`, or of those at `chosen`, in order, one shard in memory at a time."""
        wanted = None if chosen is None else frozenset(chosen)
        for shard, members in shards(keys):
            places = enumerate(members, start=shard * SHARD)
            mine = [key for i, key in places if wanted is None or i in wanted]
            if mine:
                rows = self.load_apart(shard)
                yield from (rows[key] for key in mine)

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
                shard = index // SHARD
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


def shards(keys: Sequence[bytes]) -> Iterable[tuple[int, Sequence[bytes]]]:
    """Shard numbers with the sample keys that belong in each."""
    return ((start // SHARD, keys[start : start + SHARD]) for start in range(0, len(keys), SHARD))


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
    save_npz(path, arrays)


def _read(path: Path) -> Columns:
    """What `_write` wrote; empty where the file is absent or damaged."""
    arrays = load_npz(path) or {}
    keys = arrays.get("keys")
    if keys is None or keys.ndim != 2 or keys.dtype != np.uint8:
        return Columns.of_items({})
    names = {name: Ragged(arrays[name], arrays[f"{name}.ends"]) for name in arrays if f"{name}.ends" in arrays}
    if not all(_fits(column, len(keys)) for column in names.values()):
        return Columns.of_items({})
    return Columns(Keys(keys), names)


def _fits(column: Ragged, samples: int) -> bool:
    """Whether a column from a file is one: an end per sample, none before the last, within the array."""
    flat, ends = column.flat, column.ends
    if flat.ndim == 0 or ends.dtype != np.int64 or ends.shape != (samples,):
        return False
    return bool((column.lengths >= 0).all()) and int(ends[-1] if samples else 0) == len(flat)
