"""Classes: proposes a card's classes, ignored id, map and palette from the values in masks. A person checks them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from bench.data.palette import voc_palette
from bench.discover.masks import Survey
from bench.discover.names import BACKGROUND, Colour, Names, is_void, names_for
from bench.discover.opened import code_of, rgb_of

FEW = 3
"""Beside at most so many classes a value that is all outlines is taken for one that nobody wants counted."""
MANY = 64
"""More values than that, most of them rare, are no classes as a rule."""
MOST_COLOURS = 256
"""So many a card's palette has."""


@dataclass(frozen=True)
class Proposal:
    """What a card says of labels."""

    classes: tuple[str, ...]
    values: tuple[int, ...]
    """The value of each class in the masks; a colour is R + 256·G + 65536·B."""
    ignore: int
    mapped: bool
    """Whether values are no class indices, and need a map."""
    palette: tuple[Colour, ...] | None = None
    """RGB per class; None for PASCAL VOC's."""
    void: tuple[int, ...] = ()
    """Further values of pixels that do not count, beside `ignore`."""
    checks: list[str] = field(default_factory=list)
    """What a person should look at."""


def propose(survey: Survey, names: Names | None) -> Proposal:
    """Classes for the values, or the colours, that `survey` found in masks."""
    if survey.encoding == "colour" and names:
        return _propose_colours(survey, names)
    checks: list[str] = []
    values = sorted(survey.tally.pixels)
    ignored = _ignored(values, survey, checks)
    kept, given = _named([value for value in values if value != ignored], ignored, survey, names, checks)
    kept, void = _without_void(kept, given, checks)
    if ignored is None and len(void) == 1 and void[0] >= len(kept):
        ignored, void = void[0], ()
    if len(kept) == 1:
        checks.append(f"every mask holds the value {kept[0]} alone, so there is only one class")
        others = (*range(kept[0] + 1, survey.highest + 1), *range(kept[0] - 1, -1, -1))
        kept = sorted([*kept, next(value for value in others if value != ignored and value not in void)])
    classes = _distinct([given.get(value, f"class {value}") for value in kept])
    if len(values) > MANY and survey.encoding == "index":
        checks.append(
            f"the masks hold {len(values)} values: are they class ids? Soft or resized masks have values in "
            "between, and masks of objects have one value per object"
        )
    if survey.encoding == "index" and (conflict := survey.palettes.conflict()):
        checks.append(conflict)
    ignore = ignored if ignored is not None else next(_free([*kept, *void], len(kept), survey.highest))
    mapped = bool(void) or kept != list(range(len(kept)))
    return Proposal(classes, tuple(kept), ignore, mapped, _palette(survey.palette, kept), void, checks)


def _propose_colours(survey: Survey, names: Names) -> Proposal:
    """Classes for colours, in the order in which their file names them."""
    colours = names.colours
    if len(colours) > MOST_COLOURS:
        colours = {colour: name for colour, name in colours.items() if survey.tally.pixels[code_of(colour)]}
    codes = {code_of(colour): name for colour, name in colours.items()}
    checks: list[str] = []
    kept, void = _without_void(list(codes), codes, checks, least=2)
    classes = _distinct([codes[code] for code in kept])
    ignore = max(255, len(kept))
    return Proposal(classes, tuple(kept), ignore, False, tuple(map(rgb_of, kept)), void, checks)


def _without_void(
    kept: list[int], given: Mapping[int, str], checks: list[str], least: int = 1
) -> tuple[list[int], tuple[int, ...]]:
    """The values that are classes, and those whose names say that they do not count, if enough are left then."""
    void = tuple(value for value in kept if is_void(given.get(value, "")))
    if not void or len(kept) - len(void) < least:
        return kept, ()
    names = ", ".join(f"'{given[value]}'" for value in void)
    checks.append(f"{names}: taken for ignored pixels, by the name: is that right?")
    return [value for value in kept if value not in void], void


def _ignored(values: Sequence[int], survey: Survey, checks: list[str]) -> int | None:
    """The value of pixels that nobody wants counted; None if there is none."""
    usual = next((v for v in (65535, 1000) if v in survey.tally.pixels), 255) if survey.highest > 255 else 255
    others = [value for value in values if value != usual]
    if usual in values and len(others) > 1 and usual > max(others):
        share = 100 * survey.tally.pixels[usual] / survey.tally.pixels.total()
        checks.append(f"{usual} is taken for ignored pixels ({share:.1f} % of all): is that right?")
        return usual
    if values == [0, 255]:
        checks.append(
            "the masks hold 0 and 255 alone: 255 is taken for an object (the map makes it class 1), 0 for the "
            "background; if pixels of 255 should not count, set ignore = 255 and take it out of the map"
        )
    for value in sorted(survey.thin):
        # an ignored id must lie above the class indices
        if len(values) - 1 <= FEW and value >= len(values) - 1:
            checks.append(f"{value} is only outlines, so it is taken for ignored pixels: is that right?")
            return value
        checks.append(f"{value} is only outlines: is it a boundary that should not count? Then make it `ignore`")
    return None


def _named(
    kept: list[int], ignored: int | None, survey: Survey, names: Names | None, checks: list[str]
) -> tuple[list[int], dict[int, str]]:
    """The values that are classes, those of further names included, and value → name where it has one."""
    known = names_for(names, kept, survey.palette) if names else None
    if names and known is None:
        checks.append(f"{names.file} has {len(names.ids)} names, which do not fit the values {_few(kept)}: not used")
    if names is None or known is None:
        if 0 in kept:
            checks.append(f"no file names the classes; 0 is called {BACKGROUND}: is that right?")
        return kept, {0: BACKGROUND}
    named = sorted(value for value in known if value != ignored)
    if _can_hold(named, ignored, survey.highest):
        return named, known
    checks.append(f"{names.file} has {len(names.ids)} names, too many for masks of this kind: {len(kept)} used")
    return kept, known


def _can_hold(classes: Sequence[int], ignored: int | None, highest: int) -> bool:
    """Whether masks can have all these values, and an id above the class indices for ignored pixels."""
    id_ = next(_free(classes, len(classes), highest), None) if ignored is None else ignored
    return classes[-1] <= highest and id_ is not None and id_ >= len(classes)


def _free(taken: Collection[int], classes: int, highest: int) -> Iterator[int]:
    """Ids for ignored pixels, above the class indices, that nothing has: from 255 down, then from the highest."""
    ids = (*range(255, -1, -1), *range(highest, 255, -1))
    return (value for value in ids if value >= classes and value not in taken)


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, told apart by a number where two are the same."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        own = name
        while own in seen:
            seen[name] += 1
            own = f"{name} {seen[name]}"
        seen[own] = 1
        distinct.append(own)
    return tuple(distinct)


def _palette(palette: bytes, kept: Sequence[int]) -> tuple[tuple[int, int, int], ...] | None:
    """The masks' own colours of the classes, if there are such and they differ; a ramp of greys is nobody's choice."""
    if len(palette) < 3 * (max(kept) + 1) or len(kept) > 256:
        return None
    colours = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)[list(kept)]
    grey = (colours == colours[:, :1]).all()
    standard = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)[: len(kept)]
    if grey or len(np.unique(colours, axis=0)) < len(kept) or (colours == standard).all():
        return None
    return tuple((red, green, blue) for red, green, blue in colours.tolist())


def id_ranges(values: Sequence[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """A card's map: runs of ascending values, first to last, and the classes that they stand for."""
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(values), start=1) if b != a + 1), len(values)]
    return [((values[a], values[b - 1]), (a, b - 1)) for a, b in pairwise(starts)]


def _few(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown + (f", … {values[-1]}" if len(values) > 8 else "")
