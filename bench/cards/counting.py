"""Counting: how the figures of a run are counted, in words that follow from the entries of its preset.

A record may be of another version, or a stranger's: an entry may be missing, unknown, or of any value. What is not
known is left unsaid, and a value that has no words here is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.base.escaping import one_line

_BACKGROUND = ("background", "other")
"""What class 0 is called where it is no object's."""
_SHOWN = 40
"""Characters of a value, and entries that are not known, which are shown at most."""
_BY = {"iou": "by the largest sum of IoU", "pixels": "by the most pixels in common"}


@dataclass(frozen=True)
class Counted:
    """What decides how a run's figures are counted."""

    entries: Mapping[str, Any]
    """The resolved preset, as the record has it."""
    split: str = ""
    classes: Sequence[str] = ()
    """Their names; none where they are not known."""
    seeds: int = 0
    labelled: bool = True

    def with_defaults(self, defaults: Mapping[str, Any]) -> Counted:
        """The same with entries that are left out where they have these values."""
        return replace(self, entries={**defaults, **self.entries})

    def number(self, key: str) -> int | None:
        """An entry that is a whole number."""
        value = self.entries.get(key)
        known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40
        return value if known else None

    def word(self, key: str, words: Mapping[Any, str]) -> str:
        """What stands for an entry's value in `words`; the entry itself where nothing does; nothing without it."""
        if key not in self.entries:
            return ""
        value = self.entries[key]
        known = isinstance(value, (str, bool)) or value is None
        return words[value] if known and value in words else f"{key} = {shown(value)}"

    def split_of(self, key: str) -> str:
        """The split that an entry names; nothing where it is the evaluated one."""
        name = self.entries.get(key)
        return "" if name is None or name == self.split else shown(name)


def shown(value: Any) -> str:
    """An entry's value on one line, cut where it is long."""
    text = one_line(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def sentence(clauses: Sequence[str]) -> str:
    """Clauses as one line: `One; two; three.`"""
    line = "; ".join(clause for clause in clauses if clause)
    return f"{line[:1].upper()}{line[1:]}." if line else ""


# --- clauses that several protocols share ---


def mean(run: Counted, left_out: Sequence[str] = (), *, objects: bool = False) -> str:
    """Which classes a mean over classes takes in. `left_out` are void, and so is class 0 where only `objects` count."""
    kept = [name for name in run.classes[int(objects) :] if name not in left_out]
    if not kept:
        return "means are over the objects, without the background" if objects else ""
    background = run.classes[0] if run.classes[0].lower() in _BACKGROUND else ""
    there = "without" if objects else "with"
    of = f", {there} {background}" if background and background not in left_out else ""
    return f"means are over {len(kept)} class{'es' * (len(kept) != 1)}{of}"


def grid(run: Counted) -> str:
    """Where pixels are counted, by the entry `grid`."""
    size = run.entries.get("input")
    sides = size if isinstance(size, (list, tuple)) and len(size) == 2 else ()
    of = f", {shown(sides[0])}×{shown(sides[1])}" if sides else ""
    sizes = {"label": "at the label's own size", "input": f"at the input size{of}", "100x100": "at 100×100"}
    where = run.word("grid", sizes)
    return f"pixels are counted {where}, all images together" if where else ""


OWN_SIZE = "pixels are counted at the label's own size, all images together"
VOID = "void pixels are left out"
NO_LABELS = "there are no labels, so clusters are described, and matched to nothing"
OF_VIDEO = (
    "means are over the frames of an object, then over objects",
    "pixels are counted at the frame's own size",
    "the first and the last frame of a sequence are left out",
    "void pixels count as background",
)
"""What the toolboxes of DAVIS do (docs/protocols.md#davis), whoever made the masks."""


def absent(run: Counted) -> str:
    """What becomes of a class that is in no label and in no prediction."""
    nowhere = "a class in no label and no prediction"
    words = {"zero": f"{nowhere} counts as 0 in mIoU", "skip": f"{nowhere} is left out"}
    void = f"{nowhere} is left out, and void is one of IoU 0 where a labelled pixel is predicted so"
    return run.word("absent", words | {"skip+void": void})


def matched(run: Counted, ids: int | None, what: str, labels: str = "the evaluated labels") -> str:
    """How `ids` predicted ids get classes, by the entry `matching`, which is `iou` or `pixels`.

    With more ids than classes none is one-to-one (`bench.scoring.matching.match`).
    """
    if run.entries.get("matching") == "images":
        return _matched_by_images(run, ids, labels)
    objective = run.word("matching", _BY)
    if objective not in _BY.values():
        return objective
    if ids is None or not run.classes:
        many = "where they are more than the classes, each takes the class with the largest IoU"
        return f"{what} get classes one to one {objective} on {labels} ({many})"
    if ids > len(run.classes):
        return f"{what} are more than the classes: each takes the class with the largest IoU on {labels}"
    return f"{what} get classes one to one {objective} on {labels}"


def _matched_by_images(run: Counted, ids: int | None, labels: str) -> str:
    """Background, id 0, is one of the `ids` and has no part in it (`bench.scoring.matching.match_images`)."""
    if ids is None or not run.classes:
        how = "get classes by shared images"
    elif ids > len(run.classes):
        how = "are more than the classes: each takes the class it shares most images with"
    else:
        how = "get classes one to one by shared images"
    return f"clusters {how} on {labels}, background stays background"


def drawn(run: Counted, what: str = "") -> str:
    """Over how many seeds a figure is the mean."""
    if not run.seeds:
        return "nothing is drawn at random"
    of = f" of {what}" if what else ""
    return f"one seed{of}" if run.seeds == 1 else f"mean over {run.seeds} seeds{of}"


def unknown(run: Counted, known: Mapping[str, Any]) -> str:
    """Entries that this version does not know, and so cannot put into words."""
    names = [shown(key) for key in run.entries if key not in known]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"not known to this version: {', '.join(names[:_SHOWN])}{more}" if names else ""
