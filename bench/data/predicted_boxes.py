"""Predicted boxes: one box of an image each, as other programs write them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.files import said
from bench.base.json_files import read_json

LARGEST = 1 << 28
"""Bytes of a file of boxes; that of 20 000 images has 1 MB."""
_REMEDY = 'Give one JSON object: {"<id>": [x1, y1, x2, y2], …} in pixels from 0, x2 and y2 outside; null for no box.'
Box = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predicted:
    """The boxes in a file."""

    boxes: Mapping[str, Box | None]
    """Image id → x1, y1, x2, y2; None where nothing was found."""
    digest: bytes
    """SHA-256 of what they say."""


def read_predicted(path: Path, ids: Collection[str], split: Collection[str]) -> Predicted:
    """The boxes of a JSON file of the images `ids`, some of those of a `split`.

    Raises BadInput, naming file and image, for a missing box, one that is none, or an image that the split has not.
    """
    try:
        value = read_json(path, LARGEST)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as boxes: {said(error)}", _REMEDY) from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} is a JSON {type(value).__name__}, not an object of boxes", _REMEDY)
    known = frozenset(split)
    if strange := [name for name in value if name not in known]:
        raise BadInput(
            f"{path} has a box of '{strange[0][:80]}', which is no image of the split ({len(strange)} such)",
            "Give boxes of the split's own images; --split names another.",
        )
    if missing := [name for name in ids if name not in value]:
        raise BadInput(f"{path} has no box of '{missing[0]}' ({len(missing)} of {len(ids)} images lack one)", _REMEDY)
    boxes = {name: _box(value[name], name, path) for name in ids}
    told = [(name, None if box is None else box.tolist()) for name, box in boxes.items()]
    return Predicted(boxes, hashlib.sha256(repr(told).encode()).digest())


def _box(value: Any, name: str, path: Path) -> Box | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and len(value) == 4
    if not numbers or not all(type(one) in (int, float) and math.isfinite(one) and abs(one) < 1e9 for one in value):
        raise BadInput(f"{path}: the box of '{name}' is {str(value)[:60]}, not four numbers of pixels", _REMEDY)
    if value[2] < value[0] or value[3] < value[1]:
        raise BadInput(f"{path}: the box of '{name}' ends before it begins: {str(value)[:60]}", _REMEDY)
    return np.array(value, np.float64)
