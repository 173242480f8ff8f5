"""Votes of the nearest patches, position by position (docs/protocols.md#knn)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.passes.tokens import ImageTokens
from bench.protocols.knn.preset import KnnPreset
from bench.protocols.shared_by_patch import Bank, add_to_table, map_of, miou, require_counted, scaled
from bench.scoring.neighbours import Distance, search
from bench.scoring.patch_labels import vote

QUERIES = 1 << 15
"""Tokens that look through the bank at once."""
Ids = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """How many neighbours vote, and by which distance they are found."""

    neighbours: int
    distance: Distance

    @property
    def name(self) -> str:
        """As a record has it: `30 cosine`."""
        return f"{self.neighbours} {self.distance}"


def settings_of(preset: KnnPreset) -> list[Setting]:
    """All to choose from, in the order in which the first of equal ones counts."""
    return [Setting(number, distance) for number in preset.neighbours for distance in preset.distances]


def require_enough(bank: Bank, neighbours: int) -> None:
    """Raises BadInput for a bank of fewer patches than are to vote."""
    if len(bank) < neighbours:
        raise BadInput(
            f"the bank has {len(bank)} patch{'es' * (len(bank) != 1)}, fewer than the {neighbours} neighbours that are "
            "to vote",
            "Give the bank more images, or fewer neighbours with --set neighbours=[1,3].",
        )


def paint(
    images: Iterable[ImageTokens], bank: Bank, settings: Sequence[Setting], preset: KnnPreset, *, gpu: bool = False
) -> Iterator[tuple[ImageTokens, list[Ids]]]:
    """Every image with its map under each setting: class ids at the input size, void as the number of classes.

    Images are taken in blocks, and each block looks through the whole bank once for each distance.
    """
    for block in _blocks(images):
        queries = np.concatenate([scaled(image.tokens, bank.scaling) for image in block])
        found = {}
        for distance in dict.fromkeys(one.distance for one in settings):
            most = max(one.neighbours for one in settings if one.distance == distance)
            _, found[distance] = search(queries, bank.rows(), most, distance, gpu=gpu)
        start = 0
        for image in block:
            own = slice(start, start + len(image.tokens))
            start = own.stop
            yield image, [_map(image, found[one.distance][own, : one.neighbours], bank, preset) for one in settings]


def _blocks(images: Iterable[ImageTokens]) -> Iterator[list[ImageTokens]]:
    block: list[ImageTokens] = []
    for image in images:
        block.append(image)
        if sum(len(one.tokens) for one in block) >= QUERIES:
            yield block
            block = []
    if block:
        yield block


def _map(image: ImageTokens, nearest: Int64, bank: Bank, preset: KnnPreset) -> Ids:
    assert bank.pixels is not None
    patches = voted(bank.pixels[nearest], None if preset.void_votes else bank.order.void)
    if not preset.void_votes:  # where all neighbours are void: what the nearest one mostly is
        patches = np.where(patches == bank.order.void, bank.majority[nearest[:, :1]], patches)
    return map_of(patches, image, bank.order)


def voted(labels: Ids, left_out: int | None = None) -> Ids:
    """The most frequent of the k neighbours' labels at each position, N×k×P → N×P; the smallest of equal ones."""
    patches, neighbours, pixels = labels.shape
    flat = np.ascontiguousarray(labels.transpose(1, 0, 2)).reshape(neighbours, -1)
    return vote(flat, left_out).reshape(patches, pixels)


def figures(
    images: Iterable[ImageTokens], bank: Bank, settings: Sequence[Setting], preset: KnnPreset, *, gpu: bool = False
) -> dict[str, float]:
    """mIoU in percent of each setting on images with labels, by name. Raises BadInput where no pixel is labelled."""
    classes, ignore = bank.order.classes, bank.order.ignore
    tables = [np.zeros((classes + 1, classes), np.int64) for _ in settings]
    for image, maps in paint(images, bank, settings, preset, gpu=gpu):
        for table, found in zip(tables, maps, strict=True):
            if (label := bank.order.counted(image.label)) is not None:
                add_to_table(table, found, label, ignore)
    require_counted(tables[0])
    return dict(zip((one.name for one in settings), miou(tables, preset.absent), strict=True))
