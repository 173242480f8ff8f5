"""Mistaken: pictures that look like masks, though their names are those of images."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bench.base.errors import BadInput
from bench.data.listings import evenly
from bench.data.picture_files import open_picture
from bench.discover.tree import Pair

LOOKED_AT = 20
"""So many pictures of a folder are opened."""
FEW_VALUES = 32
"""A mask has at most so many values."""


def look_like_masks(folder: Path, files: Sequence[str]) -> bool:
    """Whether pictures that were taken for images are masks: PNGs of a few values or colours, as far as some tell."""
    return all(_has_few_values(folder / files[i]) for i in evenly(len(files), LOOKED_AT))


def twin_folders(folder: Path, pairs: Sequence[Pair]) -> Iterator[str]:
    """What to check of images without masks: PNGs of one channel, each of which has a namesake with more elsewhere."""
    files: dict[PurePosixPath, dict[str, str]] = defaultdict(dict)
    for pair in pairs:
        path = PurePosixPath(pair.image)
        files[path.parent][unicodedata.normalize("NFC", path.stem)] = pair.image
    unlabelled = {PurePosixPath(pair.image).parent for pair in pairs if pair.label is None}
    for place in sorted(unlabelled):
        own = files[place]
        if not all(name.lower().endswith(".png") for name in own.values()):
            continue
        twin = next((other for other in files if other != place and own.keys() <= files[other].keys()), None)
        if twin is None:
            continue
        some = [list(own)[i] for i in evenly(len(own), LOOKED_AT)]
        here, there = ({_channels(folder / files[where][name]) for name in some} for where in (place, twin))
        if here == {1} and 1 not in there:
            yield (
                f"{place} holds {len(own)} PNGs of one channel, all with the names of images in {twin}: are they "
                "masks? They are taken for images. Call a folder of masks labels, masks or annotations"
            )


def _channels(path: Path) -> int:
    """How many channels a picture has; 0 for one that cannot be opened."""
    try:
        return len(open_picture(path).opened.getbands())
    except BadInput:
        return 0


def _has_few_values(path: Path) -> bool:
    try:
        picture = open_picture(path, {"PNG"})
        one_channel = picture.mode in ("P", "L", "1")
        values = (picture.values() if one_channel else picture.rgb()).astype(np.uint32)
    except BadInput:
        return False
    codes = values if one_channel else values @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    return len(np.unique(codes)) <= FEW_VALUES
