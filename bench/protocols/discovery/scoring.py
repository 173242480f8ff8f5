"""Scoring: one predicted box of every image against its annotated ones (docs/protocols.md#discovery)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.files import sha256_file
from bench.data.annotated_boxes import without_hard
from bench.data.boxes import Boxes
from bench.data.samples import Samples
from bench.passes.image_pass import short_digest
from bench.passes.observations import manifest_of
from bench.scoring.box_rows import BoxRows
from bench.scoring.corloc import best_iou

Box = npt.NDArray[np.float64]
"""x1, y1, x2, y2 in pixels."""


def rows_of(samples: Samples, boxes: Sequence[Box | None], annotated: Sequence[Boxes], *, hard: bool) -> BoxRows:
    """The best IoU of every image's box; without `hard` objects if they do not count.

    Raises BadInput where no image has a box that counts.
    """
    kept = [one.boxes if hard else without_hard(one).boxes for one in annotated]
    objects = np.array([len(one) for one in kept], np.int32)
    if not objects.any():
        raise BadInput(f"no annotated box in any of the {len(samples)} images counts", "Use images with boxes.")
    best = np.array([best_iou(box, own) for box, own in zip(boxes, kept, strict=True)])
    return BoxRows(tuple(samples.ids), objects, best)


def manifest(samples: Samples, images: Iterable[bytes]) -> str:
    """SHA-256 over the images, and label files if there are any; `images` are the hashes of the images' files.

    That of the boxes is apart (`bench.data.annotated_boxes.manifest_of_boxes`).
    """
    labels = (b"" if one.label is None else bytes.fromhex(sha256_file(one.label)) for one in samples)
    pairs = zip(images, labels, strict=True)
    return manifest_of(samples.ids, (short_digest(image + label) for image, label in pairs))


def about(rows: BoxRows) -> dict[str, Any]:
    """What the record says of the annotated boxes."""
    return {"annotated_boxes": int(rows.objects.sum()), "counted_images": int(np.count_nonzero(rows.objects))}
