"""Tree: finds images, masks, and the pairs of both in a folder, by their names alone."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from bench.base.errors import BadEnvironment, BadInput
from bench.discover.file_words import (
    ANNOTATIONS,
    ENDINGS,
    OTHER_WORDS,
    UNREAD,
    PictureFile,
    composed,
    read_name,
    words_in,
)
from bench.discover.labelme import exported
from bench.discover.names import FILES
from bench.discover.split_lists import read_lists

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
    """Images without a mask in a split where others have one. They are in it too."""
    lone_masks: list[str] = field(default_factory=list)
    strangers: tuple[str, str] | None = None
    """A lone mask and an image of one name, whose folders do not say that they belong together."""
    side_by_side: bool = False
    """Whether masks are such only because they have the names of images in the same folder."""
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


def look_at(folder: Path, *, labels: bool = True, copies: bool = False) -> Tree:
    """Which images and masks a folder holds. Reads names and list files, no picture. Without `labels` masks are left.

    Of x.jpg and x.png side by side the PNG is taken for a mask, or with `copies` for the same picture again.
    Raises BadInput for a folder that is missing, or holds no image; BadEnvironment for one that cannot be read.
    """
    if not folder.is_dir():
        raise BadInput(f"no folder at {folder}", "Give the folder that holds the images.")
    tree = Tree()
    found: dict[str, list[str]] = defaultdict(list)
    for path in _walk(folder, tree):
        found[_kind_of(path)].append(path)
    tree.texts += found["text"]
    images, masks, others = exported(found["picture"])
    told = _tell_apart(tree, [read_name(path) for path in others], copies)
    images, masks = images + told[0], masks + told[1]
    if odd := found["odd"]:
        kinds = f"{len(odd)} files with a tab or another control character in their names, {odd[0]!r} first"
        if not images and not masks and any(PurePosixPath(path).suffix.lower() in ENDINGS for path in odd):
            raise BadInput(f"{folder} holds {kinds}, and no other image", "Rename these files.")
        tree.notes.append(f"left out: {kinds}")
    if foreign := found["foreign"]:
        kinds = f"{len(foreign)} pictures of kinds that are not read, {foreign[0]} first"
        if not images:
            raise BadInput(
                f"{folder} holds {kinds}, and no other image", "Convert images to .jpg or .png, masks to .png."
            )
        tree.notes.append(f"left out: {kinds}; convert them: images to .jpg or .png, masks to .png")
    if not images:
        what = f"{len(masks)} masks and no image" if masks else "no image (.jpg, .png, .webp, .bmp)"
        raise BadInput(f"{folder} holds {what}", "Give the folder above, which holds the images as well.")
    _pair(tree, folder, _without_lead(images), masks, labels)
    if not masks and (unread := found["annotations"] + _texts_of_images(tree, images)):
        tree.notes.append(
            f"no masks; {len(unread)} files of other kinds are not read ({unread[0]} first): save masks as PNG"
        )
    return tree


def _texts_of_images(tree: Tree, images: Sequence[PictureFile]) -> list[str]:
    """Text files that are called as images are: YOLO's outlines."""
    stems = {_stem(file) for file in images}
    return [text for text in tree.texts if read_name(text).key.rpartition("/")[2] in stems and text not in tree.lists]


def _kind_of(path: str) -> str:
    """What a file is, by its name alone."""
    if path.startswith("\\") or re.search("[\x00-\x1f\x7f\ud800-\udfff]", path):
        return "odd"
    ending = PurePosixPath(path).suffix.lower()
    kinds = {".txt": "text"} | dict.fromkeys(ANNOTATIONS, "annotations")
    if PurePosixPath(path).name.lower() in FILES:
        return "text"
    return "picture" if ending in ENDINGS else "foreign" if ending in UNREAD else kinds.get(ending, "other")


def _without_lead(images: list[PictureFile]) -> list[PictureFile]:
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
        waiting += [prefix + entry.name for entry in reversed(entries) if _is(entry.is_dir)]
        yield from (prefix + entry.name for entry in entries if _is(entry.is_file))


def _is(kind: Callable[[], bool]) -> bool:
    """What an entry of a folder says of itself; a link in a circle is nothing."""
    try:
        return kind()
    except OSError:
        return False


def _tell_apart(
    tree: Tree, pictures: Sequence[PictureFile], copies: bool
) -> tuple[list[PictureFile], list[PictureFile]]:
    """Images and masks. A name alone makes a mask only where there is an image to it."""
    masks, others = _parted(pictures, lambda file: bool(file.by_folder))
    plain = {(file.split, file.key) for file in others if not file.by_name}
    folders = _folders_of_masks(others)
    named, images = _parted(
        others, lambda file: file.by_name and ((file.split, file.key) in plain or _folder(file) in folders)
    )
    masks += named
    if not masks:  # x.jpg and x.png side by side
        beside = {composed(file.id) for file in images if not _is_png(file)}
        masks, images = _parted(images, lambda file: _is_png(file) and composed(file.id) in beside)
        tree.side_by_side = bool(masks)
        if masks and copies:
            tree.notes.append(
                f"left out: {len(masks)} images with the names of others but for the ending, and no masks "
                f"({masks[0].path} first)"
            )
            masks = []
    return images, masks


def _folders_of_masks(files: Sequence[PictureFile]) -> set[PurePosixPath]:
    """Folders of which every picture is called a mask, and each of them as an image of another folder."""
    stems = {(file.split, _stem(file)) for file in files if not file.by_name}
    other = {_folder(file) for file in files if not file.by_name or (file.split, _stem(file)) not in stems}
    return {_folder(file) for file in files} - other


def _folder(file: PictureFile) -> PurePosixPath:
    return PurePosixPath(file.path).parent


def _parted(
    files: Sequence[PictureFile], chosen: Callable[[PictureFile], bool]
) -> tuple[list[PictureFile], list[PictureFile]]:
    """The files that are chosen, and the others."""
    parts: tuple[list[PictureFile], list[PictureFile]] = ([], [])
    for file in files:
        parts[not chosen(file)].append(file)
    return parts


def _is_png(file: PictureFile) -> bool:
    return file.path.lower().endswith(".png")


# --- pairs and splits ---

Masks = dict[str, dict[str, PictureFile]]
"""Kind → key → mask."""


def _pair(tree: Tree, folder: Path, images: list[PictureFile], masks: list[PictureFile], labels: bool) -> None:
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
        used |= {mask.path for _, mask in pairs if mask is not None}
        if labels and own:
            lone = [file for file, mask in pairs if mask is None]
            pairs = _one_each(tree, [(file, mask) for file, mask in pairs if mask is not None])
            lone = _without_copies(tree, lone, [file for file, _ in pairs])
            tree.lone_images += [file.path for file in lone]
            order = {file.path: place for place, file in enumerate(members)}
            pairs = sorted([*pairs, *((file, None) for file in lone)], key=lambda pair: order[pair[0].path])
        else:
            pairs = [(file, None) for file in members]
            _note_namesakes(tree, members)
        names = _unique_ids([file for file, _ in pairs])
        tree.splits[split] = [
            Pair(name, file.path, mask.path if mask else None) for name, (file, mask) in zip(names, pairs, strict=True)
        ]
    _note_masks_by_name(tree, images)
    if others:
        tree.notes.append(f"masks that are also there and not used: {'; '.join(others)}")
    keys = {mask.key for mask in masks if mask.path in used}
    alone = [mask for mask in masks if mask.path not in used and mask.key not in keys]
    tree.lone_masks = [mask.path for mask in alone]
    namesakes = {_stem(file): file.path for file in images}
    tree.strangers = next(((mask.path, namesakes[_stem(mask)]) for mask in alone if _stem(mask) in namesakes), None)


def _one_each(
    tree: Tree, pairs: Sequence[tuple[PictureFile, PictureFile]]
) -> list[tuple[PictureFile, PictureFile | None]]:
    """One image for each mask: of x.jpg and its copy x.png, which would count twice, that of the commoner ending."""
    endings = Counter(_ending(file) for file, _ in pairs)
    best: dict[str, PictureFile] = {}
    for file, mask in sorted(pairs, key=lambda pair: -endings[_ending(pair[0])]):
        best.setdefault(mask.path, file)
    left = [(file, best[mask.path]) for file, mask in pairs if best[mask.path] is not file]
    if left:
        (copy, kept), *_ = left
        tree.notes.append(
            f"left out: {len(left)} images whose mask is that of another image ({copy.path} beside {kept.path} first)"
        )
    return [(file, mask) for file, mask in pairs if best[mask.path] is file]


def _without_copies(tree: Tree, lone: Sequence[PictureFile], paired: Sequence[PictureFile]) -> list[PictureFile]:
    """Images without masks, but for those called as an image that has one: exports copy the images they are of."""
    names = {composed(_stem(file)): file.path for file in paired}
    copies, others = _parted(lone, lambda file: composed(_stem(file)) in names)
    if copies:
        first = copies[0]
        tree.notes.append(
            f"left out: {len(copies)} images without a mask that have the name of one with a mask ({first.path} beside "
            f"{names[composed(_stem(first))]} first)"
        )
    return others


def _note_namesakes(tree: Tree, images: Sequence[PictureFile]) -> None:
    """Note images without masks that have one name but for the ending; they are kept."""
    seen: dict[str, str] = {}
    twice = []
    for file in images:
        name = composed(str(PurePosixPath(file.path).with_suffix("")))
        if seen.setdefault(name, file.path) != file.path:
            twice.append((file.path, seen[name]))
    if twice:
        tree.notes.append(
            f"{len(twice)} images have the name of another but for the ending ({twice[0][0]} and {twice[0][1]} first): "
            "is it the same picture twice?"
        )


def _note_masks_by_name(tree: Tree, images: Sequence[PictureFile]) -> None:
    """Note images that are called masks, which none of the others is the image of."""
    taken = {pair.image for pairs in tree.splits.values() for pair in pairs if pair.label is None}
    called = [file.path for file in images if file.by_name and file.path in taken]
    if called:
        tree.notes.append(
            f"{len(called)} images are called masks ({called[0]} first) and none has the name of an image: are they "
            "masks? They are taken for images. Give each mask the name of its image, in labels/, or take them away"
        )


def _ending(file: PictureFile) -> str:
    return PurePosixPath(file.path).suffix.lower()


def _by_stem(images: list[PictureFile], masks: list[PictureFile]) -> tuple[list[PictureFile], list[PictureFile]]:
    """The files, their stems as keys in splits of one folder of images and one of masks whose keys never meet.

    Then the folders' names do not matter: there is nothing else that could belong together.
    """
    alone = set()
    for split in {file.split for file in images}:
        own, other = ([file for file in files if file.split == split] for files in (images, masks))
        other = [file for file in other if not _is_of_others(file)] or other
        one_each = all(len({PurePosixPath(file.path).parent for file in files}) == 1 for files in (own, other))
        if one_each and {file.key for file in own}.isdisjoint(file.key for file in other):
            alone.add(split)
    keyed = ([replace(f, key=_stem(f)) if f.split in alone else f for f in files] for files in (images, masks))
    return next(keyed), next(keyed)


def _stem(file: PictureFile) -> str:
    return file.key.rpartition("/")[2]


def _masks_of(images: Sequence[PictureFile], kinds: Masks) -> list[dict[str, PictureFile]]:
    """Image's path → its mask, first of the one kind that most of the images have, then of other kinds of classes."""
    found: list[tuple[bool, dict[str, PictureFile]]] = []
    for _, known in sorted(kinds.items()):
        own = {
            file.path: mask
            for file in images
            if (mask := known.get(f"{file.split}:{file.key}") or known.get(file.key)) is not None
            and (mask.split in (None, file.split) or file.split is None)
        }
        if own:
            found.append((not _is_of_others(next(iter(own.values()))), own))
    if not found:
        return [{}]
    # of equals the first
    best = max(found, key=lambda entry: (entry[0], len(entry[1])))
    return [best[1], *(own for of_classes, own in found if of_classes and own is not best[1])]


def _is_of_others(file: PictureFile) -> bool:
    """Whether a mask is one of objects, or a picture of a mask."""
    return bool(OTHER_WORDS & set(words_in(file.kind)))


def _unique_ids(files: Sequence[PictureFile]) -> list[str]:
    """Names without their endings; whole paths, with the ending if need be, where two would be the same."""
    for names in (
        [file.id for file in files],
        [str(PurePosixPath(file.path).with_suffix("")) for file in files],
    ):
        if len(set(names)) == len(names):
            return names
    return [file.path for file in files]


def _splits(tree: Tree, folder: Path, images: list[PictureFile]) -> dict[str, list[PictureFile]]:
    """The images of each split: by list files, else by folders, else all in one."""
    listed, tree.lists, notes = read_lists(folder, tree.texts, images)
    tree.notes += notes
    if listed:
        known = {file.path for members in listed.values() for file in members}
        tree.unlisted = [file.path for file in images if file.path not in known]
        return listed
    splits: dict[str, list[PictureFile]] = defaultdict(list)
    named = any(file.split for file in images)
    for file in images:
        splits[file.split or (REST if named else WHOLE)].append(file)
    return dict(splits)
