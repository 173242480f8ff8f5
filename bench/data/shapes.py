"""The built-in data set `shapes`: drawn images in a PASCAL VOC layout.

Twenty classes, each with its own outline and its own bold two-tone texture. The two tones are random
colours, drawn alike for every class, so colour says nothing about the class; outline and texture do.
Every image is a pure function of a constant seed, the split's name and the image's index. `bench.data.shapes_files`
writes them.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.data.shapes_patterns import KINDS, Floats, Points

Bytes = NDArray[np.uint8]

CLASSES: tuple[str, ...] = tuple(kind.name for kind in KINDS)  # index i is label i + 1

SEED = 20240229
VOID = 255
SIDES = (160, 240)  # shortest and longest image side, in pixels
SUPERSAMPLING = 2  # objects are drawn this many times larger, then averaged: smooth edges
MULTI_EVERY = 5  # one image in so many holds two or three objects
_PERMUTE, _DRAW = 0, 1  # keep the random streams of class order and of image contents apart


@dataclass(frozen=True)
class Item:
    """One object in an image, in pixels.

    `matrix` (2 x 2) takes unit coordinates to pixel offsets from `centre` (x, y); `tones` (2 x 3) are
    the RGB colours of the texture, 0..255.
    """

    kind: int
    matrix: Points
    centre: Points
    tones: Points

    def polygons(self) -> list[Points]:
        """The outline in pixels, as N x 2 polygons."""
        return [p @ self.matrix.T + self.centre for p in KINDS[self.kind].outline]

    def extent(self) -> Points:
        """Half the width and half the height of the outline's bounding box, in pixels."""
        return np.asarray(np.ptp(np.concatenate(self.polygons()), axis=0) / 2)


def _generator(split: str, *keys: int) -> np.random.Generator:
    """Random stream of one purpose; PCG64 named outright since numpy may change its default."""
    name = zlib.crc32(split.encode())  # hash() differs between runs
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([SEED, name, *keys])))


def _main_class(split: str, index: int) -> tuple[int, bool]:
    """Class index of the image's main object, and whether others join it.

    Each run of 20 images holds each class once, so that an image does not depend on the split's length;
    the classes whose turn it is to have company change from run to run.
    """
    block, position = divmod(index, len(KINDS))
    kind = int(_generator(split, _PERMUTE, block).permutation(len(KINDS))[position])
    return kind, (kind + block) % MULTI_EVERY == 0


def _luminance(colour: Points) -> float:
    """Luminance of an RGB colour, 0..255."""
    return float(colour @ np.array([0.299, 0.587, 0.114]))


def _tones(rng: np.random.Generator, ground: Points) -> Points:
    """Two RGB colours (2 x 3), far apart in luminance and each far from the background's colour."""
    while True:
        pair = rng.uniform(5, 250, size=(2, 3))
        apart = abs(_luminance(pair[0]) - _luminance(pair[1])) > 85
        if apart and np.linalg.norm(pair - ground, axis=1).min() > 75:
            return pair


def _background(rng: np.random.Generator, height: int, width: int) -> tuple[Floats, Points]:
    """Calm background (H x W x 3, 0..255): a muted tone with smooth, faint mottling; and that tone (3)."""
    tone = np.clip(rng.uniform(50, 205) + rng.uniform(-30, 30, size=3), 30, 225)
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = tone
    for cells, strength in ((3, 6.0), (9, 4.0)):
        grid = rng.normal(0, strength, size=(cells, cells, 1))
        grid = grid + rng.normal(0, strength / 3, size=(cells, cells, 3))  # a little colour as well
        image += cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return image, tone


def _item(rng: np.random.Generator, kind: int, area: float, ground: Points, frame: Points) -> Item:
    """Object of about `area` square pixels, shrunk where it would not fit the frame (width, height).

    Its centre is the origin; `_moved` places it.
    """
    angle = math.radians(rng.uniform(-15, 15))
    stretch = math.exp(rng.uniform(-0.2, 0.2))  # the square root of the change of aspect
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([stretch, 1 / stretch]) * math.sqrt(area / KINDS[kind].area())
    item = Item(kind, matrix, np.zeros(2), _tones(rng, ground))
    fit = float((0.47 * frame / item.extent()).min())
    return replace(item, matrix=matrix * min(1.0, fit))


def _moved(item: Item, centre: Points, frame: Points, overhang: float) -> Item:
    """The object near `centre`, moved so that it keeps within the frame.

    `overhang` is the share of the object's width and height that may lie outside; where it is negative,
    that share of the frame's sides stays free instead.
    """
    half = item.extent()
    slack = 2 * half * overhang if overhang >= 0 else frame * overhang
    corners = np.concatenate(item.polygons())
    offset = (corners.min(axis=0) + corners.max(axis=0)) / 2 - item.centre  # a turned outline is off centre
    low, high = half - slack - offset, frame - half + slack - offset
    middle = (low + high) / 2  # of use where the object is too large to keep clear of both sides
    return replace(item, centre=np.clip(centre, np.minimum(low, middle), np.maximum(high, middle)))


def _compose(rng: np.random.Generator, kind: int, multi: bool, ground: Points, frame: Points) -> list[Item]:
    """The objects of an image, in painting order; `frame` is (width, height) in pixels."""
    low, high = (0.18, 0.32) if multi else (0.09, 0.42)
    share = math.exp(rng.uniform(math.log(low), math.log(high)))  # of the frame's area
    main = _item(rng, kind, share * float(frame.prod()), ground, frame)
    overhang = 0.06 if rng.random() < 0.1 else -0.03
    main = _moved(main, frame * rng.uniform(0.2, 0.8, size=2), frame, overhang)
    items = [main]
    guests = int(rng.integers(1, 3)) if multi else 0
    for _ in range(guests):
        other = kind if rng.random() < 0.25 else int(rng.integers(len(KINDS)))
        # Smaller than the main object, yet large enough for the texture to be seen.
        area = abs(np.linalg.det(main.matrix)) * KINDS[kind].area() * rng.uniform(0.28, 0.5 / guests**0.5)
        guest = _item(rng, other, area, ground, frame)
        angle = rng.uniform(0, 2 * math.pi)
        reach = 0.85 * (main.extent() + guest.extent())  # boxes overlap a little
        centre = main.centre + reach * np.array([math.cos(angle), math.sin(angle)])
        guest = _moved(guest, centre, frame, 0.08)
        items.insert(int(rng.integers(2)) * len(items), guest)  # behind or before the rest
    return items


def _averaged(mask: Bytes, height: int, width: int) -> Floats:
    """A supersampled mask (0 or 255) averaged down to height x width, 0..1."""
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32) * np.float32(1 / 255)


def _coverage(item: Item, height: int, width: int) -> Floats:
    """Share of each pixel that the object covers (H x W, 0..1)."""
    size = SUPERSAMPLING
    mask = np.zeros((height * size, width * size), dtype=np.uint8)
    # fillPoly takes fixed-point numbers (here 1/16 px), and its whole numbers are pixel centres.
    corners = [np.round((p * size - 0.5) * 16).astype(np.int32) for p in item.polygons()]
    cv2.fillPoly(mask, corners, 255, shift=4)
    return _averaged(mask, height, width)


def _pattern(item: Item, top: int, left: int, height: int, width: int) -> Floats:
    """Weight of the second tone (height x width, 0..1) in the box whose first pixel is (top, left)."""
    size = SUPERSAMPLING
    x = ((np.arange(width * size) + 0.5) / size + left - item.centre[0]).astype(np.float32)[None, :]
    y = ((np.arange(height * size) + 0.5) / size + top - item.centre[1]).astype(np.float32)[:, None]
    (a, b), (c, d) = np.linalg.inv(item.matrix).astype(np.float32)
    field = KINDS[item.kind].texture(a * x + b * y, c * x + d * y)
    return _averaged((field > 0).astype(np.uint8) * np.uint8(255), height, width)


def _paint(image: Floats, owner: Bytes, item: Item, number: int) -> None:
    """Paint the object into `image` (H x W x 3), its `number` into `owner` (H x W), both in place."""
    alpha = _coverage(item, *owner.shape)
    left, top, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    box = slice(top, top + height), slice(left, left + width)
    first, second = item.tones.astype(np.float32)
    colour = first + (second - first) * _pattern(item, top, left, height, width)[..., None]
    image[box] += (colour - image[box]) * alpha[box][..., None]
    owner[alpha >= 0.5] = number


def _border(owner: Bytes) -> NDArray[np.bool_]:
    """Where (H x W) the void border lies: two pixels wide, one on each side of every boundary."""
    near = np.ones((3, 3), dtype=np.uint8)
    return np.asarray(cv2.dilate(owner, near) != cv2.erode(owner, near))


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width in pixels, never equal."""
    low, high = SIDES
    height, width = (int(n) for n in rng.choice(np.arange(low, high + 1), size=2, replace=False))
    return height, width


def draw(split: str, index: int, count: int) -> tuple[Bytes, Bytes]:
    """Draw one image of a split of `count` images.

    Returns the image (H x W x 3 uint8, RGB) and its labels (H x W uint8: 0 background, 1..20, 255 void).
    The image does not depend on `count`, which only bounds the index; classes are balanced where
    `count` is a multiple of 20.
    """
    if not 0 <= index < count:
        raise IndexError(f"image {index} of a split of {count}")
    kind, multi = _main_class(split, index)
    rng = _generator(split, _DRAW, index)
    height, width = _size(rng)
    image, ground = _background(rng, height, width)
    items = _compose(rng, kind, multi, ground, np.array([width, height], dtype=np.float64))
    owner = np.zeros((height, width), dtype=np.uint8)
    for number, item in enumerate(items, start=1):
        _paint(image, owner, item, number)
    image += rng.normal(0, 3, size=image.shape).astype(np.float32)
    label = np.array([0] + [item.kind + 1 for item in items], dtype=np.uint8)[owner]
    label[_border(owner)] = VOID
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), label
