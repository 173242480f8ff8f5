"""Needed splits: what a protocol draws on beside the evaluated split, and whether a data set's card has it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from bench.base.errors import WrongName
from bench.cards.datasets import DatasetCard
from bench.cards.local_files import card_name
from bench.cards.presets import Preset
from bench.protocols import registry
from bench.protocols.base import Protocol


def runnable(card: DatasetCard, evaluated: str) -> list[str]:
    """The protocols that have a preset, and whose splits the card has."""
    found = []
    for protocol in card.protocols.given:
        room, preset = registry.load(protocol), card.protocols.preset(protocol)
        if preset is not None and not _lacking(room, preset, card, evaluated):
            found.append(protocol)
    return found


def require_splits(
    room: Protocol[Any], preset: Preset, card: DatasetCard, evaluated: str, asked: Mapping[str, Any]
) -> None:
    """Raises WrongName where the card lacks a split that the protocol draws on.

    One that the user named, by an entry in `asked`, is left to those who open it: they know the nearest names.
    """
    for part, split in _lacking(room, preset, card, evaluated).items():
        entry = _entry(preset, part, split)
        if entry in asked:
            continue
        kind = "" if part in room.learns_without_labels else "labelled "
        there = ", ".join(card.splits)
        raise WrongName(
            f"{room.id} needs a {kind}split to draw on ({entry} = {split}); {card.id} has only {there}",
            _remedy(card, evaluated, entry, split),
        )


def _lacking(room: Protocol[Any], preset: Preset, card: DatasetCard, evaluated: str) -> dict[str, str]:
    """The splits that the card lacks, by their part in the protocol."""
    return {part: split for part, split in room.splits(preset, evaluated).items() if split not in card.splits}


def _entry(preset: Preset, part: str, split: str) -> str:
    """The preset's entry that names a part's split: `matched_on` that of `match`."""
    names = (name for name in type(preset).model_fields if name.startswith(part) and getattr(preset, name) == split)
    return next(names, part)


def _remedy(card: DatasetCard, evaluated: str, entry: str, split: str) -> str:
    others = [name for name in card.splits if name != evaluated]
    known = [f"--set {entry}={others[0]} takes another"] if others else []
    if card_name(card) != card.id:  # the user's own
        known.append(f"[splits.{split}] in {shlex.quote(card_name(card))} adds one, with a list of images of its own")
    if able := runnable(card, evaluated):
        known.append(f"{', '.join(able)} can run without")
    return f"{'; '.join(known)}."
