"""Listings: which images a split has, read off a file that comes with the data set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bench.base.errors import BadInput
from bench.base.packed_arrays import Names


def read_listing(path: Path, kind: str, ending: str = "") -> Names:
    """The ids of a split's images; `kind` is a card's `listing`, `ending` that of the image files.

    Raises BadInput, naming the file, where it is none of its kind, is empty, repeats an id, or has one that leads
    out of the data root.
    """
    if kind == "folders":
        return Names.of(_files_in_folders(path, ending))
    ids = _coco_instances(path) if kind == "coco-instances" else first_words(path)
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise BadInput(f"{path} lists '{name}' twice", "Remove the repetition; every image counts once.")
        require_below(name, str(path))
        seen.add(name)
    return Names.of(ids)


def read_table(path: Path) -> list[dict[str, str]]:
    """The lines of a table as column → text: separated by tabs, names in the first line, empty lines left out.

    Raises BadInput, naming file and line, for a table without `id`, a line of another length, an id that is empty or
    repeated, or a text that leads out of the data root.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file", "It should hold one sample per line.") from error
    names = lines[0].rstrip("\r").split("\t")
    if "id" not in names or len(set(names)) != len(names):
        raise BadInput(f"{path}:1: no column 'id'", "The first line names the columns, separated by tabs.")
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = line.rstrip("\r").split("\t")
        if cells == [""]:
            continue
        if len(cells) != len(names):
            raise BadInput(
                f"{path}:{number}: {len(cells)} columns instead of {len(names)}",
                "Give every line the columns of the first line, separated by tabs.",
            )
        row = dict(zip(names, cells, strict=True))
        if not row["id"] or row["id"] in rows:
            raise BadInput(
                f"{path}:{number}: the id '{row['id']}' is empty or occurs twice", "Give every line an id of its own."
            )
        for cell in cells:
            require_below(cell, f"{path}:{number}")
        rows[row["id"]] = row
    if not rows:
        raise BadInput(f"{path} lists no sample", "It should hold one sample per line.")
    return list(rows.values())


def evenly(number: int, most: int) -> list[int]:
    """Up to `most` places of `number`, spread evenly."""
    step = max(1.0, number / most)
    return [int(i * step) for i in range(min(number, most))]


def require_below(name: str, where: str) -> None:
    """Raises BadInput for a name that would lead out of the data root."""
    if name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts:
        raise BadInput(f"{where}: '{name}' leads out of the data root", "Ids are names, not paths.")


def class_folders(path: Path) -> list[str]:
    """The names of the folders in a folder, sorted."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _files_in_folders(path: Path, ending: str) -> Iterator[str]:
    """`<folder>/<name without ending>` of every file with this ending, sorted (docs/protocols.md#imagenet-s)."""
    empty: list[str] = []
    found = 0
    for folder in class_folders(path):
        with os.scandir(path / folder) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(ending) and not e.name.startswith("."))
        empty += [] if names else [folder]
        found += len(names)
        yield from (f"{folder}/{name.removesuffix(ending)}" for name in names)
    if not found:
        raise BadInput(f"{path} holds no folder with *{ending} files", "Put the images into one folder per class.")
    if empty:
        raise BadInput(
            f"{path / empty[0]} holds no *{ending} file ({len(empty)} class folders are empty)",
            "Complete the data: every class has images.",
        )


def first_words(path: Path, what: str = "image id") -> list[str]:
    """The first word of every line that has one. Raises BadInput for a file without any; `what` they should be."""
    remedy = f"It should hold one {what} per line."
    try:
        words = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file", remedy) from error
    if not words:
        raise BadInput(f"{path} is empty", remedy)
    return words


def _coco_instances(path: Path) -> list[str]:
    """The images with at least one instance annotation, by file name without its ending, sorted.

    See docs/protocols.md#coco-stuff-81.
    """
    remedy = (
        "Give COCO's own file of instances: an object with `images` (id, file_name) and `annotations` (image_id, "
        "category_id)."
    )
    try:
        content: Any = json.loads(path.read_bytes())
        # captions have no category
        annotated = {entry["image_id"] for entry in content["annotations"] if entry["category_id"] is not None}
        names: dict[Any, str] = {}
        for entry in content["images"]:
            if entry["id"] in names:
                raise BadInput(f"{path} gives two images the id {entry['id']}", "Give each image an id of its own.")
            names[entry["id"]] = str(entry["file_name"])
            if not PurePosixPath(names[entry["id"]]).name:
                raise BadInput(
                    f"{path} gives image {entry['id']} no file_name", "Give each image the name of its file."
                )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} is not a COCO annotation file: {_reason(error)}", remedy) from error
    if strange := annotated - names.keys():
        raise BadInput(
            f"{path} is not a COCO annotation file: image {next(iter(strange))} is annotated but not listed", remedy
        )
    if not annotated:
        raise BadInput(f"{path} annotates no image", remedy)
    return sorted(str(PurePosixPath(names[image]).with_suffix("")) for image in annotated)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "its parts have wrong types" if isinstance(error, TypeError) else f"it is not JSON ({error})"
