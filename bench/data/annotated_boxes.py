"""Annotated boxes: that a split has any, and what tells them from others."""

from __future__ import annotations

import hashlib

import numpy as np

from bench.base.errors import BadInput
from bench.base.files import said, sha256_file
from bench.data.boxes import Boxes, has_boxes
from bench.data.samples import Samples, find_layout


def require_boxes(samples: Samples) -> None:
    """Raises BadInput for a split of which the card names no boxes."""
    if not has_boxes(samples):
        raise BadInput(
            f"the card of {samples.card.id} names no boxes for {samples.split}, and --protocol discovery needs them",
            "Take a split with boxes, or name them: `boxes` in the card's layout.",
        )


def manifest_of_boxes(samples: Samples) -> str:
    """SHA-256, hexadecimal, over the files that have the boxes. Raises BadInput naming one that cannot be read."""
    _, files, base = find_layout(samples.card, samples.split, samples.root)
    pattern = files.boxes
    assert pattern is not None
    each = "{id}" in pattern
    paths = (base / pattern.replace("{id}", name) for name in samples.ids) if each else iter([base / pattern])
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(bytes.fromhex(sha256_file(path)))
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {said(error)}", "Complete the data.") from error
    return digest.hexdigest()


def without_hard(boxes: Boxes) -> Boxes:
    """The boxes of objects that are not marked as difficult or truncated."""
    kept = ~np.asarray(boxes.hard, bool)
    return Boxes(boxes.boxes[kept], boxes.hard[kept])
