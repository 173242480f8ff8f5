"""Sequences: the frames and annotations of a video split, found on disk by the data-set card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.cards.datasets import DatasetCard
from bench.data.decoding import read_image
from bench.data.label_values import ids_of, open_label
from bench.data.listings import first_words
from bench.data.picture_files import Image8
from bench.data.samples import Sample, Samples, file_key, find_layout

VOID = 255
"""The annotation value of pixels that belong to no object for certain, where objects have ids."""
SHORTEST = 3
"""Frames: the first and the last are not evaluated, so one must be left."""


@dataclass(frozen=True)
class Video(Sample):
    """One sequence, not yet opened; `image` and `label` are the folders of its frames and annotations."""

    frames: tuple[Path, ...]
    labels: tuple[Path, ...]
    """As many as frames."""

    @property
    def images(self) -> int:
        """How many frames it has."""
        return len(self.frames)

    @property
    def ids(self) -> tuple[str, ...]:
        """`<sequence>/<frame>` of every frame."""
        return tuple(f"{self.id}/{path.stem}" for path in self.frames)


@dataclass(frozen=True)
class Frame:
    """One frame, decoded."""

    image: Image8
    """H×W×3 RGB."""
    ids: Image8
    """H×W: 0 is background, k the object k."""
    void: npt.NDArray[np.bool_]
    """H×W: pixels that the annotators left open."""
    digest: bytes
    """SHA-256 of the image's file and of the annotation's."""


def open_videos(card: DatasetCard, split: str, root: Path) -> Samples:
    """Find a video split's sequences below `root`.

    Raises WrongName for an unknown split; BadInput for a root that is no such tree, a list that is empty or
    repeats a sequence, and, naming the sequence, for a frame or an annotation that is missing.
    """
    layout, files, base = find_layout(card, split, root)
    if files.label is None:
        raise BadInput(
            f"{card.id} has no annotations for {split}",
            "Name a split with annotations: the protocol needs the first, and figures are counted against the others.",
        )
    listing = base / files.list
    videos = tuple(_find_video(name, base, files.image, files.label, listing) for name in read_names(listing))
    keys = tuple(file_key(video.id, [*video.frames, *video.labels]) for video in videos)
    return Samples(card, split, root, layout.name, videos, keys)


def read_names(listing: Path) -> list[str]:
    """The sequences of a list file, in its order, each once.

    A line is a sequence's name, or a frame's path and its annotation's as in the 2016 lists: there the sequence is
    the folder. Raises BadInput for an empty list, a sequence that comes twice, and a name that leads elsewhere.
    """
    words = first_words(listing, "sequence")
    are_paths = "/" in words[0]
    seen: dict[str, None] = {}
    previous = ""
    for word in words:
        name = PurePosixPath(word).parent.name if are_paths else word
        if not re.fullmatch(r"[\w.+-]+", name) or name in (".", ".."):
            raise BadInput(
                f"{listing}: '{word}' names no sequence", "Give the name of a sequence, or the paths of its frames."
            )
        if name in seen and not (are_paths and name == previous):
            raise BadInput(f"{listing} lists '{name}' twice", "Remove the repetition; every sequence counts once.")
        seen[name] = None
        previous = name
    return list(seen)


def _find_video(name: str, base: Path, image: str, label: str, listing: Path) -> Video:
    frames, labels = (_numbered(base / pattern.replace("{id}", name)) for pattern in (image, label))
    folder, beside = ((base / pattern.replace("{id}", name)).parent for pattern in (image, label))
    if not frames:
        raise BadInput(f"{folder} holds no frames of '{name}'", f"Complete the data, or take it out of {listing}.")
    _require_no_gap(frames, folder)
    if missing := sorted(set(frames) - set(labels)):
        raise BadInput(
            f"{beside / frames[missing[0]].with_suffix(Path(label).suffix).name} is missing "
            f"({len(missing)} of {len(frames)} frames of '{name}' have no annotation)",
            "Complete the data: every frame of an evaluated sequence needs an annotation.",
        )
    if extra := sorted(set(labels) - set(frames)):
        raise BadInput(
            f"{labels[extra[0]]} is the annotation of a frame that {folder} lacks",
            "Complete the frames, or remove the annotation.",
        )
    if len(frames) < SHORTEST:
        raise BadInput(
            f"{folder} holds {len(frames)} frames",
            "Complete the frames: at least three are needed, because the first and the last are not evaluated.",
        )
    order = sorted(frames)
    return Video(name, folder, beside, tuple(frames[i] for i in order), tuple(labels[i] for i in order))


def _numbered(pattern: Path) -> dict[int, Path]:
    """The files whose names are `pattern`'s with a number for `{frame}`. Raises BadInput for two of one number."""
    before, after = pattern.name.split("{frame}")
    number = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found: dict[int, Path] = {}
    for path in sorted(pattern.parent.iterdir()) if pattern.parent.is_dir() else ():
        match = number.fullmatch(path.name)
        if match is None:
            continue
        if int(match[1]) in found:
            raise BadInput(f"{path} and {found[int(match[1])].name} are the same frame", "Remove one of the two files.")
        found[int(match[1])] = path
    return found


def _require_no_gap(frames: dict[int, Path], folder: Path) -> None:
    order = sorted(frames)
    for before, after in pairwise(order):
        if after != before + 1:
            raise BadInput(
                f"{folder}: {after - before - 1} frames are missing between {frames[before].name} and "
                f"{frames[after].name}",
                "Complete the data: objects are followed from each frame to the next.",
            )


def read_frame(video: Video, number: int, objects: str) -> Frame:
    """Decode a frame and its annotation. `objects` is `one` (above 0 is the object) or `many` (ids, 255 is void).

    Raises BadInput, naming the file, where one is damaged or the two differ in size.
    """
    image, digest = read_image(video.frames[number])
    path, remedy = video.labels[number], "Frame and annotation must have the same size."
    ids, label_digest = read_objects(path, image.shape[:2], "its frame", remedy)
    if objects == "one":
        return Frame(image, (ids > 0).astype(np.uint8), np.zeros(ids.shape, np.bool_), digest + label_digest)
    void = ids == VOID
    return Frame(image, np.where(void, np.uint8(0), ids), void, digest + label_digest)


def read_objects(path: Path, size: tuple[int, ...], whose: str, remedy: str) -> tuple[Image8, bytes]:
    """The ids of objects in an annotation or a predicted mask, H×W uint8, and the hash of its file.

    Raises BadInput where it is damaged, of another (height, width) than `size`, which is `whose`, or has no such ids.
    """
    picture = open_label(path, size, whose, remedy)
    ids = ids_of(picture)
    if ids.dtype != np.uint8:
        raise BadInput(f"{path} holds the id {ids.max()}; objects have ids up to 255", "Convert it to 8-bit ids.")
    return ids, picture.digest


def count_objects(first: Frame, video: Video) -> int:
    """How many objects a sequence has: the highest id in its first annotation. Raises BadInput for none."""
    objects = int(first.ids.max())
    if not objects:
        hint = (
            "Choose a 2016 split: its values are 0 and 255, as in masks of DAVIS 2016."
            if first.void.any()
            else "Remove the sequence from the list: it has no object to follow."
        )
        raise BadInput(f"{video.labels[0]} shows no object in the first frame", hint)
    return objects


def videos_of(samples: Samples) -> Iterator[Video]:
    """The sequences of a split that `open_videos` found."""
    for sample in samples:
        assert isinstance(sample, Video)
        yield sample
