"""Listed lines: the image ids of a list, which people and programs write as ids, as files' names or as paths."""

from __future__ import annotations

import functools
import itertools
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.base.errors import BadInput
from bench.base.text_files import read_text

GAPS = 8
"""A line is tried as an image's name and more behind it at so many of its spaces."""

_PARTS = re.compile(r"[\s/\\]")
"""What an id that stands alone in its line has none of."""


@dataclass(frozen=True)
class Place:
    """Where the images and labels of a list lie: a card's patterns, with `{id}` in them, below a folder."""

    base: Path
    image: str
    label: str | None = None

    @functools.cached_property
    def endings(self) -> tuple[str, ...]:
        """How the files of images and of labels end."""
        patterns = (self.image, *((self.label,) if self.label else ()))
        return tuple(filter(None, (PurePosixPath(pattern).suffix for pattern in patterns)))

    def has(self, name: str) -> bool:
        """Whether there is an image of this id."""
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            return False
        return os.path.isfile(self.base / self.image.replace("{id}", name))  # noqa: PTH113 (false for what is no path)


def numbered_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """The lines of a list that are not empty, without the spaces around them, and their numbers from 1.

    Raises BadInput, naming the file, for one that is no text, holds NUL bytes or has no such line; `what` should
    stand in each.
    """
    remedy = f"It should hold one {what} per line."
    try:
        lines = read_text(path).splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text file", remedy) from error
    kept = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not kept:
        raise BadInput(f"{path} is empty", remedy)
    for number, line in kept:
        if "\0" in line:
            raise BadInput(
                f"{path}:{number}: NUL bytes: the list is damaged, or is UTF-16 without a byte order mark",
                f"Fetch or write the list again, in UTF-8. {remedy}",
            )
        yield number, line


def read_ids(path: Path, place: Place | None = None) -> list[str]:
    """The id in each line of a list: its first word, or what of the line names an image that is there.

    An image may be named by its id, also one with spaces; by its file's name; or by a path that ends as the card's
    pattern does, alone or with its label's path behind it (the lists of DeepLab and SegNet). Accents may be written
    in either of Unicode's forms: the id has that of the file. A line that begins with `#` and names no image is a
    comment. Raises BadInput, naming file and line, for a path of
    another image's label, and where neither a line nor its first word names an image; as `numbered_lines` does too.
    """
    ids, strange = [], []
    for number, line in numbered_lines(path, "image id"):
        first = line.split()[0]
        if place is None or _is_plain(line, place):
            ids.append(first)
            continue
        found = _named(line, place)
        if found is None and line.startswith("#"):
            continue
        if found is None:
            ids.append(_guess(first, place))
            strange += [(number, line, first)] if line != first else []
            continue
        name, rest = found
        _require_own_label(f"{path}:{number}", name, rest, place)
        ids.append(name)
    if not ids:
        raise BadInput(f"{path} names no image", "It should hold one image id per line.")
    if strange:
        number, line, first = strange[0]
        raise BadInput(
            f"{path}:{number}: neither '{line}' nor '{first}' names an image (lines of this kind: {len(strange)})",
            "Complete the data, or correct the list. A line holds an id, or a path that ends as "
            f"'{place and place.image}' does; an id ends at a space, unless the whole line is an image's.",
        )
    return ids


def _is_plain(line: str, place: Place) -> bool:
    """Whether a line can be nothing but an id: most are, and are not looked for on the disk."""
    return line.isascii() and not _PARTS.search(line) and not line.endswith(place.endings) and line[0] != "#"


def _named(line: str, place: Place) -> tuple[str, str] | None:
    """The id of the image that a line names, and what stands behind it; None where it names none that is there."""
    gaps = ((line[: gap.start()], line[gap.end() :]) for gap in re.finditer(r"\s+", line))
    for text, rest in ((line, ""), *itertools.islice(gaps, GAPS)):
        if (name := find_id(text, place)) is not None:
            return name, rest
    return None


def find_id(text: str, place: Place) -> str | None:
    """The id of the image that a text names, by id, file name or path; None where no such image is there."""
    spellings = ((unicodedata.normalize(form, name) for form in ("NFC", "NFD")) for name in _names(text, place))
    names = itertools.chain(_names(text, place), *spellings)
    return next((name for name in names if place.has(name)), None)


def _names(text: str, place: Place) -> Iterator[str]:
    """The ids that a text can stand for: itself, those of the ends of a path, and itself without its ending."""
    yield text
    path = text.replace("\\", "/")
    # what stands for the id is anything, so the longest end that is there wins
    pattern = re.escape(place.image).replace(re.escape("{id}"), "(?P<id>.+)", 1)
    pattern = pattern.replace(re.escape("{id}"), "(?P=id)")
    parts = PurePosixPath(path).parts
    for start in range(len(parts)):
        if match := re.fullmatch(pattern, "/".join(parts[start:]).lstrip("/")):
            yield match["id"]
    yield _by_ending(path, place)


def _guess(text: str, place: Place) -> str:
    """The id that a text stands for whose image is not there: that of the shortest end of a path, if one fits."""
    _, *by_pattern, by_ending = _names(text, place)
    return by_pattern[-1] if by_pattern else by_ending


def _by_ending(text: str, place: Place) -> str:
    """A text without the ending of images or of labels, if it has one."""
    return next((text.removesuffix(ending) for ending in place.endings if text.endswith(ending)), text)


def _require_own_label(where: str, name: str, rest: str, place: Place) -> None:
    """Raises BadInput where what stands behind an image is the path of another file than its label's."""
    path = rest.replace("\\", "/")
    if place.label is None or not ("/" in path or path.endswith(place.endings)):
        return
    own = _composed(PurePosixPath(place.label.replace("{id}", name)).name)
    if own not in (_composed(PurePosixPath(text).name) for text in (path, path.split()[0])):
        raise BadInput(
            f"{where}: '{rest}' is not the label of '{name}', which the card has as {place.label}",
            "Correct the list or the card: a line names an image and its own label.",
        )


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
