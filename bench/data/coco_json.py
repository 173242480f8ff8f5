"""COCO's annotation file: JSON with `images` (id, file_name) and `annotations` (image_id, category_id, bbox)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from bench.base.errors import BadInput
from bench.base.files import read_regular
from bench.data.listed_lines import Place, find_id

_LARGEST = 1 << 31
"""Bytes of an annotation file; COCO's own of train2017 has half a billion."""
REMEDY = (
    "Give COCO's own file of instances: an object with `images` (id, file_name) and `annotations` (image_id, "
    "category_id)."
)


def read_annotations(path: Path) -> Any:
    """The content of an annotation file, to be taken apart within `reading`."""
    return json.loads(read_regular(path, _LARGEST))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while an annotation file is read or taken apart into BadInput that names the file."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} is not a COCO annotation file: {_reason(error)}", REMEDY) from error


def image_names(content: Any, path: Path, place: Place | None = None) -> dict[Any, str]:
    """Number → id of every listed image; to be called within `reading`."""
    names: dict[Any, str] = {}
    for entry in content["images"]:
        if entry["id"] in names:
            raise BadInput(f"{path} gives two images the id {entry['id']}", "Give each image an id of its own.")
        names[entry["id"]] = _id_of(entry["file_name"], place)
    return names


def require_listed(strange: set[Any], path: Path) -> None:
    """Raises BadInput for annotated images that the file does not list."""
    if strange:
        said = f"image {next(iter(strange))} is annotated but not listed"
        raise BadInput(f"{path} is not a COCO annotation file: {said}", REMEDY)


def annotated_images(path: Path, place: Place | None = None) -> list[str]:
    """The images with at least one instance annotation, by file name without its ending, sorted.

    A name with folders or accents is that of the image which is there, as in a list of lines.
    See docs/protocols.md#coco-stuff-81. Raises BadInput, naming the file, where it is none of its kind.
    """
    with reading(path):
        content = read_annotations(path)
        # captions have no category
        annotated = {entry["image_id"] for entry in content["annotations"] if entry["category_id"] is not None}
        names = image_names(content, path, place)
    require_listed(annotated - names.keys(), path)
    if not annotated:
        raise BadInput(f"{path} annotates no image", REMEDY)
    return sorted(names[image] for image in annotated)


def _id_of(file_name: Any, place: Place | None) -> str:
    """A file's name without its ending. Raises TypeError for what is no text, ValueError for what names no file."""
    if not isinstance(file_name, str):
        raise TypeError
    name = str(PurePosixPath(file_name).with_suffix(""))
    if place is None or (file_name.isascii() and "/" not in file_name):
        return name
    return find_id(file_name, place) or name


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
        return f"it is not JSON ({error})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "its parts have wrong types" if isinstance(error, TypeError) else f"a file name in it is none ({error})"
