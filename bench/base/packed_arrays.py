"""Packed: sequences that are kept in one or two arrays. A list would need a Python object per image.

A list of a million ids takes about 100 MB, and their paths several times that. Packed, they take one byte per letter,
and an element is made when it is asked for.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, TypeVar, overload

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Element = TypeVar("Element")


class _Packed(Sequence[Element]):
    """What the sequences below share: elements one by one, slices as sequences of the same kind, equality."""

    @abstractmethod
    def element(self, index: int) -> Element:
        """The element at 0 ≤ `index` < length."""

    @classmethod
    @abstractmethod
    def of(cls, elements: Iterable[Element]) -> _Packed[Element]:
        """Pack these elements."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Element: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Element]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Element | Sequence[Element]:
        if isinstance(index, slice):
            return self.of(self.element(i) for i in range(*index.indices(len(self))))
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{number} is out of range for {len(self)} elements")
        return self.element(number % len(self))

    def __iter__(self) -> Iterator[Element]:
        return map(self.element, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(repr(element) for element in self[:3])
        return f"{type(self).__name__}({shown}{', …' if len(self) > 3 else ''}; {len(self)} in all)"


class Names(_Packed[str]):
    """Strings, as UTF-8 in one run of bytes."""

    def __init__(self, text: bytes, ends: Int64) -> None:
        self._text, self._ends = text, ends

    @classmethod
    def of(cls, elements: Iterable[str]) -> Names:
        """Pack these strings; an iterator is never held as a list."""
        text = bytearray()

        def ends() -> Iterator[int]:
            for name in elements:
                text.extend(name.encode("utf-8", "surrogatepass"))  # file names can hold what is no text
                yield len(text)

        positions = np.fromiter(ends(), np.int64)
        return cls(bytes(text), positions)

    def __len__(self) -> int:
        return len(self._ends)

    def element(self, index: int) -> str:
        """One string."""
        start = self._ends[index - 1] if index else 0
        return self._text[start : self._ends[index]].decode("utf-8", "surrogatepass")


class Keys(_Packed[bytes]):
    """Keys of one length, as N×length uint8."""

    def __init__(self, array: npt.NDArray[np.uint8]) -> None:
        self.array = array

    @classmethod
    def of(cls, elements: Iterable[bytes]) -> Keys:
        """Pack these keys, which must be of one length."""
        found = list(elements)
        width = len(found[0]) if found else 0
        return cls(np.frombuffer(b"".join(found), np.uint8).reshape(len(found), width))

    def __len__(self) -> int:
        return len(self.array)

    def element(self, index: int) -> bytes:
        """One key."""
        return self.array[index].tobytes()


class Ragged(_Packed[Array]):
    """Arrays of any length along their first axis, joined; `ends` says where each one's part ends."""

    def __init__(self, flat: Array, ends: Int64) -> None:
        self.flat, self.ends = flat, ends

    @classmethod
    def of(cls, elements: Iterable[Array]) -> Ragged:
        """Join these arrays, of which there must be one at least; what is ragged already stays as it is."""
        if isinstance(elements, Ragged):
            return elements
        found = list(elements)
        return cls(np.concatenate(found), np.cumsum([len(array) for array in found], dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """The elements of all parts, of which there must be one at least."""
        before = np.cumsum([0, *(len(part.flat) for part in parts[:-1])])
        ends = [part.ends + start for part, start in zip(parts, before, strict=True)]
        return cls(np.concatenate([part.flat for part in parts]), np.concatenate(ends).astype(np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def element(self, index: int) -> Array:
        """One array: a view."""
        return self.flat[self.ends[index - 1] if index else 0 : self.ends[index]]

    @property
    def lengths(self) -> Int64:
        """Of every element."""
        return np.diff(self.ends, prepend=0)

    def take(self, where: Int64) -> Ragged:
        """The elements at these places, in their order."""
        lengths = self.lengths[where]
        ends = np.cumsum(lengths)
        # each place's row in `flat`: where its element starts there, and how far into the element it is
        shift = self.ends[where] - lengths - (ends - lengths)
        return Ragged(self.flat[np.repeat(shift, lengths) + np.arange(lengths.sum())], ends)

    def where(self, kept: npt.NDArray[np.bool_]) -> Ragged:
        """All elements, with only those of their rows that are `kept`, a flag per row of `flat`."""
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return Ragged(self.flat[kept], before[self.ends])


def stacked(parts: Iterable[npt.NDArray[Any]], total: int) -> npt.NDArray[Any]:
    """Parts n×D as one array total×D, each put in its place as it comes: they are never held twice.

    Without any part 0×0, float32.
    """
    whole: npt.NDArray[Any] = np.empty((0, 0), np.float32)
    start = 0
    for part in parts:
        if not whole.size:
            whole = np.empty((total, part.shape[1]), part.dtype)
        whole[start : start + len(part)] = part
        start += len(part)
    return whole
