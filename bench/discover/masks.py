"""Masks: opens the label files of a folder, and says what is in them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from bench.base.parallel import Progress, default_workers, prefetch
from bench.data.label_palettes import PaletteColours
from bench.data.label_values import Ids, ids_of, open_label
from bench.data.listings import evenly, evenly_first
from bench.discover.names import Colour
from bench.discover.opened import MOST_IDS, Int64, Seen, Size, code_of, look, rgb_of
from bench.discover.tree import Pair

LOOKED_AT = 5000
"""So many pairs are opened unless all are asked for."""
THIN_MASKS = 40
"""So many masks are searched for outlines."""
OUTLINED = 64
"""Of masks with more values none is searched: those are hardly classes."""
RAW_SHADES = frozenset({0, 64, 128, 192, 255})
"""Values that colours are mixed of: where red alone has only these, it is as likely a colour as an id."""
MOST_VALUES = 1 << 16
"""So many different values are counted: what has more is no mask of ids, and no mask in colours with names."""


@dataclass
class Tally:
    """What masks of one kind hold, all together."""

    files: list[Pair] = field(default_factory=list)
    pixels: Counter[int] = field(default_factory=Counter)
    """Value → its pixels in all these masks."""
    masks: Counter[int] = field(default_factory=Counter)
    """Value → the masks that hold it."""

    def add(self, pair: Pair, values: Int64, pixels: Int64) -> None:
        """Take in one mask: the values that it holds, and the pixels of each."""
        self.files.append(pair)
        if len(self.pixels) > MOST_VALUES:
            return
        for value, count in zip(values.tolist(), pixels.tolist(), strict=True):
            self.pixels[value] += count
        self.masks.update(set(values.tolist()))

    def joined(self, other: Tally) -> Tally:
        """This and another one."""
        return Tally(self.files + other.files, self.pixels + other.pixels, self.masks + other.masks)

    def grey(self) -> Tally:
        """The same with R + 256·G + 65536·B, whose channels are equal, as one channel."""
        pixels, masks = (Counter({code & 255: n for code, n in part.items()}) for part in (self.pixels, self.masks))
        return Tally(self.files, pixels, masks)


@dataclass
class Survey:
    """What many pairs have in common."""

    looked_at: int = 0
    of: int = 0
    encoding: str = ""
    """As a card has it: `index`, `rgb` or `colour`; nothing without masks."""
    tally: Tally = field(default_factory=Tally)
    """Of the masks that can be used; colours are R + 256·G + 65536·B."""
    sizes: Counter[Size] = field(default_factory=Counter)
    unusable: dict[str, list[str]] = field(default_factory=dict)
    """A key of `opened.EXPLAINED` → the files that it is true of, images or masks."""
    palette: bytes = b""
    """The first that a mask has."""
    palettes: PaletteColours = field(default_factory=PaletteColours)
    """What colours the palettes of all masks give the values."""
    strange: str = ""
    """The first colour that no file names, and the mask that holds it."""
    pictures: bool = False
    """Whether what was taken for masks has as many colours as photographs have."""
    turned: list[str] = field(default_factory=list)
    """Images with an EXIF orientation."""
    thin: frozenset[int] = frozenset()
    """Values that are outlines wherever they occur."""
    left_out: set[str] = field(default_factory=set)
    """Images of pairs that cannot be used."""

    @property
    def usable(self) -> int:
        """How many masks can be used."""
        return len(self.tally.files)

    @property
    def highest(self) -> int:
        """The highest id that labels of this kind have."""
        wide = self.encoding == "rgb" or max(self.tally.pixels, default=0) > 255
        return 65535 if wide else 255


@dataclass
class _Tallies:
    """Masks by kind: which of them a data set is made of is decided on all together."""

    has_names: bool
    """Whether there are colours with names."""
    index: Tally = field(default_factory=Tally)
    rgb: Tally = field(default_factory=Tally)
    clear: Tally = field(default_factory=Tally)
    """RGB, with an alpha channel that says something."""
    named: Tally = field(default_factory=Tally)
    """Of all these, those whose colours have names."""

    def kind_of_rgb(self) -> str:
        """`rgb` for ids R + 256·G, else what masks of RGB are; nothing without such masks."""
        codes = np.array(list(self.rgb.pixels + self.clear.pixels), np.int64)
        red, green, blue = codes & 255, codes >> 8 & 255, codes >> 16
        if not codes.size:
            return ""
        if not blue.any():
            return "rgb" if _are_ids(red, green) else "colours"
        if not red.any() and _are_ids(blue, green):
            return "blue"
        return "grey" if ((red == green) & (green == blue)).all() else "colours"


def _are_ids(low: Int64, high: Int64) -> bool:
    """Whether low + 256·high are ids rather than colours: small, and not only shades that colours are mixed of."""
    ids = low | high << 8
    return bool(high.any() or not set(low.tolist()) <= RAW_SHADES) and ids[ids != 65535].max(initial=0) < MOST_IDS


def survey(
    folder: Path,
    pairs: Sequence[Pair],
    limit: int | None,
    progress: Progress | None = None,
    colours: Collection[Colour] = (),
) -> Survey:
    """Open the images' heads and the masks of `pairs`, or of `limit` of them spread evenly, those with a mask first.

    `colours` are those that a file of names has.
    """
    chosen = pairs if limit is None else _spread(pairs, limit)
    found = Survey(looked_at=len(chosen), of=len(pairs))
    tallies = _Tallies(bool(colours))
    with ThreadPoolExecutor(default_workers(), "bench-loader") as pool:
        open_one = functools.partial(look, folder, frozenset(map(code_of, colours)))
        for done, seen in enumerate(prefetch(pool, open_one, chosen, depth=64), start=1):
            _add(found, tallies, seen)
            if progress:
                progress(done, len(chosen))
    _settle(found, tallies)
    if found.encoding == "index":
        masks = [found.tally.files[i] for i in evenly(found.usable, THIN_MASKS)]
        found.thin = _outlines(folder, masks, found)
    return found


def _spread(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """At most `limit` pairs, spread evenly; images without a mask only where there are fewer with one."""
    masked = [pair for pair in pairs if pair.label is not None]
    bare = [pair for pair in pairs if pair.label is None]
    return evenly_first(masked, bare, limit)


def _add(found: Survey, tallies: _Tallies, seen: Seen) -> None:
    pair = seen.pair
    if seen.size != (0, 0):
        found.sizes[seen.size] += 1
    if seen.orientation != 1:
        found.turned.append(pair.image)
    if seen.refused:
        _refuse(found, seen.refused, pair, seen.file)
        return
    if not seen.kind:
        return
    if seen.kind == "rgb":
        (tallies.clear if seen.alpha else tallies.rgb).add(pair, seen.ids, seen.pixels)
    else:
        tallies.index.add(pair, seen.ids, seen.pixels)
        found.palette = found.palette or seen.palette
        found.palettes.add(str(pair.label), seen.ids.tolist(), seen.palette)
    if tallies.has_names and seen.strange is None:
        tallies.named.add(pair, seen.colours, seen.pixels)
    elif seen.kind == "rgb" and seen.strange is not None:
        found.strange = found.strange or f"{rgb_of(seen.strange)}, in {pair.label}"


def _refuse(found: Survey, why: str, pair: Pair, file: str) -> None:
    found.unusable.setdefault(why, []).append(file)
    found.left_out.add(pair.image)


def _settle(found: Survey, tallies: _Tallies) -> None:
    """Which encoding the masks have: that of most. The others cannot be read beside them."""
    index, named, rgb = tallies.index, tallies.named, tallies.rgb.joined(tallies.clear)
    by_colour = len(rgb.files) > len(index.files) or bool(found.palettes.other)
    if by_colour and 2 * len(named.files) > len(index.files) + len(rgb.files):
        _take(found, "colour", named, {"unnamed": index.joined(rgb).files})
        return
    kind = tallies.kind_of_rgb()
    if kind == "rgb" and len(rgb.files) > len(index.files):
        _take(found, "rgb", rgb, {"one channel": index.files})
        found.palette = b""
    elif kind == "grey":
        _take(found, "index", index.joined(tallies.rgb.grey()), {"grey as RGBA": tallies.clear.files})
    else:
        found.pictures = len(tallies.rgb.pixels) > MOST_IDS
        lacking = "blue" if kind == "blue" else "unnamed" if tallies.has_names else "colours"
        _take(found, "index", index, {lacking: tallies.rgb.files, "colours and alpha": tallies.clear.files})


def _take(found: Survey, encoding: str, tally: Tally, others: Mapping[str, Sequence[Pair]]) -> None:
    """Settle on the masks of a tally; `others` are refused, by a key of `EXPLAINED`, as far as they are not in it."""
    found.encoding, found.tally = encoding if tally.files else "", tally
    usable = {pair.image for pair in tally.files}
    for why, pairs in others.items():
        for pair in pairs:
            if pair.image not in usable:
                _refuse(found, why, pair, pair.label or "")


def _outlines(folder: Path, pairs: Sequence[Pair], found: Survey) -> frozenset[int]:
    """Values of which hardly a pixel lies deeper than 1 % of the image's longer side, in most masks."""
    pixels, masks = found.tally.pixels, found.tally.masks
    if not 2 < len(pixels) <= OUTLINED:
        return frozenset()
    candidates = [value for value, count in masks.items() if value and count > found.usable / 2]
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


def _values(folder: Path, pairs: Sequence[Pair]) -> Iterator[Ids]:
    for pair in pairs:
        yield ids_of(open_label(folder / str(pair.label)))
