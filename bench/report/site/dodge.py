"""Dodge: points whose dates coincide are moved aside within a month's width, so that each can be seen and hit."""

from __future__ import annotations

from collections.abc import Sequence

MONTH = 30.0
"""Days: as wide as points of one date may be spread. Papers are dated by the month."""
WIDTH, HEIGHT = 0.7, 2.2
"""Percent of the plot's width and height that a point takes, about, on a wide screen."""
NARROWEST = 1.4
"""Percent of the width over which points are spread at least, however many years there are."""


def spread(places: Sequence[tuple[float, float]], month: float) -> list[float]:
    """Where each point is drawn: its x, moved by at most half a month's width where others are at its place.

    Points take their turn from the top down, and each the free place that is nearest to its own; where none is free,
    the one with the most room. Equal places give equal results, whatever the order of rows of equal values is.
    """
    half = max(month, NARROWEST) / 2
    steps = max(1, int(half / WIDTH))
    offsets = [0.0, *(sign * half * step / steps for step in range(1, steps + 1) for sign in (1, -1))]
    taken: list[tuple[float, float]] = []
    found = [0.0] * len(places)
    for number in sorted(range(len(places)), key=lambda number: (places[number][1], places[number][0], number)):
        x, y = places[number]
        near = [place for place in taken if y - place[1] < HEIGHT]
        rooms = [(min((_distance(x + offset, y, place) for place in near), default=1.0), offset) for offset in offsets]
        free = [offset for room, offset in rooms if room >= 1]
        offset = free[0] if free else max(rooms, key=lambda one: (one[0], -abs(one[1])))[1]
        found[number] = round(min(max(x + offset, 0.0), 100.0), 2)
        taken.append((found[number], y))
    return found


def _distance(x: float, y: float, place: tuple[float, float]) -> float:
    """How far a place is from a taken one, in widths of a point: below 1 the two overlap."""
    across, down = abs(x - place[0]) / WIDTH, abs(y - place[1]) / HEIGHT
    return max(across, down)
