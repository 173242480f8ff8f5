"""Definitions: how each figure is counted, in a line, from the preset of its record or of its data set's card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.base.errors import WrongName
from bench.base.escaping import one_line
from bench.cards import catalogue, counting
from bench.cards.counting import Counted
from bench.cards.presets import ImagePreset, override
from bench.protocols import registry
from bench.records.record import SCORED, Record, class_names
from bench.scoring.metric_names import metric_meaning, metric_name

_FOREGROUND = {"saliency": "masks", "discovery": "boxes"}
"""Protocols by which given predictions are scored as well, and what is given."""


@dataclass(frozen=True)
class Definition:
    """How the figures of a run are counted."""

    line: str
    """What all its metrics share."""
    metrics: tuple[tuple[str, str], ...]
    """Name of each metric, and what it is."""


def definition_of(record: Record) -> Definition:
    """The definition of a record's figures. Whatever its preset holds, only what is known of it is said."""
    metrics = tuple((metric_name(metric), metric_meaning(metric)) for metric in record["metrics"])
    return Definition(_of_judges(record["dataset"]) + _line(record["protocol"]["id"], counted(record)), metrics)


def _of_judges(dataset: dict[str, Any]) -> str:
    """Over which images figures are counted, where not all have labels."""
    if "judges" not in dataset:
        return ""
    return f"All {dataset['images']} images are clustered, and the {dataset['judges']} that have labels judge them. "


def counted(record: Record) -> Counted:
    """What in a record decides how its figures are counted."""
    dataset = record["dataset"]
    try:
        classes = class_names(record)
    except (AttributeError, TypeError):  # a part that the schema does not check
        classes = []
    return Counted(
        record["protocol"]["preset"],
        dataset["split"],
        classes,
        len(record.get("seeds") or ()),
        dataset.get("labelled", True),
    )


def definition_on(dataset: str, split: str, protocol: str) -> str | None:
    """How figures of a protocol are counted by a built-in data set's own preset; None where there is no such preset."""
    card, found = catalogue.datasets().get(dataset), registry.parsed(protocol)
    preset = card.protocols.preset(found[0]) if card and found else None
    if card is None or found is None or preset is None:
        return None
    try:
        preset = override(preset, found[1])
    except WrongName:  # the name has a number in it that no run can have
        return None
    return _line(protocol, Counted(preset.resolved(), split, card.classes, preset.num_seeds))


def _line(protocol: str, run: Counted) -> str:
    name = protocol.removesuffix(registry.UNLABELLED)
    if name.startswith(SCORED):
        return _of_predictions(run)
    found = registry.parsed(name)
    if found is None:
        known = counting.sentence(ImagePreset.counting(run))
        return f"The protocol {counting.shown(name)} is not installed here, so only this is known. {known}"
    entry = registry.protocols()[found[0]]
    if entry in registry.BUILT_IN:
        return entry.preset_type.definition(run)
    return f"{counting.sentence([one_line(entry.title)])} {_of_others(entry, run)}".strip()


def _of_others(entry: registry.Entry, run: Counted) -> str:
    """What the preset of another package says; nothing where it fails, for that must end no report."""
    try:
        return one_line(entry.preset_type.definition(run))
    except Exception:  # noqa: BLE001 - a stranger's package
        return ""


def _of_predictions(run: Counted) -> str:
    """Predictions that were scored: `score_folder` and `score_foreground` of `bench.runs` make such presets."""
    for base, what in _FOREGROUND.items():
        kind: Any = registry.preset_type(base)
        if kind.figures[0] in run.entries:
            return counting.sentence([*kind.scored(run), f"the {what} are those that were given"])
    if "absent" not in run.entries:
        return counting.sentence([*counting.OF_VIDEO, "the masks are those that were given"])
    given = run.entries.get("matching") == "none"
    ids = "class ids are those that were given; a pixel left open is a wrong prediction"
    return counting.sentence(
        [
            counting.mean(run),
            counting.grid(run),
            counting.VOID,
            counting.absent(run),
            ids if given else counting.matched(run, None, "the ids that were given"),
            counting.drawn(run, "the predictions") if run.seeds else "",
        ]
    )
