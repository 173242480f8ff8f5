"""Names: the names of a folder's classes, read from a text file beside the images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

FILES = ("labelmap.txt", "label_map.txt", "classes.txt", "class_names.txt", "labels.txt", "names.txt")
"""Text files that hold names, the best first."""
BACKGROUND = "background"
_CVAT = re.compile(r"^(?P<name>[^:]+):(?P<red>\d{1,3}),(?P<green>\d{1,3}),(?P<blue>\d{1,3}):[^:]*:[^:]*$")
_NUMBERED = re.compile(r"^(?P<id>\d{1,5})\s*[:,;\s]\s*(?P<name>\S.*)$")


@dataclass(frozen=True)
class Names:
    """The names in a file."""

    file: str
    ids: dict[int, str]
    """By the ids that the file gives, or by the number of the line."""
    numbered: bool = False
    """Whether the file gives ids."""
    colours: dict[tuple[int, int, int], str] | None = None
    """By colour, in a labelmap.txt."""


def find_names(folder: Path, texts: Sequence[str]) -> Names | None:
    """The names of the first file of `FILES` that lies highest in the folder and can be read; None without any."""
    found = [text for text in texts if PurePosixPath(text).name.lower() in FILES]
    found.sort(key=lambda text: (text.count("/"), FILES.index(PurePosixPath(text).name.lower())))
    for text in found:
        try:
            lines = (folder / text).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        names = parse(text, lines)
        if names.ids:
            return names
    return None


def parse(file: str, lines: Sequence[str]) -> Names:
    """Lines of `name:R,G,B:parts:actions`, of `id name`, or of a name each; `#` begins a comment."""
    kept = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    mapped = [_CVAT.match(line) for line in kept]
    if kept and all(mapped):
        colours = {(int(m["red"]), int(m["green"]), int(m["blue"])): m["name"].strip() for m in mapped if m}
        return Names(file, dict(enumerate(m["name"].strip() for m in mapped if m)), colours=colours)
    numbered = [_NUMBERED.match(line) for line in kept]
    if kept and all(numbered):
        return Names(file, {int(m["id"]): m["name"].strip() for m in numbered if m}, numbered=True)
    return Names(file, dict(enumerate(kept)))


def names_for(names: Names, values: Sequence[int], palette: bytes) -> dict[int, str] | None:
    """The names by mask value, for all of `values` (without the ignored one); None where they do not fit.

    A labelmap's colours are looked up in the masks' `palette`. A list without ids that has one name fewer than there
    are values, counted from 0, is one that leaves out the background.
    """
    ids = names.ids
    if names.colours and palette:
        triples = {i: tuple(palette[3 * i : 3 * i + 3]) for i in values}
        by_colour = {i: names.colours[colour] for i, colour in triples.items() if colour in names.colours}
        if len(by_colour) == len(values):
            return by_colour
    if not names.numbered and max(values) == len(ids) and BACKGROUND not in {n.lower() for n in ids.values()}:
        ids = {0: BACKGROUND} | {i + 1: name for i, name in ids.items()}
    return ids if all(value in ids for value in values) else None
