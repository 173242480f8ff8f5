"""Palettes: the colours of class ids."""

from __future__ import annotations

import numpy as np

from bench.cards.datasets import DatasetCard


def voc_palette() -> bytes:
    """The PASCAL VOC colour map, 256 RGB triples: the bits of the index dealt out to the channels."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * bit + c)) & 1) << (7 - bit) for bit in range(3)) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8).tobytes()


def palette_of(card: DatasetCard) -> bytes:
    """A data set's palette, 256 RGB triples; ids without a colour of their own keep PASCAL VOC's."""
    standard = voc_palette()
    if card.palette == "voc":
        return standard
    own = bytes(value for colour in card.palette for value in colour)
    return own + standard[len(own) :]
