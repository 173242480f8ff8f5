"""Annotated boxes: those of a split's images, by the `boxes` of its data set's card."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.base.errors import BadInput
from bench.base.files import sha256_file
from bench.base.parallel import default_workers, prefetch
from bench.data.boxes import Boxes, read_coco_boxes, read_voc_boxes
from bench.data.samples import Samples, find_layout


@dataclass(frozen=True)
class Annotated:
    """The annotated boxes of a split's images, in its order."""

    boxes: Sequence[Boxes]
    digests: Sequence[bytes]
    """Of each image, the SHA-256 of the file that has its boxes."""


def has_boxes(samples: Samples) -> bool:
    """Whether the card says where the boxes of a split lie."""
    return _pattern(samples) is not None


def box_files(samples: Samples) -> list[Path]:
    """The files that have the boxes: one for each image, in order, or one for all. Raises BadInput without any."""
    pattern = _pattern(samples)
    if pattern is None:
        raise BadInput(
            f"{samples.card.id} has no boxes for {samples.split}, and --protocol discovery needs them",
            "Give the split `boxes` in the card: Annotations/{id}.xml, or one file of COCO's instances.",
        )
    _, _, base = find_layout(samples.card, samples.split, samples.root)
    return [base / pattern.replace("{id}", name) for name in samples.ids] if "{id}" in pattern else [base / pattern]


def read_annotated(samples: Samples, workers: int | None = None) -> Annotated:
    """Read the boxes of every image. Raises BadInput, naming the file, where some are missing or damaged."""
    files = box_files(samples)
    if "{id}" not in str(_pattern(samples)):
        return _of_one_file(files[0], samples)
    with ThreadPoolExecutor(workers or default_workers(), "bench-loader") as pool:
        read = list(prefetch(pool, lambda path: (read_voc_boxes(path), bytes.fromhex(sha256_file(path))), files, 32))
    return Annotated([boxes for boxes, _ in read], [digest for _, digest in read])


def _of_one_file(path: Path, samples: Samples) -> Annotated:
    found, digest = read_coco_boxes(path), bytes.fromhex(sha256_file(path))
    missing = [name for name in samples.ids if name not in found and Path(name).name not in found]
    if missing:
        raise BadInput(
            f"{path} has no image '{missing[0]}' ({len(missing)} of {len(samples)} images are not in it)",
            "Give the file of the split's own images.",
        )
    boxes = [found[name] if name in found else found[Path(name).name] for name in samples.ids]
    return Annotated(boxes, [digest] * len(boxes))


def without_hard(boxes: Boxes) -> Boxes:
    """The boxes of objects that are not marked as difficult or truncated."""
    kept = ~np.asarray(boxes.hard, bool)
    return Boxes(boxes.boxes[kept], boxes.hard[kept])


def _pattern(samples: Samples) -> str | None:
    _, files, _ = find_layout(samples.card, samples.split, samples.root)
    pattern: str | None = getattr(files, "boxes", None)
    return pattern
