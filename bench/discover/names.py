"""Names: the names of a folder's classes, read from a text file beside the images."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from bench.base.errors import BadInput
from bench.base.text_files import read_text

OF_ONE_MASK = "label_names.txt"
"""What labelme_json_to_dataset writes beside each mask: the names of that mask's values."""
FILES = (
    "labelmap.txt", "label_map.txt", "class_dict.csv", "class_dict_seg.csv", "label_colors.txt", "_classes.csv",
    "classes.txt", "class_names.txt", OF_ONE_MASK, "labels.txt", "names.txt",
)  # fmt: skip
"""Text files that hold names, the best first."""
NUMBERING = frozenset({OF_ONE_MASK, "_classes.csv"})
"""Those that number the masks beside them, and so must agree where there are several."""
LARGEST = 1 << 20
"""A longer file, in bytes, holds no names."""
BACKGROUND = "background"
VOID = frozenset({"void", "ignore", "ignored", "unlabelled", "unlabeled", "unknown"})
"""What pixels are called that do not count; without the underscores around it."""
IGNORED = "__ignore__"
"""What labelme calls ignored pixels, in the first line of its list of names: their value is 255."""

Colour = tuple[int, int, int]
# https://docs.cvat.ai/docs/dataset_management/formats/format-smask: label, colour (or none), parts, actions
_CVAT = re.compile(r"^(?P<name>[^:]+):(?:\s*(?P<red>\d+)\s*,\s*(?P<green>\d+)\s*,\s*(?P<blue>\d+)\s*)?:[^:]*:[^:]*$")
# CamVid's own list, and CVAT's export of that name
_COLOUR_FIRST = re.compile(r"^(?P<red>\d+)[ \t]+(?P<green>\d+)[ \t]+(?P<blue>\d+)[ \t]+(?P<name>\S.*)$")
_COLOUR_LAST = re.compile(r"^(?P<name>\S.*?)[ \t]+(?P<red>\d+)[ \t]+(?P<green>\d+)[ \t]+(?P<blue>\d+)$")
COLOUR_LINES = "label_colors.txt"
"""A file with a colour and a name in each line."""
_CHANNELS = {"red": "r", "green": "g", "blue": "b"}
_NUMBERED = re.compile(r"^(?P<id>\d{1,5})\s*[:,;\s]\s*(?P<name>\S.*)$")


def is_void(name: str) -> bool:
    """Whether pixels called so do not count."""
    return name.strip("_ ").lower() in VOID


@dataclass(frozen=True)
class Names:
    """The names in a file."""

    file: str
    ids: dict[int, str]
    """By the ids that the file gives, or by the number of the line."""
    numbered: bool = False
    """Whether the file gives ids."""
    colours: dict[Colour, str] = field(default_factory=dict)
    """By colour, where the file has colours."""
    notes: tuple[str, ...] = ()
    """What a user should check."""


def of_colour_lines(file: str) -> bool:
    """Whether a file should have a colour and a name in each line."""
    return PurePosixPath(file).name.lower() == COLOUR_LINES


def find_names(folder: Path, texts: Sequence[str]) -> Names | None:
    """The names of the first file of `FILES` that lies highest in the folder and can be read; None without any.

    Raises BadInput where files that number the masks beside them disagree.
    """
    found = [text for text in texts if PurePosixPath(text).name.lower() in FILES]
    found.sort(key=lambda text: (text.count("/"), FILES.index(PurePosixPath(text).name.lower())))
    for text in found:
        if names := _read(folder, text):
            own = PurePosixPath(text).name.lower()
            others = [other for other in found if PurePosixPath(other).name.lower() == own and other != text]
            return _agreed(folder, names, others) if own in NUMBERING else names
    return None


def _read(folder: Path, text: str) -> Names | None:
    try:
        if (folder / text).stat().st_size > LARGEST:
            return None
        names = parse(text, read_text(folder / text).splitlines())
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return names if names.ids else None


def _agreed(folder: Path, first: Names, others: Sequence[str]) -> Names:
    """The names of several files. Raises BadInput where one value has two names."""
    ids = dict(first.ids)
    files = dict.fromkeys(ids, first.file)
    for names in filter(None, (_read(folder, text) for text in others)):
        for value, name in names.ids.items():
            if ids.setdefault(value, name) != name:
                raise BadInput(
                    f"{folder}: value {value} is '{ids[value]}' in {files[value]} and '{name}' in {names.file}: the "
                    "masks number their classes differently",
                    "Number the classes alike in all masks (labelme's labelme2voc.py does, with a list of labels), or "
                    "ignore the masks with --without-labels.",
                )
            files.setdefault(value, names.file)
    return replace(first, ids=ids)


def parse(file: str, lines: Sequence[str]) -> Names:
    """Lines of `name:R,G,B:parts:actions`, `R G B name`, `name R G B`, `id name` or a name each, or a table.

    A table has a head. Tables are CamVid's `name,r,g,b` and Roboflow's `Pixel Value, Class`. `#` begins a comment.
    """
    kept = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if kept and file.lower().endswith(".csv"):
        return _of_table(file, kept)
    for pattern in (_CVAT, *((_COLOUR_FIRST, _COLOUR_LAST) if of_colour_lines(file) else ())):
        mapped = [match for match in map(pattern.match, kept) if match]
        if kept and len(mapped) == len(kept):
            names = _of_colours(file, [(m["name"], (m["red"], m["green"], m["blue"])) for m in mapped])
            if pattern is _COLOUR_FIRST and all(map(_COLOUR_LAST.match, kept)):
                note = (
                    f"{file} has four numbers a line: the first three are taken for the colour, R G B: is that right?"
                )
                names = replace(names, notes=(*names.notes, note))
            return names
    numbered = [match for match in map(_NUMBERED.match, kept) if match]
    if kept and len(numbered) == len(kept):
        return Names(file, {int(m["id"]): m["name"].strip() for m in numbered}, numbered=True)
    return Names(file, dict(enumerate(kept[1:] if kept and kept[0] == IGNORED else kept)))


def _of_table(file: str, lines: Sequence[str]) -> Names:
    """The names in a table whose head says what its columns are; no names where it says nothing of them."""
    separator = max(",;\t", key=lines[0].count)  # programs in half of Europe write semicolons
    table = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    head, *rows = ([cell.strip() for cell in row] for row in table)
    columns = [_CHANNELS.get(cell.lower(), cell.lower()) for cell in head]
    rows = [row for row in rows if len(row) == len(head)]
    if {"name", "r", "g", "b"} <= set(columns):
        name, *channels = (columns.index(column) for column in ("name", "r", "g", "b"))
        return _of_colours(file, [(row[name], tuple(row[i] for i in channels)) for row in rows])
    if columns[0] == "pixel value" and len(columns) > 1 and all(row[0].isdecimal() for row in rows):
        return Names(file, {int(row[0]): row[1] for row in rows if len(row[0]) <= 5}, numbered=True)
    return Names(file, {})


def _of_colours(file: str, rows: Sequence[tuple[str, tuple[str | None, ...]]]) -> Names:
    """Names and their colours; a colour that two have is the first's, and one that is none is left out."""
    colours: dict[Colour, str] = {}
    notes: list[str] = []
    for name, channels in rows:
        red, green, blue = map(_channel, channels)
        if red is None or green is None or blue is None:
            continue
        if colours.setdefault((red, green, blue), name.strip()) != name.strip():
            first = colours[red, green, blue]
            notes.append(f"{file} gives '{first}' and '{name.strip()}' one colour: it is taken for '{first}'")
    return Names(file, dict(enumerate(name.strip() for name, _ in rows)), colours=colours, notes=tuple(notes))


def _channel(text: str | None) -> int | None:
    """A colour's channel, 0 to 255; None for what is none."""
    value = int(text) if text is not None and re.fullmatch(r"[0-9]{1,3}", text) else None
    return value if value is not None and value <= 255 else None


def names_for(names: Names, values: Sequence[int], palette: bytes) -> dict[int, str] | None:
    """The names by mask value, for all of `values` (without the ignored one); None where they do not fit.

    A file's colours are looked up in the masks' `palette`. A list without ids that has one name fewer than there are
    values, counted from 0, is one that leaves out the background.
    """
    ids = names.ids
    if names.colours and palette:
        triples = {
            i: (palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]) for i in values if 3 * i + 3 <= len(palette)
        }
        known_colours: dict[tuple[int, ...], str] = dict(names.colours.items())
        by_colour = {i: known_colours[colour] for i, colour in triples.items() if colour in known_colours}
        if len(by_colour) == len(values):
            return by_colour
    known = {name.lower().strip("_") for name in ids.values()}
    if not names.numbered and max(values) == len(ids) and BACKGROUND not in known:
        ids = {0: BACKGROUND} | {i + 1: name for i, name in ids.items()}
    return ids if all(value in ids for value in values) else None
