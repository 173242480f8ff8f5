"""Contact sheet: samples of a data set on one picture, each image beside its label in the data set's colours."""

from __future__ import annotations

import contextlib
import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bench.data.listings import evenly_first
from bench.data.pictures import Colours, Read, fitted_in, legend_of, read_samples, small_image, small_map
from bench.data.samples import Samples

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as PixelFont

    Font: TypeAlias = FreeTypeFont | PixelFont
BOX = (200, 260)
"""Height and width, in pixels, that an image or a label is fitted in."""
COLUMNS = 3
GAP, MARGIN, LINE = 6, 24, 26
INK, SOFT, PAPER, EDGE = "#1c2126", "#59636e", "#ffffff", "#d6dbe1"
ENTRY = 230
"""Width of a legend's entry."""
ENTRIES = 60
"""So many classes stand in the legend."""
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf", "msgothic.ttc")
"""Looked for among the system's where Pillow's own font, which has hardly more than ASCII, lacks a letter. None is
shipped: one that has the world's letters is larger than this program."""


@dataclass(frozen=True)
class _Cell:
    name: str
    image: Image
    label: Image | None


def contact_sheet(samples: Samples, count: int) -> Image:
    """`count` samples spread evenly over a split, those with labels first; of a sequence its middle frame.

    Raises BadInput naming a bad file.
    """
    read = read_samples(samples)
    names, colours = legend_of(samples)
    places = _places(samples, count)
    cells, seen = [], set()
    for name, place in places:
        cell, values = _cell(name, place, read, colours)
        cells.append(cell)
        seen |= values
    head = f"{samples.card.title}, {samples.split}: {len(cells)} of {len(samples)} samples"
    entries = [(names(value), tuple(colours[value].tolist())) for value in sorted(seen)]
    return _draw(head, cells, entries, labelled=any(cell.label for cell in cells))


def _places(samples: Samples, count: int) -> list[tuple[str, int]]:
    """The chosen samples' names, and the places of their images among all images."""
    starts = np.concatenate([[0], np.cumsum([sample.images for sample in samples])])
    chosen = [(samples.entries[i], int(starts[i])) for i in _chosen(samples, count)]
    return [(sample.ids[sample.images // 2], start + sample.images // 2) for sample, start in chosen]


def _chosen(samples: Samples, count: int) -> list[int]:
    """Places spread evenly over the samples with labels, and over the others where there are too few of them."""
    labelled = samples.labelled_places
    there = frozenset(labelled)
    return evenly_first(labelled, [place for place in range(len(samples)) if place not in there], count)


def _cell(name: str, place: int, read: Read, colours: Colours) -> tuple[_Cell, set[int]]:
    image, label = read(place)
    size = fitted_in(image.shape, BOX)
    if label is None:
        return _Cell(name, small_image(image, size), None), set()
    picture = small_map(label, size, colours).convert("RGB")
    return _Cell(name, small_image(image, size), picture), set(np.unique(label).tolist())


def _draw(
    head: str, cells: Sequence[_Cell], entries: Sequence[tuple[str, tuple[int, ...]]], *, labelled: bool
) -> Image:
    """All on one picture."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    pair = BOX[1] * 2 + GAP if labelled else BOX[1]
    columns = min(len(cells), COLUMNS if labelled else 2 * COLUMNS)
    rows = -(-len(cells) // columns)
    width = max(2 * MARGIN + columns * pair + (columns - 1) * MARGIN, 3 * ENTRY)
    across = max(1, (width - 2 * MARGIN) // ENTRY)
    shown = entries[:ENTRIES]
    lines = -(-(len(shown) + (len(entries) > len(shown))) // across)
    step = BOX[0] + LINE + MARGIN
    top = MARGIN + 2 * LINE
    height = top + rows * step + lines * LINE + MARGIN
    sheet = Pillow.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (MARGIN, MARGIN), head, INK, 22, width - 2 * MARGIN)
    for number, cell in enumerate(cells):
        left, upper = MARGIN + number % columns * (pair + MARGIN), top + number // columns * step
        sheet.paste(cell.image, (left, upper))
        if cell.label is not None:
            sheet.paste(cell.label, (left + cell.image.width + GAP, upper))
        _write(draw, (left, upper + cell.image.height + 5), cell.name, SOFT, 15, pair)
    texts = [*shown, *([(f"and {len(entries) - len(shown)} more", None)] if len(entries) > len(shown) else [])]
    for number, (name, colour) in enumerate(texts):
        left, upper = MARGIN + number % across * ENTRY, top + rows * step + number // across * LINE
        if colour is not None:
            draw.rectangle((left, upper + 2, left + 16, upper + 18), colour, EDGE)
        _write(draw, (left + 24, upper + 2), name, INK, 15, ENTRY - 34)
    return sheet


def _write(draw: ImageDraw, place: tuple[int, int], text: str, colour: str, size: int, width: int) -> None:
    """Draw the text, or as much of it as fits with an ellipsis, in one line."""
    text, font = _lettered(" ".join(text.split()), size)
    if draw.textlength(text, font) > width:
        while text and draw.textlength(text + "…", font) > width:
            text = text[:-1]
        text += "…"
    draw.text(place, text, colour, font)


def _lettered(text: str, size: int) -> tuple[str, Font]:
    r"""The text in the first font that has all its letters; where none has, without accents, or with \u65e5 for 日."""
    fonts = _fonts(size)
    for font in fonts:
        if all(_has(font, letter) for letter in set(text)):
            return text, font
    return "".join(c if _has(fonts[0], c) else _spelt(c) for c in text), fonts[0]


def _spelt(letter: str) -> str:
    bare = unicodedata.normalize("NFKD", letter)
    kept = "".join(sign for sign in bare if not unicodedata.combining(sign))
    return (kept if kept.isascii() else letter).encode("ascii", "backslashreplace").decode()


@functools.cache
def _fonts(size: int) -> tuple[Font, ...]:
    """Pillow's own font, and what this machine has of `FONTS`."""
    from PIL import ImageFont

    found: list[Font] = [ImageFont.load_default(size)]
    for name in FONTS:
        with contextlib.suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return tuple(found)


@functools.cache
def _has(font: Font, letter: str) -> bool:
    """Whether the font has this letter: no font says so, but all it lacks looks like a character that there is not."""
    try:
        return _shape(font, letter) != _shape(font, "\uffff")
    except UnicodeEncodeError:  # the font of a Pillow without FreeType
        return letter.isascii()


def _shape(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
