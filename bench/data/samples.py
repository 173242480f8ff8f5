"""Samples: the images and labels of one split, found on disk by the data-set card."""

from __future__ import annotations

import functools
import hashlib
import itertools
import operator
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import SupportsIndex, overload

import numpy as np

from bench.base.errors import BadInput, WrongName, unknown_name
from bench.base.packed_arrays import Keys, Names
from bench.base.parallel import prefetch
from bench.cards.datasets import DatasetCard, Orientation
from bench.cards.layouts import Layout, SplitFiles
from bench.cards.local_files import card_name
from bench.data.listed_lines import Place
from bench.data.listings import class_folders, read_listing, read_table, require_published


@dataclass(frozen=True)
class Sample:
    """One image and its label file, not yet opened."""

    id: str
    image: Path
    label: Path | None
    orientation: Orientation | None = field(default=None, kw_only=True)
    """How its image is read, as the data set's card says."""

    @property
    def images(self) -> int:
        """How many images it consists of."""
        return 1

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its images: what predictions of them are called."""
        return (self.id,)


@dataclass(frozen=True)
class Files(Sequence[Sample]):
    """The samples of a list, each made when asked for: a million of them are not held as so many paths."""

    ids: Sequence[str]
    base: Path
    image: str
    """Below `base`, with `{id}` in it."""
    label: str | None
    orientation: Orientation | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Files: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sample | Files:
        if isinstance(index, slice):
            return replace(self, ids=self.ids[index])
        name = self.ids[operator.index(index)]
        label = self.base / self.label.replace("{id}", name) if self.label else None
        return Sample(name, self.base / self.image.replace("{id}", name), label, orientation=self.orientation)


@dataclass(frozen=True)
class Samples:
    """The samples of one split, in the order of its list file or `by_id`."""

    card: DatasetCard
    split: str
    root: Path
    layout: str
    entries: Sequence[Sample]
    keys: Sequence[bytes]
    """Per sample a hash of its id and of its files' paths, sizes and times of change: the cache's key."""
    cut: bool = False
    """Whether `first` left samples out."""

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.entries)

    @property
    def ids(self) -> Sequence[str]:
        """What the samples are called, in order."""
        return self.entries.ids if isinstance(self.entries, Files) else tuple(sample.id for sample in self.entries)

    @property
    def images(self) -> int:
        """How many images they consist of."""
        return self.count(range(len(self)))

    def count(self, places: Sequence[int]) -> int:
        """How many images the samples at these places consist of."""
        one_each = isinstance(self.entries, Files)
        return len(places) if one_each else sum(self.entries[place].images for place in places)

    @property
    def labelled(self) -> bool:
        """Whether any of them has a label file."""
        if isinstance(self.entries, Files):
            return self.entries.label is not None
        return any(sample.label is not None for sample in self.entries)

    @property
    def labelled_places(self) -> Sequence[int]:
        """The places of those that have a label file; a table of a card may leave out the labels of some."""
        if isinstance(self.entries, Files):
            return range(len(self)) if self.labelled else range(0)
        return [place for place, sample in enumerate(self.entries) if sample.label is not None]

    def with_labels(self) -> Samples:
        """Those that have a label file."""
        places = self.labelled_places
        return self if len(places) == len(self) else replace(self.only(places), cut=self.cut)

    @property
    def limited(self) -> bool:
        """Whether this is fewer images than the split has, by its list or by its publisher's count."""
        official = self.card.splits[self.split].size
        return self.cut or (official is not None and len(self) < official)

    def first(self, limit: int | None) -> Samples:
        """The first `limit` samples."""
        if limit is None or limit >= len(self):
            return self
        return replace(self, entries=self.entries[:limit], keys=self.keys[:limit], cut=True)

    def by_id(self) -> Samples:
        """The same samples, sorted by the code points of their ids.

        Then nothing hangs on the list's order: no draw by number, no tie, no batch, no manifest.
        """
        ids, entries = self.ids, self.entries
        if all(before <= after for before, after in itertools.pairwise(ids)):
            return self
        order = sorted(range(len(ids)), key=ids.__getitem__)
        if isinstance(entries, Files):
            entries = replace(entries, ids=Names.of(ids[i] for i in order))
        else:
            entries = tuple(entries[i] for i in order)
        return replace(self, entries=entries, keys=Keys.of(self.keys[i] for i in order))

    def only(self, chosen: Sequence[int]) -> Samples:
        """The samples at these places."""
        entries = tuple(self.entries[i] for i in chosen)
        return replace(self, entries=entries, keys=tuple(self.keys[i] for i in chosen), cut=True)


def open_split(card: DatasetCard, split: str, root: Path) -> Samples:
    """Find a split's files below `root`.

    Raises WrongName for an unknown split; BadInput for a root that is no such tree, an empty or repeating
    list, one that is not the published one, or missing files (the first is named, all are counted).
    """
    layout, files, base = find_layout(card, split, root)
    listing = _list_file(card, files, base)
    entries: Sequence[Sample]
    if files.listing == "table":
        entries = tuple(_sample(row, files, base, listing, card.orientation) for row in read_table(listing))
    else:
        place = Place(base, files.image, files.label)
        ids = read_listing(listing, files.listing, PurePosixPath(files.image).suffix, place)
        if files.list_sha256 is not None and len(ids) >= (card.splits[split].size or 0):
            require_published(listing, files.list_sha256, f"{card.id} ({split})")
        entries = Files(ids, base, files.image, files.label, card.orientation)
    if card.class_folders is not None and files.listing == "folders":
        card = _with_names(card, listing)
    keys, missing = _find(entries)
    if missing:
        raise _lacking(entries, missing, files.listing, listing)
    return Samples(card, split, root, layout.name, entries, keys)


def _lacking(entries: Sequence[Sample], missing: Sequence[int], kind: str, listing: Path) -> BadInput:
    """The error for samples that lack a file: the first is named, all are counted."""
    sample = entries[missing[0]]
    has_image = os.path.isfile(sample.image)  # noqa: PTH113 (false for a name that is too long as well)
    path = sample.label if has_image and sample.label else sample.image
    if kind == "coco-instances":
        there = len(entries) - len(missing)
        return BadInput(
            f"{path} is missing: of the {len(entries)} images that {listing.name} lists {there} are there",
            "Complete the data. For a subset, name its images in a list: `bench init-dataset FOLDER` writes a card and "
            'list of what is there; or give the split a text file with an id a line and listing = "lines" in the card.',
        )
    return BadInput(
        f"{path} is missing ({len(missing)} of {len(entries)} samples of {listing.name} lack a file)",
        f"Complete the data, or take the ids out of {listing}.",
    )


def _list_file(card: DatasetCard, files: SplitFiles, base: Path) -> Path:
    """A table lies beside its card, any other list in the data."""
    beside = card.path.parent if files.listing == "table" and card.path is not None else base
    return beside / files.list


def _sample(
    row: Mapping[str, str], files: SplitFiles, base: Path, listing: Path, orientation: Orientation | None
) -> Sample:
    image, label = (_filled(pattern, row, listing) if pattern else "" for pattern in (files.image, files.label))
    if not image:
        raise BadInput(f"{listing}: '{row['id']}' has no image", "Give every line an image; labels may be missing.")
    return Sample(row["id"], base / image, base / label if label else None, orientation=orientation)


def _filled(pattern: str, row: Mapping[str, str], listing: Path) -> str:
    """A pattern with what the row has for the names in braces. Raises BadInput for a name that it lacks."""
    names = re.findall(r"\{(\w+)\}", pattern)
    if lacking := [name for name in names if name not in row]:
        raise BadInput(
            f"{listing} has no column '{lacking[0]}', which the card's '{pattern}' names",
            "Correct the list or the card.",
        )
    if not all(row[name] for name in names):
        return ""
    return re.sub(r"\{(\w+)\}", lambda match: row[match[1]], pattern)


WITHOUT_LABELS = "--protocol clustering and clustering-dense work without labels; they report what needs none."


def require_label_files(samples: Samples, what: str, remedy: str = WITHOUT_LABELS) -> None:
    """Raises BadInput where `what` was asked of a split without labels."""
    if not samples.labelled:
        raise BadInput(f"{samples.card.id} has no labels for {samples.split}, and {what} needs them", remedy)


def without_label(samples: Samples, most: int = 3) -> str:
    """How many samples have no label file, and what the first are called; nothing where none or all of them have."""
    judges = frozenset(samples.labelled_places)
    if not 0 < len(judges) < len(samples):
        return ""
    lacking = len(samples) - len(judges)
    names = [name for place, name in enumerate(samples.ids) if place not in judges][:most]
    more = ", …" if lacking > len(names) else ""
    return f"{lacking} of {len(samples)} images of {samples.split} have no label ({', '.join(names)}{more})"


def require_labelled_pixels(any_pixel: bool, samples: Samples) -> None:
    """Raises BadInput unless `any_pixel` of the split had a label to count."""
    if not any_pixel:
        raise BadInput(
            f"no labelled pixel in any of the {len(samples)} images: all are {samples.card.labels.ignore}",
            "Use images with labels: figures are counted against them.",
        )


def require_images(card: DatasetCard, what: str) -> None:
    """Raises WrongName where `what` was asked of video, although it works on single images."""
    if card.kind != "images":
        raise WrongName(f"{card.id} is video: {what} works on single images", "Name another data set.")


def _with_names(card: DatasetCard, listing: Path) -> DatasetCard:
    """The card with its classes named as the folders are. Raises BadInput for another number of them."""
    assert card.class_folders is not None
    names = class_folders(listing)
    if len(names) != card.class_folders:
        raise BadInput(
            f"{listing} holds {len(names)} folders; {card.title} has {card.class_folders} classes, each with one",
            "Complete the data: a class's number is its folder's place among all, sorted.",
        )
    return card.model_copy(update={"classes": (*card.classes[: -card.class_folders], *names)})


def find_layout(card: DatasetCard, split: str, root: Path) -> tuple[Layout, SplitFiles, Path]:
    """The layout that a tree has, its entry for the split, and the folder where it starts. Raises as `open_split`.

    It is the first whose list is there; of several, the first that has its folder of images too.
    """
    if split not in card.splits:
        raise unknown_name(f"split of {card.id}", split, card.splits, f"bench show {shlex.quote(card_name(card))}")
    if not root.is_dir():
        raise BadInput(f"no data root at {root}", f"Give the folder that holds {card.title} with --data-root.")
    tried: list[str] = []
    found: list[tuple[Layout, SplitFiles, Path]] = []
    for layout in card.layouts:
        files = layout.splits.get(split)
        for prefix in layout.prefixes if files else ():
            assert files is not None
            listing = _list_file(card, files, root / prefix)
            if listing.is_dir() if files.listing in ("folders", "files") else listing.is_file():
                found.append((layout, files, root / prefix))
            tried.append(str(listing) if files.listing == "table" else str(PurePosixPath(prefix) / files.list))
    if found:
        return next((each for each in found if _has_images(*each[1:])), found[0])
    if not tried:
        shown = shlex.quote(card_name(card))
        raise WrongName(f"no layout of {card.id} has the split '{split}'", f"See `bench show {shown}`.")
    raise BadInput(
        f"{root} does not hold {card.title} ({split}): none of {', '.join(tried)} is there",
        "Give the folder that contains one of them with --data-root.",
    )


def _has_images(files: SplitFiles, base: Path) -> bool:
    """Whether the folder is there that holds the images, or their folders: two layouts may share a list."""
    return (base / files.image.partition("{")[0].rpartition("/")[0]).is_dir()


_STRETCH = 64
"""Samples whose files one task looks at."""


def _find(entries: Sequence[Sample]) -> tuple[Keys, list[int]]:
    """The keys of samples, and the places of those that lack a file."""
    folder = functools.cache(Path.resolve)  # of files in the same few folders; forgotten with this call

    def look(start: int) -> list[bytes]:
        return [_key(sample, folder) for sample in entries[start : start + _STRETCH]]

    found, missing = bytearray(), []
    threads = min(16, 4 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) as pool:
        for start, keys in zip(
            range(0, len(entries), _STRETCH),
            prefetch(pool, look, range(0, len(entries), _STRETCH), depth=2 * threads),
            strict=True,
        ):
            missing += [start + i for i, key in enumerate(keys) if not key]
            found += b"".join(key or bytes(_KEY) for key in keys)
    return Keys(np.frombuffer(bytes(found), np.uint8).reshape(len(entries), _KEY)), missing


_KEY = 16
"""Bytes of a sample's key."""


def _key(sample: Sample, folder: Callable[[Path], Path]) -> bytes:
    return file_key(sample.id, [path for path in (sample.image, sample.label) if path is not None], folder)


def file_key(name: str, paths: Iterable[Path], folder: Callable[[Path], Path] = Path.resolve) -> bytes:
    """A sample's cache key, from its id and its files; empty where one is missing.

    `folder` finds where a folder really lies, behind all links.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape"))
    for path in paths:
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                real, status = path.resolve(), path.stat()
            else:
                real = folder(path.parent) / path.name
        except OSError:
            return b""
        digest.update(f"|{real}|{status.st_size}|{status.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    return digest.digest()[:_KEY]
