"""Folders: the records of any number of results folders, each under a name that tells no machine's folders."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.base.files import sha256_file
from bench.records.record import LARGEST, Stored, check_rows, dumps, json_files, read_all


@dataclass(frozen=True)
class Folders:
    """Results folders that are read as one. Which was given first changes nothing."""

    names: Mapping[Path, str]
    """Folder → what stands before the path of each of its records; empty where it is the only one."""

    @classmethod
    def of(cls, given: Iterable[Path]) -> Folders:
        """The folders given, each once. Several of one name are numbered, in an order that their content decides."""
        folders = list({path.resolve(): path for path in sorted(given)}.values())
        if len(folders) == 1:
            return cls({folders[0]: ""})
        own = {path: Path(os.path.abspath(path)).name or "root" for path in folders}  # noqa: PTH100 - links keep names
        shared = {name for name, count in Counter(own.values()).items() if count > 1}
        names, taken = {path: name for path, name in own.items() if name not in shared}, set(own.values())
        for path in sorted((path for path in folders if path not in names), key=lambda path: (own[path], _state(path))):
            number = next(n for n in range(1, len(taken) + 2) if f"{own[path]}-{n}" not in taken)
            names[path] = f"{own[path]}-{number}"
            taken.add(names[path])
        return cls(names)

    def __iter__(self) -> Iterator[Path]:
        return iter(self.names)

    def below(self, path: Path) -> str:
        """A record's path below its own folder, which is the innermost that holds it."""
        return path.relative_to(self.holder(path)).as_posix()

    def place(self, path: Path) -> str:
        """A record's path as reports show it: below its folder, with the folder's name before it if there are more."""
        name = self.names[self.holder(path)]
        return f"{name}/{self.below(path)}" if name else self.below(path)

    def without_folders(self, line: str) -> str:
        """A line about a file, with no more of its path than reports show."""
        for path in sorted(self.names, key=lambda path: -len(path.parts)):
            line = line.replace(f"{path}/", f"{self.names[path]}/" if self.names[path] else "")
        return line

    def holder(self, path: Path) -> Path:
        """The innermost folder that holds a record."""
        return max((one for one in self.names if path.is_relative_to(one)), key=lambda one: len(one.parts))


Results = Path | Folders
"""Where records were read: one folder, or several."""


def as_folders(results: Results) -> Folders:
    """One folder as several are."""
    return results if isinstance(results, Folders) else Folders({results: ""})


def _state(folder: Path) -> list[tuple[str, str]]:
    """What a folder holds: equal folders have equal states, wherever they lie."""
    found = []
    for path in json_files(folder):
        try:
            found.append((path.relative_to(folder).as_posix(), sha256_file(path, LARGEST)))
        except OSError:  # reading the records says what is wrong with it
            continue
    return found


@dataclass
class Found:
    """What lies in results folders."""

    stored: list[Stored] = field(default_factory=list)
    """The records, by their places."""
    problems: list[str] = field(default_factory=list)
    """A line for each JSON file that is no record."""
    twice: list[str] = field(default_factory=list)
    """A line for each record that is left out, since another folder has the same."""


def read_folders(folders: Folders) -> Found:
    """The records of all folders. One that several folders have counts once: where its rows are sound, if anywhere."""
    found, files = Found(), dict[Path, Stored]()
    for path in folders:
        stored, problems = read_all(path)
        files |= {one.path.resolve(): one for one in stored}  # a folder may lie in another
        found.problems += problems
    if len(folders.names) == 1:
        found.stored = list(stored)
        return found
    found.problems = sorted(dict.fromkeys(found.problems), key=folders.without_folders)
    every = sorted(files.values(), key=lambda one: folders.place(one.path).split("/"))
    hashes = {one.path: hashlib.sha256(dumps(one.record).encode()).hexdigest() for one in every}
    first: dict[str, Path] = {}
    for one in sorted(every, key=lambda one: check_rows(one) is not None):
        first.setdefault(hashes[one.path], one.path)
    for one in every:
        other = first[hashes[one.path]]
        if other == one.path or folders.holder(other) == folders.holder(one.path):
            found.stored.append(one)
        else:
            found.twice.append(f"{one.path} is the same record as {other}: it counts once")
    return found
