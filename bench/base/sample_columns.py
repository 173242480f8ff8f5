"""Columns: what passes over images keep, as one array per name for all images together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.packed_arrays import Int64, Keys, Ragged

Item = dict[str, npt.NDArray[Any]]
"""What is kept of one sample: arrays of any length along their first axis."""


@dataclass(frozen=True)
class Columns:
    """The items of many samples. `columns["size"][i]` is sample i's size, `columns["size"].flat` holds those of all."""

    keys: Keys
    """Of the samples, in order."""
    names: Mapping[str, Ragged]

    @classmethod
    def of_items(cls, items: Mapping[bytes, Item]) -> Columns:
        """Join items; a name that one of them lacks is left out, as a figure needs it of all or of none."""
        rows = list(items.values())
        names = [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]
        return cls(Keys.of(items), {name: Ragged.of([row[name] for row in rows]) for name in names})

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        """All parts, one after the other; names as `of_items` has them."""
        held = [part for part in parts if len(part)]
        if len(held) < 2:
            return held[0] if held else cls.of_items({})
        names = [name for name in held[0].names if all(name in part.names for part in held)]
        keys = Keys(np.concatenate([part.keys.array for part in held]))
        return cls(keys, {name: Ragged.joined([part.names[name] for part in held]) for name in names})

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, name: str) -> Ragged:
        return self.names[name]

    def items(self) -> Iterator[tuple[bytes, Item]]:
        """Key and item of each sample, in order."""
        for i, key in enumerate(self.keys):
            yield key, {name: column[i] for name, column in self.names.items()}

    def take(self, where: Int64) -> Columns:
        """The samples at these places, in their order."""
        if len(where) == len(self) and (where == np.arange(len(self))).all():
            return self
        return Columns(Keys(self.keys.array[where]), {name: column.take(where) for name, column in self.names.items()})

    def without(self, name: str) -> Columns:
        """All but one of the names."""
        return Columns(self.keys, {own: column for own, column in self.names.items() if own != name})
