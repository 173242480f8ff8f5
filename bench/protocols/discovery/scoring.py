"""Scoring: one predicted box of every image against its annotated ones (docs/protocols.md#discovery)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.data.annotated_boxes import Annotated, without_hard
from bench.data.samples import Samples
from bench.passes.image_pass import short_digest
from bench.passes.observations import manifest_of
from bench.scoring.box_rows import BoxRows
from bench.scoring.corloc import best_iou

Box = npt.NDArray[np.float64]
"""x1, y1, x2, y2 in pixels."""


def rows_of(samples: Samples, boxes: Sequence[Box | None], annotated: Annotated, *, hard: bool) -> BoxRows:
    """The best IoU of every image's box; without `hard` objects if they do not count.

    Raises BadInput where no image has a box that counts.
    """
    kept = [one.boxes if hard else without_hard(one).boxes for one in annotated.boxes]
    objects = np.array([len(one) for one in kept], np.int32)
    if not objects.any():
        raise BadInput(f"no annotated box in any of the {len(samples)} images counts", "Use images with boxes.")
    best = np.array([best_iou(box, own) for box, own in zip(boxes, kept, strict=True)])
    return BoxRows(tuple(samples.ids), objects, best)


def manifest(samples: Samples, images: Sequence[bytes], annotated: Annotated) -> str:
    """SHA-256 over the images and boxes that were seen; `images` are the hashes of the images' files."""
    pairs = zip(images, annotated.digests, strict=True)
    return manifest_of(samples.ids, (short_digest(image + boxes) for image, boxes in pairs))


def about(rows: BoxRows) -> dict[str, Any]:
    """What the record says of the annotated boxes."""
    return {"annotated_boxes": int(rows.objects.sum()), "counted_images": int(np.count_nonzero(rows.objects))}
