"""What the classes of the data set `shapes` look like: an outline and a two-tone texture for each.

Outlines are lists of polygons in unit coordinates, x right, y down, filled by the even-odd rule, so that
a later polygon inside the first is a hole. Textures are functions of the same coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Texture = Callable[[Floats, Floats], Floats]


# --- outlines ---


def _points(*pairs: tuple[float, float]) -> Points:
    """Polygon (N x 2) from its corners."""
    return np.array(pairs, dtype=np.float64)


def _polar(radius: Callable[[Points], Any], count: int = 180) -> Points:
    """Closed curve (count x 2) with the given radius at each angle; angle 0 is up, growing clockwise."""
    angle: Points = np.arange(count, dtype=np.float64) * (2 * math.pi / count)
    r = radius(angle) * np.ones_like(angle)
    return np.stack([r * np.sin(angle), -r * np.cos(angle)], axis=1)


def _arc(cx: float, cy: float, radius: float, start: float, stop: float) -> Points:
    """Circular arc (60 x 2) from `start` to `stop` degrees; 0 is right, 90 is down."""
    angle = np.radians(np.linspace(start, stop, 60))
    return np.stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)], axis=1)


def _circle(radius: float) -> Points:
    """Circle (180 x 2)."""
    return _polar(np.ones_like) * radius


def _flower() -> Points:
    """Flower (180 x 2) with six petals."""
    return _polar(lambda a: 0.74 + 0.26 * np.cos(6 * a))


def _star(tips: int, inner: float) -> Points:
    """Star (2 tips x 2) with its inner corners at the radius `inner`."""
    return _polar(lambda a: np.where(np.arange(a.size) % 2 == 0, 1.0, inner), 2 * tips)


def _heart() -> Points:
    """The usual heart curve (180 x 2)."""
    t = np.arange(180) * (2 * math.pi / 180)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], axis=1)


def _drop() -> Points:
    """Teardrop (180 x 2), tip up."""
    t = np.arange(180) * (2 * math.pi / 180)
    return np.stack([0.95 * np.sin(t) * np.sin(t / 2) ** 1.4, -np.cos(t)], axis=1)


def _gear() -> Points:
    """Cog wheel (720 x 2) with eight teeth."""
    return _polar(lambda a: np.where(np.cos(8 * a) > 0, 1.0, 0.74), 720)


def _crescent() -> Points:
    """Moon (120 x 2), open to the right."""
    tip = 55.0  # degrees from the x axis to the tips, on the outer circle
    x, y = math.cos(math.radians(tip)), math.sin(math.radians(tip))
    inner_x = 0.62
    radius = math.hypot(x - inner_x, y)
    bend = math.degrees(math.atan2(y, x - inner_x))
    return np.concatenate([_arc(0, 0, 1, tip, 360 - tip), _arc(inner_x, 0, radius, 360 - bend, bend)])


def _eye() -> Points:
    """Lens (120 x 2), twice as wide as high."""
    half = math.degrees(math.asin(0.8))
    return np.concatenate([_arc(0, 0.75, 1.25, 270 - half, 270 + half), _arc(0, -0.75, 1.25, 90 - half, 90 + half)])


def _cross(arm: float = 0.4) -> Points:
    """Plus sign (12 x 2) whose arms are 2 arm wide."""
    a = arm
    return _points(
        (-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a),
        (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a),
    )  # fmt: skip


def _arrow() -> Points:
    """Thick arrow (7 x 2) to the right."""
    return _points((-1, -0.38), (0, -0.38), (0, -0.9), (1, 0), (0, 0.9), (0, 0.38), (-1, 0.38))


def _chevron() -> Points:
    """Thick caret (6 x 2), pointing up."""
    return _points((0, -0.8), (1, 0.1), (1, 0.85), (0, 0), (-1, 0.85), (-1, 0.1))


def _bolt() -> Points:
    """Lightning bolt (7 x 2)."""
    return _points((0.35, -1), (-0.7, 0.2), (-0.08, 0.2), (-0.4, 1), (0.75, -0.28), (0.12, -0.28), (0.75, -1))


def _tee() -> Points:
    """The letter T (8 x 2)."""
    return _points(
        (-1, -0.9), (1, -0.9), (1, -0.15), (0.4, -0.15), (0.4, 0.9), (-0.4, 0.9), (-0.4, -0.15), (-1, -0.15)
    )  # fmt: skip


def _house() -> Points:
    """Wall with a chimneyless roof that juts out (7 x 2)."""
    return _points((0, -1), (1, -0.1), (0.72, -0.1), (0.72, 1), (-0.72, 1), (-0.72, -0.1), (-1, -0.1))


def _unit(polygons: list[Points]) -> list[Points]:
    """The polygons moved and scaled: bounding box centred on 0, its longer side from -1 to 1."""
    every = np.concatenate(polygons)
    low, high = every.min(axis=0), every.max(axis=0)
    return [(p - (low + high) / 2) * (2 / (high - low).max()) for p in polygons]


# --- textures: fields over u (right) and v (down), in about [-1, 1]; positive where the second tone lies ---


def _stripes(degrees: float, periods: float) -> Texture:
    """Straight bands across the direction `degrees`, with `periods` periods across the object."""
    a = math.radians(degrees)
    return lambda u, v: np.cos(math.pi * periods * (u * math.cos(a) + v * math.sin(a)))


def _checker(cells: float, degrees: float = 0.0) -> Texture:
    """Checkerboard with `cells` squares across the object, turned by `degrees`."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    k = cells * math.pi / 2
    return lambda u, v: np.sin(k * (u * c + v * s)) * np.sin(k * (v * c - u * s))


def _sectors(count: int, base: float = 0.0) -> Texture:
    """Twice `count` sectors of alternating tone around the point (0, base)."""
    return lambda u, v: np.cos(count * (np.arctan2(v - base, u) + math.pi / 2))


def _dots(u: Floats, v: Floats) -> Floats:
    """Big round dots, three by three."""
    field: Floats = np.cos(2.7 * math.pi * u) + np.cos(2.7 * math.pi * v) - 0.5
    return field


def _bars(u: Floats, v: Floats) -> Floats:
    """Two thick bars that cross in the middle."""
    field: Floats = np.float32(0.24) - np.minimum(np.abs(u), np.abs(v))
    return field


def _bricks(u: Floats, v: Floats) -> Floats:
    """Courses of bricks of alternating tone, every other course shifted by half a brick."""
    course = np.floor((v + 1) * 2.2)
    field: Floats = np.mod((u + 1) * 1.4 + 0.25 * np.mod(course, 2), 1) - 0.5
    return field


def _wave(u: Floats, v: Floats) -> Floats:
    """Horizontal bands that undulate."""
    field: Floats = np.sin(2.5 * math.pi * (v + 0.22 * np.sin(1.5 * math.pi * u)))
    return field


def _zigzag(u: Floats, v: Floats) -> Floats:
    """Horizontal bands with sharp teeth."""
    tooth = np.abs(np.mod(1.5 * u + 0.5, 2) - 1)
    field: Floats = np.sin(2.5 * math.pi * (v + 0.5 * tooth))
    return field


def _spiral(u: Floats, v: Floats) -> Floats:
    """Two-armed spiral."""
    field: Floats = np.sin(2 * np.arctan2(v, u) + 7 * np.hypot(u, v))
    return field


def _rings(u: Floats, v: Floats) -> Floats:
    """A disc and a ring around it, round the middle."""
    field: Floats = np.cos(2.25 * math.pi * np.hypot(u, v))
    return field


def _nested(u: Floats, v: Floats) -> Floats:
    """Rhombi inside one another, 4 wide to 5 high."""
    field: Floats = np.cos(3 * math.pi * (np.abs(u) / 0.8 + np.abs(v)))
    return field


def _pupil(u: Floats, v: Floats) -> Floats:
    """One disc in the middle."""
    field: Floats = np.float32(0.4) - np.hypot(u, v)
    return field


# --- the classes ---


@dataclass(frozen=True)
class Kind:
    """What one class looks like: its outline (list of N x 2 polygons) and its texture."""

    name: str
    outline: list[Points]
    texture: Texture

    def area(self) -> float:
        """Area of the outline in unit coordinates; the first polygon less the holes."""
        first, *holes = [abs(cv2.contourArea(p.astype(np.float32))) for p in self.outline]
        return float(first - sum(holes))


def _kind(name: str, texture: Texture, *polygons: Points) -> Kind:
    return Kind(name, _unit(list(polygons)), texture)


KINDS: tuple[Kind, ...] = (
    _kind("disc", _spiral, _circle(1)),
    _kind("square", _checker(3.9), _points((-1, -1), (1, -1), (1, 1), (-1, 1))),
    _kind("triangle", _stripes(90, 2.75), _points((0, -1), (1.1, 0.9), (-1.1, 0.9))),
    _kind("star", _rings, _star(5, 0.48)),
    _kind("cross", lambda u, v: u * v, _cross()),
    _kind("ring", _sectors(4), _circle(1), _circle(0.42)),
    _kind("crescent", lambda u, v: v, _crescent()),
    _kind("heart", lambda u, v: u, _heart()),
    _kind("hexagon", _dots, _polar(np.ones_like, 6)),
    _kind("arrow", _stripes(45, 3), _arrow()),
    _kind("drop", _wave, _drop()),
    _kind("eye", _pupil, _eye()),
    _kind("chevron", _stripes(0, 3), _chevron()),
    _kind("gear", _bars, _gear()),
    _kind("rhombus", _nested, _points((0, -1), (0.8, 0), (0, 1), (-0.8, 0))),
    _kind("dome", _sectors(7, base=0.5), _arc(0, 0, 1, 180, 360)),
    _kind("tee", _bricks, _tee()),
    _kind("flower", _checker(3, 45), _flower()),
    _kind("bolt", _stripes(-45, 3), _bolt()),
    _kind("house", _zigzag, _house()),
)
