"""Block reader: what all readers of transformers of equal blocks share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.networks.reading.layers import Layer
from bench.networks.reading.maps import concatenated
from bench.networks.reading.paths import read_path
from bench.networks.reading.reader import Read, Reader

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION = ("key", "query", "value")


class BlockReader(Reader):
    """Reads a transformer of equal blocks; a family says how."""

    @abstractmethod
    def maps(self, images: Tensor, blocks: Sequence[int], norm: bool) -> Sequence[Tensor]:
        """The outputs of blocks, counted from 1 in rising order, B×D×h×w each; with `norm` after the final norm."""

    @abstractmethod
    def attention(self, block: int, kind: str) -> Read:
        """What gives the keys, queries or values of a block's attention. Raises WrongName where it has none."""

    def reading(self, layer: Layer) -> Read:
        """What gives a layer of the blocks, or of a path."""
        if layer.kind in ("path", "part"):
            return read_path(self.module, layer.name)
        depth = self.structure.depth or 0
        if layer.kind not in ("last", "block", *ATTENTION) or not depth or (layer.number or 1) > depth:
            raise self.unknown(layer)
        if layer.kind == "last":
            blocks = range(depth - (layer.number or 1) + 1, depth + 1)
            return lambda images: concatenated(self.maps(images, blocks, True))
        number = layer.number or depth
        if layer.kind == "block":
            return lambda images: self.maps(images, [number], layer.norm)[0]
        return self.attention(number, layer.kind)


def block_layers(depth: int) -> tuple[str, ...]:
    """The names of what can be read of a transformer of `depth` equal blocks, for messages."""
    blocks = f"block1 to block{depth} (raw), block1+norm to block{depth}+norm"
    return (f"last, last1 to last{depth}", blocks, f"key, query, value, key1 to key{depth} and the like")
