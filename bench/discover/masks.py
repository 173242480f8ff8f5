"""Masks: opens the label files of a folder, and says what is in them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.base.parallel import Progress, default_workers, prefetch
from bench.data.listings import evenly
from bench.data.picture_files import DAMAGED_IMAGE
from bench.discover.tree import Pair

Size = tuple[int, int]
LOOKED_AT = 5000
"""So many pairs are opened unless all are asked for."""
THIN_MASKS = 40
"""So many masks are searched for outlines."""
OUTLINED = 64
"""Of masks with more values none is searched: those are hardly classes."""
RAW_SHADES = frozenset({0, 64, 128, 192, 255})
"""Values that colours are mixed of: where red alone has only these, it is as likely a colour as an id."""
MOST_IDS = 4096
"""Ids are below this; a larger R + 256·G is as a rule a colour."""
WITH_ALPHA = {"grey as RGB": "grey as RGBA", "colours": "colours and alpha"}
EXPLAINED = {
    "16-bit": "16-bit values: the ids of objects or a depth map as a rule; save class ids in 8 bits",
    "float": "floating-point values: save class ids in 8 bits",
    "alpha": "an alpha channel beside grey: save the grey channel alone, in 8 bits",
    "grey as RGB": "grey saved as RGB: save one channel of it alone, in 8 bits",
    "grey as RGBA": "grey saved as RGB with an alpha channel: save one channel of grey alone, in 8 bits",
    "colours": "colour-coded: which colour is which class is not in the file; save class ids in 8 bits",
    "colours and alpha": "colour-coded, with an alpha channel: which colour is which class is not in the file; save "
    "class ids in 8 bits, one channel",
    "lossy": "JPEG, which changes values: save class ids as PNG",
    "damaged": "damaged or not a picture",
    "size": "another size than the image",
}
"""What is the matter with masks that cannot be used, and what to do."""


@dataclass(frozen=True)
class Seen:
    """What one pair is, opened."""

    pair: Pair
    size: Size | None
    """Height and width of the image; None where it is damaged."""
    kind: str = ""
    """`index`, `rgb`, a key of `EXPLAINED`, or nothing where there is no mask."""
    ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    palette: bytes = b""
    alpha: bool = False
    """Whether a mask of RGB has an alpha channel beside it, which is not read."""


@dataclass
class Survey:
    """What many pairs have in common."""

    looked_at: int = 0
    of: int = 0
    encoding: str = ""
    """`index` or `rgb`; nothing without masks."""
    pixels: Counter[int] = field(default_factory=Counter)
    """Value → its pixels in all usable masks."""
    masks: Counter[int] = field(default_factory=Counter)
    """Value → the masks that hold it."""
    usable: int = 0
    sizes: Counter[Size] = field(default_factory=Counter)
    unusable: dict[str, list[str]] = field(default_factory=dict)
    """A key of `EXPLAINED` → the files that it is true of, images or masks."""
    palette: bytes = b""
    """The first that a mask has."""
    thin: frozenset[int] = frozenset()
    """Values that are outlines wherever they occur."""
    left_out: set[str] = field(default_factory=set)
    """Images of pairs that cannot be used."""


def survey(folder: Path, pairs: Sequence[Pair], limit: int | None, progress: Progress | None = None) -> Survey:
    """Open the images' heads and the masks of `pairs`, or of `limit` of them spread evenly."""
    chosen = pairs if limit is None else [pairs[i] for i in evenly(len(pairs), limit)]
    found = Survey(looked_at=len(chosen), of=len(pairs))
    colours = _Colours()
    with ThreadPoolExecutor(default_workers(), "bench-loader") as pool:
        look = functools.partial(_look, folder)
        for done, seen in enumerate(prefetch(pool, look, chosen, depth=64), start=1):
            _add(found, colours, seen)
            if progress:
                progress(done, len(chosen))
    _settle(found, colours)
    if found.encoding == "index":
        masks = [pair for pair in chosen if pair.label and pair.image not in found.left_out]
        found.thin = _outlines(folder, [masks[i] for i in evenly(len(masks), THIN_MASKS)], found)
    return found


def _look(folder: Path, pair: Pair) -> Seen:
    from PIL import Image

    try:
        with Image.open(folder / pair.image) as picture:
            size = (picture.height, picture.width)
    except (*DAMAGED_IMAGE, Image.DecompressionBombError):
        return Seen(pair, None)
    if pair.label is None:
        return Seen(pair, size)
    try:
        with Image.open(folder / pair.label) as picture:
            kind = _kind(picture.mode, picture.format or "")
            own = (picture.height, picture.width)
            if kind in EXPLAINED:
                return Seen(pair, size, kind)
            values = np.asarray(picture)
            palette = bytes(picture.getpalette() or b"") if picture.mode == "P" else b""
    except (*DAMAGED_IMAGE, Image.DecompressionBombError):
        return Seen(pair, size, "damaged")
    if own != size:
        return Seen(pair, size, "size")
    if kind == "rgb":
        wide = values.astype(np.int64)
        ids = wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16
        found, counts = np.unique(ids, return_counts=True)
        return Seen(pair, size, kind, found, counts, alpha=values.shape[2] > 3)
    counts = np.bincount(values.reshape(-1).astype(np.uint8), minlength=256)
    return Seen(pair, size, kind, np.flatnonzero(counts), counts[counts > 0], palette)


def _kind(mode: str, form: str) -> str:
    if form == "JPEG":
        return "lossy"
    if mode in ("P", "L", "1"):
        return "index"
    if mode in ("RGB", "RGBA"):
        return "rgb"
    return "16-bit" if mode.startswith("I") else "float" if mode == "F" else "alpha" if "A" in mode else "colours"


@dataclass
class _Colours:
    """RGB masks: whether they hold ids or colours is decided on all of them together."""

    values: Counter[int] = field(default_factory=Counter)
    masks: Counter[int] = field(default_factory=Counter)
    files: list[Pair] = field(default_factory=list)
    alpha: list[bool] = field(default_factory=list)
    """Of each file, whether it has an alpha channel."""

    @property
    def kind(self) -> str:
        """`rgb` for ids R + 256·G, else what they are."""
        codes = np.array(list(self.values), np.int64)
        red, green, blue = codes & 255, codes >> 8 & 255, codes >> 16
        if not blue.any():
            named = green.any() or not set(red.tolist()) <= RAW_SHADES
            small = codes[codes != 65535].max(initial=0) < MOST_IDS
            return "rgb" if named and small else "colours"
        return "grey as RGB" if ((red == green) & (green == blue)).all() else "colours"


def _add(found: Survey, colours: _Colours, seen: Seen) -> None:
    if seen.size is None:
        _refuse(found, "damaged", seen.pair, seen.pair.image)
        return
    found.sizes[seen.size] += 1
    if seen.kind in EXPLAINED:
        _refuse(found, seen.kind, seen.pair, seen.pair.label or "")
    elif seen.kind == "rgb":
        colours.files.append(seen.pair)
        colours.alpha.append(seen.alpha)
        _count(colours.values, colours.masks, seen)
    elif seen.kind == "index":
        found.usable += 1
        found.palette = found.palette or seen.palette
        _count(found.pixels, found.masks, seen)


def _count(pixels: Counter[int], masks: Counter[int], seen: Seen) -> None:
    for value, count in zip(seen.ids.tolist(), seen.pixels.tolist(), strict=True):
        pixels[value] += count
        masks[value] += 1


def _refuse(found: Survey, why: str, pair: Pair, file: str) -> None:
    found.unusable.setdefault(why, []).append(file)
    found.left_out.add(pair.image)


def _settle(found: Survey, colours: _Colours) -> None:
    """Which encoding the masks have: that of most. The others cannot be read beside them."""
    kind = colours.kind if colours.files else ""
    if kind == "rgb" and len(colours.files) > found.usable:
        found.encoding = "rgb"
        found.usable, found.pixels, found.masks, found.palette = len(colours.files), colours.values, colours.masks, b""
        return
    why = "colours" if kind == "rgb" else kind
    for pair, alpha in zip(colours.files, colours.alpha, strict=True):
        _refuse(found, WITH_ALPHA[why] if alpha else why, pair, pair.label or "")
    found.encoding = "index" if found.usable else ""


def _outlines(folder: Path, pairs: Sequence[Pair], found: Survey) -> frozenset[int]:
    """Values of which hardly a pixel lies deeper than 1 % of the image's longer side, in most masks."""
    if not 2 < len(found.pixels) <= OUTLINED:
        return frozenset()
    candidates = [v for v, masks in found.masks.items() if v and masks > found.usable / 2]
    total: Counter[int] = Counter()
    deep: Counter[int] = Counter()
    for values in _values(folder, pairs):
        radius = max(2, round(0.01 * max(values.shape)))
        kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        for value in candidates:
            area = (values == value).astype(np.uint8)
            total[value] += int(area.sum())
            deep[value] += int(cv2.erode(area, kernel, borderValue=1).sum())
    return frozenset(v for v in candidates if total[v] and deep[v] <= 0.02 * total[v])


def _values(folder: Path, pairs: Sequence[Pair]) -> Iterator[npt.NDArray[Any]]:
    from PIL import Image

    for pair in pairs:
        with Image.open(folder / str(pair.label)) as picture:
            yield np.asarray(picture).astype(np.uint8)
