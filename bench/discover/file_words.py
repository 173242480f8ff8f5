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
ANNOTATIONS = frozenset({".json", ".xml", ".npy", ".npz", ".mat", ".nii", ".nrrd", ".mha", ".h5", ".pkl"})
"""What else people keep masks in, which is not read."""
MASK_WORDS = frozenset(
    {
        "label", "labels", "mask", "masks", "annotation", "annotations", "annot", "annots", "ann", "anns",
        "segmentation", "segmentations", "labelstr", "labelsts",
        "segmentationclass", "segmentationclassaug", "segmentationclasspng", "seg", "segs",
        "gt", "gts", "gtfine", "gtcoarse", "ground", "truth", "groundtruth", "target", "targets",
        "semantic", "semantics", "trimap", "trimaps", "labelids", "labeltrainids", "stuffthingmaps", "l",
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
WHOLE_FOLDERS = frozenset({"instance", "instances", "instanceids", "panoptic"})
"""Those that count where they are a folder's whole name."""
BESIDE_ROLES = {"machine": "", "human": "color", "rgb": "color"}
"""Words beside a role in a folder's name, and the role that they add: Supervisely's and KITTI's."""
IMAGE_WORDS = frozenset(
    {
        "image", "images", "img", "imgs", "jpegimages", "photo", "photos",
        "picture", "pictures", "leftimg8bit", "rgb", "sat", "satellite", "imagestr", "imagests",
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
        roles = [word for word in words if _is_role(word, len(words))]
        if roles or IMAGE_WORDS & set(words):
            by_folder = bool(roles)
            kinds += [*roles, *(BESIDE_ROLES.get(word, "") for word in words if roles)]
        split = next((SPLITS[word] for word in words if word in SPLITS), split)
        known = [word for word in words if word in {*roles, *IMAGE_WORDS, *SPLITS} or (roles and word in BESIDE_ROLES)]
        rest = [word for word in words if word not in known]
        left.append("-".join(rest) if known else folder)
    double = PurePosixPath(pure.stem).suffix.lower() in ENDINGS  # a mask may be called x.jpg.png
    stem, roles = _stripped(PurePosixPath(pure.stem).stem if double else pure.stem)
    above = [part for part in left if part]
    key, name = ("/".join([*above, own]) for own in (stem, pure.stem))
    return PictureFile(
        path,
        composed(key),
        name,
        split,
        by_folder,
        bool(roles),
        "+".join(filter(None, [*kinds, *roles, pure.suffix.lower()])),
    )


def _is_role(word: str, words: int) -> bool:
    """Whether a word in a folder's name, of so many, makes what is in the folder masks."""
    return word in FOLDER_WORDS or word.startswith("segmentationclass") or (words == 1 and word in WHOLE_FOLDERS)


def composed(name: str) -> str:
    """A name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def _stripped(stem: str) -> tuple[str, list[str]]:
    """A file's name without the words of roles at its ends, and those of masks among them."""
    roles: list[str] = []
    # letters of other scripts and brackets belong to the name
    gap, word = r"[\s!#$%&'*+,./:;<=>?@^_`|~-]+", r"(?P<word>[A-Za-z0-9]+)"
    ends = (rf"^(?P<rest>.+?){gap}{word}$", rf"^{word}{gap}(?P<rest>.+)$")
    for pattern in ends:
        while match := re.match(pattern, stem):
            found = match["word"].lower()
            if found not in MASK_WORDS | OTHER_WORDS | IMAGE_WORDS:
                break
            stem = match["rest"]
            roles += [] if found in IMAGE_WORDS else [found]
    return stem, roles
