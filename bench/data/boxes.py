"""Boxes: the annotated boxes of an image's objects, from VOC's XML files or COCO's JSON.

Corners are as the evaluation of LOST and TokenCut takes them (docs/data.md#boxes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.files import read_regular, said
from bench.data import coco_json
from bench.data.samples import Samples, find_layout

_LARGEST_XML = 1 << 20
"""Bytes of an annotation file of one image; VOC's own have some thousand."""
_FARTHEST = 1e6
"""Pixels; no coordinate lies further out."""
_REMEDY = "Give VOC's own annotation: `object` entries with a `bndbox` of xmin, ymin, xmax and ymax."


@dataclass(frozen=True)
class Boxes:
    """The annotated boxes of one image, which may have none."""

    boxes: npt.NDArray[np.float64]
    """N×4: x1, y1, x2, y2 in pixels; the sides are x2 - x1 and y2 - y1."""
    hard: npt.NDArray[np.bool_]
    """N: whether an object is marked as difficult or truncated."""

    def __len__(self) -> int:
        return len(self.boxes)


def read_voc_boxes(path: Path) -> Boxes:
    """The boxes of all objects in a VOC annotation, in its order.

    The file's corners count from 1 and belong to the box; here they are (xmin - 1, ymin - 1, xmax, ymax). Raises
    BadInput, naming file and object, for what is no such XML; a document type is refused, so no entity is expanded.
    """
    root = _parse(path)
    boxes, hard = [], []
    for number, entry in enumerate(root.findall("object"), start=1):
        try:
            boxes.append(_voc_corners(entry))
            hard.append(_is_set(entry, "difficult") | _is_set(entry, "truncated"))
        except ValueError as error:
            raise BadInput(f"{path}: object {number}: {error}", _REMEDY) from error
    return _boxes(boxes, hard)


def read_coco_boxes(path: Path) -> Mapping[str, Boxes]:
    """Image id (its file's name without the ending) → the boxes of its objects, without those of crowds.

    (x, y, w, h) become (x, y, x + w, y + h), each rounded to a whole number, half to even. COCO marks nothing as hard.
    An image without objects has 0 boxes. Raises BadInput, naming file and annotation, for what is no such JSON.
    """
    with coco_json.reading(path):
        try:
            content = coco_json.read_annotations(path)
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {said(error)}", coco_json.REMEDY) from error
        names = coco_json.image_names(content, path)
        found: dict[Any, list[tuple[float, ...]]] = {image: [] for image in names}
        coco_json.require_listed({entry["image_id"] for entry in content["annotations"]} - names.keys(), path)
        for place, entry in enumerate(content["annotations"]):
            if _is_crowd(entry):
                continue
            try:
                found[entry["image_id"]].append(coco_corners(entry["bbox"]))
            except ValueError as error:
                where = f"{path}: annotation {entry.get('id', place)}"
                raise BadInput(f"{where}: {error}", "Give COCO's own file of instances.") from error
    return {names[image]: _boxes(corners, [False] * len(corners)) for image, corners in found.items()}


def _boxes(corners: list[tuple[float, ...]], hard: list[bool]) -> Boxes:
    return Boxes(np.array(corners, np.float64).reshape(-1, 4), np.array(hard, bool))


def _number(value: Any, name: str) -> float:
    """A coordinate. Raises ValueError for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not abs(number) <= _FARTHEST:
        raise ValueError(f"{name} is {str(value)[:40]!r}, which is no coordinate")
    return number


def _require_ordered(corners: tuple[float, ...]) -> tuple[float, ...]:
    x1, y1, x2, y2 = corners
    if x2 < x1 or y2 < y1:
        raise ValueError(f"the box ends before it begins ({x1:g}, {y1:g}, {x2:g}, {y2:g})")
    return corners


# --- VOC ---


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses a document type, which alone can declare entities."""

    def doctype(self, *_: Any) -> None:
        raise ValueError("it has a document type (DOCTYPE)")


def _parse(path: Path) -> ElementTree.Element:
    """The root `annotation` of a VOC annotation. Raises BadInput naming the file."""
    try:
        parser = ElementTree.XMLParser(target=_PlainTree())  # bounded, and without entities
        parser.feed(read_regular(path, _LARGEST_XML))
        root: ElementTree.Element = parser.close()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {said(error)}", _REMEDY) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise BadInput(f"{path} is not a VOC annotation: {error}", _REMEDY) from error
    if root.tag != "annotation":
        raise BadInput(f"{path} is not a VOC annotation: its root is <{root.tag[:40]}>", _REMEDY)
    return root


def _voc_corners(entry: ElementTree.Element) -> tuple[float, ...]:
    """An object's corners from 0. Raises ValueError where it has no whole box."""
    box = entry.find("bndbox")
    if box is None:
        raise ValueError("bndbox is missing")
    x1, y1, x2, y2 = (_number(box.findtext(name), name) for name in ("xmin", "ymin", "xmax", "ymax"))
    return voc_corners(x1, y1, x2, y2)


def voc_corners(xmin: float, ymin: float, xmax: float, ymax: float) -> tuple[float, ...]:
    """VOC's corners, which count from 1 and belong to the box, as a box's. Raises ValueError as `_require_ordered`."""
    return _require_ordered((xmin - 1, ymin - 1, xmax, ymax))


def _is_set(entry: ElementTree.Element, flag: str) -> bool:
    """A flag of an object; unset where it is missing. Raises ValueError for another value than 0 or 1."""
    text = (entry.findtext(flag) or "0").strip()
    if text not in ("0", "1"):
        raise ValueError(f"{flag} is {text[:40]!r} instead of 0 or 1")
    return text == "1"


# --- COCO ---


def _is_crowd(entry: Any) -> bool:
    return entry.get("iscrowd", 0) != 0


def coco_corners(box: Any) -> tuple[float, ...]:
    """(x, y, w, h) as whole corners. Raises ValueError for anything else."""
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError("bbox is not [x, y, width, height]")
    x, y, width, height = (_number(value, name) for value, name in zip(box, ("x", "y", "width", "height"), strict=True))
    # Python rounds half to even
    return _require_ordered(tuple(float(round(corner)) for corner in (x, y, x + width, y + height)))


# --- a split's ---


def has_boxes(samples: Samples) -> bool:
    """Whether the card says where the boxes of a split are."""
    return find_layout(samples.card, samples.split, samples.root)[1].boxes is not None


def read_boxes(samples: Samples) -> list[Boxes]:
    """The boxes of each sample of a split, in order, as the card's entry `boxes` says where they are.

    Raises BadInput for a split without that entry, an annotation that is missing or damaged, or a sample that the
    JSON does not list.
    """
    _, files, base = find_layout(samples.card, samples.split, samples.root)
    if files.boxes is None:
        raise BadInput(
            f"the card of {samples.card.id} names no boxes for {samples.split}",
            "Take a split with boxes, or name them: `boxes` in the card's layout.",
        )
    if "{id}" in files.boxes:
        return [read_voc_boxes(base / files.boxes.replace("{id}", name)) for name in samples.ids]
    path = base / files.boxes
    found = read_coco_boxes(path)
    if missing := [name for name in samples.ids if name not in found]:
        raise BadInput(
            f"{path} does not list '{missing[0]}' ({len(missing)} of {len(samples)} images are not in it)",
            "Give the annotations of these images.",
        )
    return [found[name] for name in samples.ids]
