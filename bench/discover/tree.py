"""Tree: finds images, masks, and the pairs of both in a folder, by their names alone."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from bench.base.errors import BadEnvironment, BadInput
from bench.discover.names import FILES

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
UNREAD = frozenset({".heic", ".heif", ".avif", ".gif", ".jp2", ".svg", ".dng", ".raw", ".cr2", ".nef", ".arw"})
"""Pictures that are not read, by their endings."""
MASK_WORDS = frozenset(
    {
        "label", "labels", "mask", "masks", "annotation", "annotations", "annot", "annots", "segmentation",
        "segmentations", "segmentationclass", "segmentationclassaug", "seg", "segs", "gt", "gts",
        "gtfine", "gtcoarse", "ground", "truth", "groundtruth", "target", "targets",
        "trimap", "trimaps", "labelids", "labeltrainids", "stuffthingmaps", "l",
    }
)  # fmt: skip
"""Words in the names of masks and of their folders."""
OTHER_WORDS = frozenset(
    {
        "segmentationobject", "color", "colour", "instance", "instances", "instanceids", "instancetrainids",
        "panoptic", "overlay", "vis",
    }
)  # fmt: skip
"""The same of pictures that come beside masks and are none of classes."""
FOLDER_WORDS = MASK_WORDS | {"segmentationobject"}
"""Those that count in a folder's name: a folder called `color` may hold anything."""
IMAGE_WORDS = frozenset(
    {
        "image", "images", "img", "imgs", "jpegimages", "photo", "photos",
        "picture", "pictures", "leftimg8bit", "rgb",
    }
)  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
LIST_FOLDERS = frozenset({"", "sets", "splits", "lists", "imagesets", "segmentation"})
WHOLE = "val"
"""What a folder without splits is called: the split that a run evaluates on unless told otherwise."""
REST = "rest"
"""Images outside the folders of splits, where there are such."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask, as paths below the folder."""

    id: str
    image: str
    label: str | None


@dataclass
class Tree:
    """What a folder holds."""

    splits: dict[str, list[Pair]] = field(default_factory=dict)
    lone_images: list[str] = field(default_factory=list)
    """Images without a mask in a split where others have one."""
    lone_masks: list[str] = field(default_factory=list)
    strangers: tuple[str, str] | None = None
    """A lone mask and an image of one name, whose folders do not say that they belong together."""
    unlisted: list[str] = field(default_factory=list)
    """Images that are in none of the lists, where there are lists."""
    notes: list[str] = field(default_factory=list)
    """What else a user should know."""
    lists: list[str] = field(default_factory=list)
    """The list files that the splits were read off."""
    texts: list[str] = field(default_factory=list)
    """All text files."""

    @property
    def labelled(self) -> list[Pair]:
        """All pairs with a mask."""
        return [pair for pairs in self.splits.values() for pair in pairs if pair.label is not None]


@dataclass(frozen=True, slots=True)
class _File:
    """A picture's path and what its words say."""

    path: str
    key: str
    """What is left without the words that tell images from masks and splits: images and masks share it. In Unicode's
    composed form: some systems write an accent as a sign of its own."""
    id: str
    split: str | None
    by_folder: bool | None
    """Whether it is a mask, by its folders; None if they do not say."""
    by_name: bool
    """Whether its own name would make it a mask."""
    kind: str
    """The words that would."""


def look_at(folder: Path) -> Tree:
    """Which images and masks a folder holds. Reads names and list files, no picture.

    Raises BadInput for a folder that is missing, or holds no image; BadEnvironment for one that cannot be read.
    """
    if not folder.is_dir():
        raise BadInput(f"no folder at {folder}", "Give the folder that holds the images.")
    tree = Tree()
    found: dict[str, list[str]] = defaultdict(list)
    for path in _walk(folder, tree):
        found[_kind_of(path)].append(path)
    tree.texts += found["text"]
    images, masks = _tell_apart([_read_name(path) for path in found["picture"]])
    if odd := found["odd"]:
        kinds = f"{len(odd)} files with a tab or another control character in their names, {odd[0]!r} first"
        if not images and not masks and any(PurePosixPath(path).suffix.lower() in ENDINGS for path in odd):
            raise BadInput(f"{folder} holds {kinds}, and no other image", "Rename these files.")
        tree.notes.append(f"left out: {kinds}")
    if foreign := found["foreign"]:
        kinds = f"{len(foreign)} pictures of kinds that are not read, {foreign[0]} first"
        if not images:
            raise BadInput(f"{folder} holds {kinds}, and no other image", "Convert these files to .jpg or .png.")
        tree.notes.append(f"left out: {kinds}; convert them to .jpg or .png")
    if not images:
        what = f"{len(masks)} masks and no image" if masks else "no image (.jpg, .png, .tif, .webp, .bmp)"
        raise BadInput(f"{folder} holds {what}", "Give the folder above, which holds the images as well.")
    _pair(tree, folder, _without_lead(images), masks)
    if (unread := found["annotations"]) and not masks:
        tree.notes.append(f"no masks; {len(unread)} .json or .xml files are not read ({unread[0]} first)")
    return tree


def _kind_of(path: str) -> str:
    """What a file is, by its name alone."""
    if path.startswith("\\") or re.search("[\x00-\x1f\x7f\ud800-\udfff]", path):
        return "odd"
    ending = PurePosixPath(path).suffix.lower()
    kinds = {".txt": "text", ".json": "annotations", ".xml": "annotations"}
    return "picture" if ending in ENDINGS else "foreign" if ending in UNREAD else kinds.get(ending, "other")


def _without_lead(images: list[_File]) -> list[_File]:
    """The images, their ids without the folders that all of them share."""
    lead = os.path.commonpath([PurePosixPath(file.id).parent for file in images])
    return (
        [replace(file, id=PurePosixPath(file.id).relative_to(lead).as_posix()) for file in images] if lead else images
    )


def _walk(folder: Path, tree: Tree) -> Iterator[str]:
    """The paths of all files, sorted folder by folder; hidden ones are left out, links to folders followed once."""
    waiting, seen = [""], set()
    while waiting:
        below = waiting.pop()
        try:
            status = (folder / below).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder / below) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if not below:
                raise BadEnvironment(
                    f"{folder} cannot be read: {error.strerror}", "Correct its permissions."
                ) from error
            tree.notes.append(f"left out: {below} cannot be read ({error.strerror})")
            continue
        entries = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
        prefix = below + "/" if below else ""
        waiting += [prefix + entry.name for entry in reversed(entries) if entry.is_dir()]
        yield from (prefix + entry.name for entry in entries if entry.is_file())


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", name.lower()) if word]


def _read_name(path: str) -> _File:
    pure = PurePosixPath(path)
    left, split, by_folder, kinds = [], None, None, []
    for folder in pure.parts[:-1]:
        # trainannot means train and annot
        words = _words(re.sub(r"(?i)(?<=[a-z]{3})(annots?)(?![a-z])", r"-\1", folder))
        words = [re.sub(r"(?<=[a-z])\d+$", "", word) for word in words]
        roles = [word for word in words if word in FOLDER_WORDS]
        if roles or IMAGE_WORDS & set(words):
            by_folder = bool(roles)
            kinds += roles
        split = next((SPLITS[word] for word in words if word in SPLITS), split)
        known = [word for word in words if word in FOLDER_WORDS | IMAGE_WORDS or word in SPLITS]
        rest = [word for word in words if word not in known]
        left.append("-".join(rest) if known else folder)
    stem, roles = _stripped(pure.stem)
    above = [part for part in left if part]
    key, name = ("/".join([*above, own]) for own in (stem, pure.stem))
    return _File(
        path, _composed(key), name, split, by_folder, bool(roles), "+".join([*kinds, *roles, pure.suffix.lower()])
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _stripped(stem: str) -> tuple[str, list[str]]:
    """A file's name without the words of roles at its ends, and those of masks among them."""
    roles: list[str] = []
    ends = (r"^(?P<rest>.+?)[^A-Za-z0-9]+(?P<word>[A-Za-z0-9]+)$", r"^(?P<word>[A-Za-z0-9]+)[^A-Za-z0-9]+(?P<rest>.+)$")
    for pattern in ends:
        while match := re.match(pattern, stem):
            word = match["word"].lower()
            if word not in MASK_WORDS | OTHER_WORDS | IMAGE_WORDS:
                break
            stem = match["rest"]
            roles += [] if word in IMAGE_WORDS else [word]
    return stem, roles


def _tell_apart(pictures: Sequence[_File]) -> tuple[list[_File], list[_File]]:
    """Images and masks. A name alone makes a mask only where there is an image to it."""
    masks, others = _parted(pictures, lambda file: bool(file.by_folder))
    plain = {(file.split, file.key) for file in others if not file.by_name}
    named, images = _parted(others, lambda file: file.by_name and (file.split, file.key) in plain)
    masks += named
    if not masks:  # x.jpg and x.png side by side
        beside = {_composed(file.id) for file in images if not _is_png(file)}
        masks, images = _parted(images, lambda file: _is_png(file) and _composed(file.id) in beside)
    return images, masks


def _parted(files: Sequence[_File], chosen: Callable[[_File], bool]) -> tuple[list[_File], list[_File]]:
    """The files that are chosen, and the others."""
    parts: tuple[list[_File], list[_File]] = ([], [])
    for file in files:
        parts[not chosen(file)].append(file)
    return parts


def _is_png(file: _File) -> bool:
    return file.path.lower().endswith(".png")


# --- pairs and splits ---

Masks = dict[str, dict[str, _File]]
"""Kind → key → mask."""


def _pair(tree: Tree, folder: Path, images: list[_File], masks: list[_File]) -> None:
    """Fill in the splits, and what stayed alone."""
    images, masks = _by_stem(images, masks)
    kinds: Masks = defaultdict(dict)
    for mask in masks:
        for key in (f"{mask.split}:{mask.key}", mask.key):
            kinds[mask.kind].setdefault(key, mask)
    used: set[str] = set()
    others: list[str] = []
    for split, members in _splits(tree, folder, images).items():
        own, *unused = _masks_of(members, kinds)
        others += [f"{next(iter(more.values())).path} first of {len(more)} for {split}" for more in unused]
        pairs = [(file, own.get(file.path)) for file in members]
        has_masks = any(mask for _, mask in pairs)
        if has_masks:
            tree.lone_images += [file.path for file, mask in pairs if mask is None]
            pairs = [(file, mask) for file, mask in pairs if mask is not None]
        used |= {mask.path for _, mask in pairs if mask is not None}
        names = _unique_ids([file for file, _ in pairs])
        tree.splits[split] = [
            Pair(name, file.path, mask.path if mask else None) for name, (file, mask) in zip(names, pairs, strict=True)
        ]
    if others:
        tree.notes.append(f"masks that are also there and not used: {'; '.join(others)}")
    keys = {mask.key for mask in masks if mask.path in used}
    alone = [mask for mask in masks if mask.path not in used and mask.key not in keys]
    tree.lone_masks = [mask.path for mask in alone]
    namesakes = {_stem(file): file.path for file in images}
    tree.strangers = next(((mask.path, namesakes[_stem(mask)]) for mask in alone if _stem(mask) in namesakes), None)


def _by_stem(images: list[_File], masks: list[_File]) -> tuple[list[_File], list[_File]]:
    """The files, their stems as keys in splits of one folder of images and one of masks whose keys never meet.

    Then the folders' names do not matter: there is nothing else that could belong together.
    """
    alone = set()
    for split in {file.split for file in images}:
        own, other = ([file for file in files if file.split == split] for files in (images, masks))
        one_each = all(len({PurePosixPath(file.path).parent for file in files}) == 1 for files in (own, other))
        if one_each and {file.key for file in own}.isdisjoint(file.key for file in other):
            alone.add(split)
    keyed = ([replace(f, key=_stem(f)) if f.split in alone else f for f in files] for files in (images, masks))
    return next(keyed), next(keyed)


def _stem(file: _File) -> str:
    return file.key.rpartition("/")[2]


def _masks_of(images: Sequence[_File], kinds: Masks) -> list[dict[str, _File]]:
    """Image's path → its mask, first of the one kind that most of the images have, then of other kinds of classes."""
    found: list[tuple[bool, dict[str, _File]]] = []
    for kind, known in sorted(kinds.items()):
        own = {
            file.path: mask
            for file in images
            if (mask := known.get(f"{file.split}:{file.key}") or known.get(file.key)) is not None
            and (mask.split in (None, file.split) or file.split is None)
        }
        if own:
            found.append((not OTHER_WORDS & set(_words(kind)), own))
    if not found:
        return [{}]
    # of equals the first
    best = max(found, key=lambda entry: (entry[0], len(entry[1])))
    return [best[1], *(own for of_classes, own in found if of_classes and own is not best[1])]


def _unique_ids(files: Sequence[_File]) -> list[str]:
    """Names without their endings; whole paths, with the ending if need be, where two would be the same."""
    for names in (
        [file.id for file in files],
        [str(PurePosixPath(file.path).with_suffix("")) for file in files],
    ):
        if len(set(names)) == len(names):
            return names
    return [file.path for file in files]


def _splits(tree: Tree, folder: Path, images: list[_File]) -> dict[str, list[_File]]:
    """The images of each split: by list files, else by folders, else all in one."""
    listed = _listed(tree, folder, images)
    if listed:
        known = {file.path for members in listed.values() for file in members}
        tree.unlisted = [file.path for file in images if file.path not in known]
        return listed
    splits: dict[str, list[_File]] = defaultdict(list)
    named = any(file.split for file in images)
    for file in images:
        splits[file.split or (REST if named else WHOLE)].append(file)
    return dict(splits)


def _listed(tree: Tree, folder: Path, images: list[_File]) -> dict[str, list[_File]]:
    """Splits by list files: texts at the usual places most of whose lines begin with an image's name."""
    index: dict[str, _File] = {}
    for file in images:
        for name in (PurePosixPath(file.path).stem, str(PurePosixPath(file.path).with_suffix("")), file.path, file.id):
            index.setdefault(_composed(name), file)
    found: dict[str, list[_File]] = {}
    for text in tree.texts:
        path = PurePosixPath(text)
        if path.name.lower() in FILES or path.parent.name.lower() not in LIST_FOLDERS:
            continue
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,39}", path.stem):
            continue
        try:
            lines = (folder / text).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        words = [line.split()[0] for line in lines if line.split()]
        known = dict.fromkeys(index[own] for word in words if (own := _in_index(word, index)) is not None)
        if len(known) > len(words) / 2 and path.stem not in found:
            found[path.stem] = list(known)
            tree.lists.append(text)
            if len(known) < len(words):
                tree.notes.append(f"{text} lists {len(words) - len(known)} images that are not there, or twice")
    return found


def _in_index(word: str, index: dict[str, _File]) -> str | None:
    """How the index spells what a line names; of a file's path as few leading folders are dropped as need be."""
    path = PurePosixPath(_composed(word.lstrip("/")))
    if path.suffix.lower() not in ENDINGS:
        return str(path) if str(path) in index else None
    below = (PurePosixPath(*path.parts[i:]) for i in range(len(path.parts)))
    return next((name for part in below for name in (str(part), str(part.with_suffix(""))) if name in index), None)
