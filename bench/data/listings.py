"""Listings: which images a split has, read off a file that comes with the data set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from bench.base.errors import BadInput
from bench.base.packed_arrays import Names
from bench.base.text_files import read_text
from bench.data.coco_json import annotated_images
from bench.data.listed_lines import Place, numbered_lines, read_ids

T = TypeVar("T")


def read_listing(path: Path, kind: str, ending: str = "", place: Place | None = None) -> Names:
    """The ids of a split's images; `kind` is a card's `listing`, `ending` that of the image files.

    `place` says where the files lie that lines may name in other ways than by ids. Raises BadInput, naming the file,
    where it is none of its kind, is empty, repeats an id, or has one that leads out of the data root.
    """
    if kind == "folders":
        return Names.of(_files_in_folders(path, ending))
    if kind == "files":
        assert place is not None
        return Names.of(_files_below(path, place))
    ids = annotated_images(path, place) if kind == "coco-instances" else read_ids(path, place)
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
        lines = read_text(path).split("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file", "It should hold one sample per line.") from error
    names = lines[0].split("\t")
    if "id" not in names or len(set(names)) != len(names):
        raise BadInput(f"{path}:1: no column 'id'", "The first line names the columns, separated by tabs.")
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
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


def evenly_first(first: Sequence[T], others: Sequence[T], most: int) -> list[T]:
    """Up to `most` of the first, spread evenly; of the others only where there are fewer."""
    chosen = [first[i] for i in evenly(len(first), most)]
    left = most - len(chosen)
    return chosen + ([others[i] for i in evenly(len(others), left)] if left else [])


def require_below(name: str, where: str) -> None:
    """Raises BadInput for a name that would lead out of the data root, or that no file can have."""
    if "\0" in name or not (name.isascii() or _can_be_encoded(name)):
        raise BadInput(f"{where}: no file can be called {name!r}", "Fetch or write the list again: it is damaged.")
    if name.startswith(("/", "\\")) or (".." in name and ".." in PurePosixPath(name).parts):
        raise BadInput(f"{where}: '{name}' leads out of the data root", "Ids are names, not paths.")


def _can_be_encoded(name: str) -> bool:
    """Whether the system can be asked for a file of this name: not with half of a pair of surrogates."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


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


def _files_below(path: Path, place: Place) -> list[str]:
    """What stands for `{id}` in the path of every file below a folder that is as the card's `image` says, sorted.

    Raises BadInput for a folder without any. Names that begin with a dot are left out, and links to folders not
    followed.
    """
    before, after = place.image.split("{id}")
    ids: list[str] = []
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = "" if folder == str(place.base) else f"{Path(folder).relative_to(place.base).as_posix()}/"
        paths = [f"{within}{name}" for name in names if not name.startswith(".")]
        ids += [name[len(before) : len(name) - len(after)] for name in paths if _stands_between(name, before, after)]
    if not ids:
        raise BadInput(f"{path} holds no file as {place.image}", "Give the folder that holds the data set's own tree.")
    return sorted(ids)


def _stands_between(path: str, before: str, after: str) -> bool:
    return len(path) > len(before) + len(after) and path.startswith(before) and path.endswith(after)


def _raise(error: OSError) -> None:
    raise error


def require_published(path: Path, sha256: str, of: str) -> None:
    """Raises BadInput for a list that is not the published one, whatever ends its lines; `of` what it is the list."""
    found = hashlib.sha256(read_text(path).encode()).hexdigest()
    if found != sha256:
        raise BadInput(
            f"{path} is not the published list of {of}: its SHA-256 begins with {found[:12]}, not {sha256[:12]}",
            "Fetch the list again. For images of your own choice write a card of your own.",
        )


def first_words(path: Path, what: str) -> list[str]:
    """The first word of every line that has one. Raises BadInput for a file without any; `what` they should be."""
    return [line.split()[0] for _, line in numbered_lines(path, what)]
