"""Split lists: the text files in a folder that say which images make a split."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from bench.base.text_files import read_text
from bench.discover.file_words import ENDINGS, SPLITS, PictureFile, composed
from bench.discover.names import FILES

LARGEST = 1 << 28
"""A longer text, in bytes, is no list."""
LIST_FOLDERS = frozenset({"", "sets", "splits", "lists", "imagesets", "segmentation"})


def read_lists(
    folder: Path, texts: Sequence[str], images: Sequence[PictureFile]
) -> tuple[dict[str, list[PictureFile]], list[str], list[str]]:
    """Splits by list files: texts at the usual places most of whose lines name an image, or begin with its name.

    Also the list files, and what a user should know of them.
    """
    index: dict[str, PictureFile] = {}
    for file in images:
        for name in (PurePosixPath(file.path).stem, str(PurePosixPath(file.path).with_suffix("")), file.path, file.id):
            index.setdefault(composed(name), file)
    found: dict[str, list[PictureFile]] = {}
    lists, notes = [], []
    for text in filter(_may_be_list, texts):
        try:
            if (folder / text).stat().st_size > LARGEST:
                continue
            lines = [line.strip() for line in read_text(folder / text).splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError):
            continue
        named = [(line, _named(line, index)) for line in lines]
        names = [name for line, name in named if name is not None or not line.startswith("#")]
        known = dict.fromkeys(index[name] for name in names if name is not None)
        split = PurePosixPath(text).stem
        if len(known) > len(names) / 2 and split not in found:
            found[split] = list(known)
            lists.append(text)
            if len(known) < len(names):
                notes.append(f"{text} lists {len(names) - len(known)} images that are not there, or twice")
        elif split.lower() in SPLITS and names and split not in found:
            notes.append(f"{text} is not taken for a list: {len(known)} of its {len(names)} lines name images")
    return found, lists, [*notes, *_shared(found)]


def _shared(splits: Mapping[str, Sequence[PictureFile]]) -> Iterator[str]:
    """What to say of images that are in a list for training and in one for evaluation."""
    for one, other in itertools.permutations(splits, 2):
        if SPLITS.get(one.lower()) == "train" and SPLITS.get(other.lower(), "train") != "train":
            both = set(splits[one]) & set(splits[other])
            if both:
                first = min(file.path for file in both)
                yield f"{len(both)} images are in {one} and in {other} ({first} first)"


def _may_be_list(text: str) -> bool:
    path = PurePosixPath(text)
    parent = path.parent.name.lower()
    usual = path.name.lower() not in FILES and (parent in LIST_FOLDERS or parent.startswith("segmentation"))
    return usual and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,39}", path.stem) is not None


def _named(line: str, index: Mapping[str, PictureFile]) -> str | None:
    """How the index spells what a line names: all of it, or else its first word.

    Behind that there may be paths and numbers. Other words make the text a table of something else, as that of
    ADE20K's scenes.
    """
    whole = composed(line)
    if whole in index:
        return whole
    first, *rest = re.split(r"[\s,;]+", line.strip(",; "))
    return (_in_index(first, index) if all(map(_may_follow, rest)) else None) or _in_index(line, index)


def _may_follow(word: str) -> bool:
    is_path = "/" in word or "\\" in word or PurePosixPath(word).suffix.lower() in ENDINGS
    return is_path or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", word) is not None


def _in_index(text: str, index: Mapping[str, PictureFile]) -> str | None:
    """How the index spells what a text names; of a file's path as few leading folders are dropped as need be."""
    path = PurePosixPath(composed(text.replace("\\", "/").lstrip("/")))
    if path.suffix.lower() not in ENDINGS:
        return str(path) if str(path) in index else None
    below = (PurePosixPath(*path.parts[i:]) for i in range(len(path.parts)))
    return next((name for part in below for name in (str(part), str(part.with_suffix(""))) if name in index), None)
