"""Own preset: what the preset of a data set comes to in a record's run, once the model has decided its part.

A record's preset is held against it: whether it is the data set's own, and whether it is that of a published figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.base.errors import WrongName
from bench.cards import catalogue
from bench.cards.presets import Preset, override
from bench.protocols import registry
from bench.records.contradictions import preset_of
from bench.records.model_said import by_model
from bench.records.record import Record

SETTLED = ("classifier", "features")
"""Entries of presets that the model decides, not the data set (`bench.protocols.base.Protocol.settle`)."""
_LARGEST_PATCH = 1024
"""Pixels."""


def published_preset(dataset: str, protocol: str, entries: Mapping[str, Any]) -> Preset | None:
    """The preset that a figure was counted by: the data set's own, with what the protocol's name and `entries` set.

    None where no card of ours has one, or it has no such entries.
    """
    card, named = catalogue.datasets().get(dataset), registry.parsed(protocol)
    default = card.protocols.preset(named[0]) if card and named else None
    if named is None or default is None:
        return None
    try:
        return override(default, named[1] | dict(entries))
    except WrongName:
        return None


def differs_from(record: Record, protocol: str, entries: Mapping[str, Any]) -> str:
    """The first entry in which a record's preset is not that of a published figure; empty where none is."""
    preset, own = preset_of(record), published_preset(record["dataset"]["id"], protocol, entries)
    if preset is None or own is None or type(own) is not type(preset):
        return "it is of another version"
    return difference(preset, as_decided(record, own, preset))


def as_decided(record: Record, default: Preset, preset: Preset) -> Preset:
    """`default` with the entries that a record's model decides, as far as they are known; `preset` is the record's."""
    default = default.model_copy(update=default.settled())
    settled = {key: getattr(preset, key) for key in SETTLED if key in type(preset).model_fields}
    return default.model_copy(update=settled | _by_model(record, default, preset))


def _by_model(record: Record, default: Preset, preset: Preset) -> dict[str, Any]:
    """Entries that the record says its model decided, and that a model with its patch decides so.

    The others stay the data set's own: then the record's differ, and that is said.
    """
    told, read = by_model(record), record.get("read")
    own, patch = default.model_dump(mode="json"), read.get("patch") if isinstance(read, dict) else None
    fits: dict[str, Any] = {key: getattr(preset, key) for key in ("mean", "std") if key in told}
    if isinstance(patch, int) and 0 < patch <= _LARGEST_PATCH:
        fits |= default.for_patch(patch)
    # an input that the user asked for, and that the patch would have decided, is the data set's own as well
    known = {key: value for key, value in fits.items() if told.get(key, own.get(key)) == own.get(key)}
    return known | ({"input_by_patch": {}} if "input_by_patch" in own else {})


def difference(preset: Preset, other: Preset) -> str:
    """The first entry in which a preset differs from another, with both values; empty where none does."""
    one, two = preset.resolved(), other.resolved()
    key = next((key for key in {**two, **one} if one.get(key) != two.get(key)), None)
    return "" if key is None else f"{key} is {short(one.get(key))} instead of {short(two.get(key))}"


def short(value: object) -> str:
    """A value in at most 40 characters."""
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
