"""File words: what the words in a picture's path say: whether it is an image or a mask, and of which split."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
UNREAD = frozenset(
    {
        ".tif", ".tiff", ".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".svg", ".dng", ".raw", ".cr2", ".nef",
        ".arw",
    }
)  # fmt: skip
"""Pictures that are not read, by their endings."""
MASK_WORDS = frozenset(
    {
        "label", "labels", "mask", "masks", "annotation", "annotations", "annot", "annots", "segmentation",
        "segmentations", "segmentationclass", "segmentationclassaug", "segmentationclasspng", "seg", "segs",
        "gt", "gts", "gtfine", "gtcoarse", "ground", "truth", "groundtruth", "target", "targets",
        "trimap", "trimaps", "labelids", "labeltrainids", "stuffthingmaps", "l",
    }
)  # fmt: skip
"""Words in the names of masks and of their folders."""
OTHER_WORDS = frozenset(
    {
        "segmentationobject", "segmentationobjectpng", "segmentationclassvisualization",
        "segmentationobjectvisualization", "color", "colour", "instance", "instances", "instanceids",
        "instancetrainids", "panoptic", "overlay", "vis", "viz",
    }
)  # fmt: skip
"""The same of pictures that come beside masks and are none of classes."""
FOLDER_WORDS = MASK_WORDS | {word for word in OTHER_WORDS if word.startswith("segmentation")}
"""Those that count in a folder's name: a folder called `color` may hold anything."""
IMAGE_WORDS = frozenset(
    {
        "image", "images", "img", "imgs", "jpegimages", "photo", "photos",
        "picture", "pictures", "leftimg8bit", "rgb", "sat", "satellite",
    }
)  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PictureFile:
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


def words_in(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return [word for word in re.split(r"[^A-Za-z0-9]+", name.lower()) if word]


def read_name(path: str) -> PictureFile:
    """What the words in a picture's path say."""
    pure = PurePosixPath(path)
    left, split, by_folder, kinds = [], None, None, []
    for folder in pure.parts[:-1]:
        # trainannot means train and annot
        words = words_in(re.sub(r"(?i)(?<=[a-z]{3})(annots?)(?![a-z])", r"-\1", folder))
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
    return PictureFile(
        path, composed(key), name, split, by_folder, bool(roles), "+".join([*kinds, *roles, pure.suffix.lower()])
    )


def composed(name: str) -> str:
    """A name in Unicode's composed form."""
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
