"""Facets: what the rows of a benchmark can be filtered by, and what each row has of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from bench.base.escaping import HARMLESS, printable
from bench.report.site.ranking import Entry, Ranked

LABELS = {
    "none": "fully unsupervised",
    "probe": "labels of the probe only",
    "training": "labels in training",
    "unclear": "not plainly said",
}
"""Which labels a figure stands on, as a filter has it → in words."""
WITHOUT = ("none", "probe")
"""Those of models that saw no labels in training."""
SEPARATOR = "; "
"""Between the phrases of a row: no phrase has a semicolon."""
_LONGEST = 80
_BY_PROBE = re.compile(r"none \(labels of [^()]* fill the (memory|bank)\)", re.IGNORECASE)
"""What says of the weights that they have seen none, and then tells of the probe."""
_UNCLEAR = re.compile(r"none\b|not stated|unknown", re.IGNORECASE)


@dataclass(frozen=True)
class Facet:
    """One filter."""

    name: str
    """Its name in the address of a page."""
    title: str
    options: tuple[tuple[str, str, int], ...]
    """Value, words for it, and how many rows have it."""


def labels_seen(entry: Entry) -> str:
    """Which labels a row's figure stands on: a key of `LABELS`."""
    said = entry.labels.supervision.strip()
    if entry.unsupervised:
        return "none"
    if entry.labels.unsupervised or _BY_PROBE.fullmatch(said):
        return "unclear" if entry.probe.startswith("not ") else "probe"
    return "unclear" if _UNCLEAR.match(said) else "training"


def phrases(entry: Entry) -> tuple[str, ...]:
    """How a row's figure was counted, beyond the protocol: entries that it sets, and what its source says."""
    told = entry.claim.figure.detail if entry.claim else ()
    quoted = ("second-hand",) if entry.claim and entry.claim.figure.second_hand else ()
    return tuple(plain(phrase) for phrase in (*entry.entries, *told, *quoted))


def facets_of_row(entry: Entry) -> dict[str, str]:
    """Name of a facet → what a row has of it; several phrases are joined by `SEPARATOR`."""
    return {
        "labels": labels_seen(entry),
        "backbone": plain(entry.model.backbone),
        "init": plain(entry.labels.initialisation),
        "detail": SEPARATOR.join(phrases(entry)),
    }


def facets(rows: Sequence[Ranked]) -> list[Facet]:
    """The filters of a page, each with the values that occur on it."""
    told = [facets_of_row(row.entry) for row in rows]
    labels = Counter(one["labels"] for one in told)
    seen = tuple((key, words, labels[key]) for key, words in LABELS.items() if labels[key])
    backbones = _by_name(Counter(one["backbone"] for one in told))
    starts = _by_name(Counter(one["init"] for one in told))
    details = _by_name(Counter(phrase for one in told for phrase in one["detail"].split(SEPARATOR) if phrase))
    return [
        Facet("labels", "Labels seen", seen),
        Facet("backbone", "Backbone", backbones),
        Facet("init", "Initialisation", starts),
        Facet("detail", "Counted with", details),
    ]


def _by_name(counts: Counter[str]) -> tuple[tuple[str, str, int], ...]:
    def key(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (0, part.lower()) for part in re.split(r"(\d+)", name)]

    return tuple((name, shorten(name, _LONGEST, placeholder=" …"), counts[name]) for name in sorted(counts, key=key))


def plain(text: str) -> str:
    """A name of anybody's as the value of a filter."""
    return " ".join(printable(text, keep=HARMLESS).replace(";", ",").split()) or "not stated"
