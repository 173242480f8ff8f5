"""Card says: what a record says, against the cards of its model and its data set.

Only cards that come with the program are held against a record: no other card may have their ids. The record may be of
another version, with another card. So what a card of another version could have said as well is a doubt, no problem.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.models import ModelCard
from bench.cards.presets import Preset
from bench.protocols import registry
from bench.records.contradictions import PREDICTIONS, base_of, is_built_in, preset_of
from bench.records.findings import Findings, doubt, note, problem
from bench.records.own_preset import as_decided, difference, short
from bench.records.record import Record, class_names
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.rows import Rows

MOST_EMPTY = 0.01
"""Share of a catalogue's images whose labels may be all void."""
NONE = "none"
"""The supervision of a model that has seen no label."""


def against_cards(record: Record, rows: Rows | None) -> Findings:
    """What the cards of a record's model and data set deny; nothing where these came with no card of ours."""
    model = catalogue.models().get(record["model"]["id"])
    if model is not None:
        yield from _of_model(record, model)
    dataset = catalogue.datasets().get(record["dataset"]["id"])
    if dataset is not None:
        yield from _of_split(record, dataset)
        yield from _of_other_splits(record, dataset)
        yield from _of_preset(record, dataset)
        if isinstance(rows, ConfusionRows):
            yield from _of_classes(record, rows, dataset)
            yield from _of_empty_images(record, rows)
            yield from _of_equal_seeds(record, rows)


# --- the model ---


def _of_model(record: Record, card: ModelCard) -> Findings:
    said = record["model"]
    if not PREDICTIONS.fullmatch(record["protocol"]["id"]):  # whose hash is that of the predictions
        yield from _of_weights(said, card)
    own = said.get("architecture")
    shape = card.architecture.model_dump() if card.architecture else {}
    for key, value in shape.items() if isinstance(own, dict) else ():
        if own.get(key, value) != value:
            yield problem(f"it says that {card.id} has {key} = {short(own[key])}, its card says {value}")
    if _plain(said["supervision"]) == NONE != _plain(card.training.supervision):
        yield problem(f"it says that {card.id} has seen no label, its card says: {card.training.supervision}")


def _of_weights(said: dict[str, Any], card: ModelCard) -> Findings:
    known = card.weights_sha256
    own = said["weights_sha256"]
    if not re.fullmatch("[0-9a-f]{64}", own):
        yield problem(f"its weights' hash is no SHA-256, and {card.id} is a checkpoint")
    elif known is not None and own != known:
        yield problem(f"its weights (SHA-256 {own[:12]}…) are not those of {card.id} ({known[:12]}…)")


def is_unverified(record: Record) -> bool:
    """Whether nobody can tell whose weights these are: they are a file's, or a library's, and no card has the hash."""
    card = catalogue.models().get(record["model"]["id"])
    return card is not None and not card.drawn and card.weights_sha256 is None


def in_the_cards_words(record: Record) -> tuple[Record, Findings]:
    """The record with what its model's card says of the model in place of its own words, and what is to be said of it.

    A record of a catalogue's model cannot say of it what the catalogue does not.
    """
    card = catalogue.models().get(record["model"]["id"])
    if card is None:
        return record, iter(())
    words: dict[str, Any] = {"title": card.title} | card.training.model_dump()
    words["paper"] = card.paper.model_dump() if card.paper else None
    other = [key for key, value in words.items() if key in record["model"] and record["model"][key] != value]
    if not other:
        return record, iter(())
    shown = record | {"model": record["model"] | {key: words[key] for key in other}}
    return shown, iter(
        [note(f"it has another {' and '.join(other)} than the card of {card.id}, whose words are shown")]
    )


def _plain(text: str) -> str:
    return text.strip().lower()


# --- the data set ---


def _of_split(record: Record, card: DatasetCard) -> Findings:
    dataset = record["dataset"]
    split = card.splits.get(dataset["split"])
    if split is None:
        yield doubt(f"{card.id} has no split {dataset['split']} by its card")
        return
    what = "sequences" if card.kind == "video" else "images"
    seen, official = dataset.get(what), split.size
    if seen is None or official is None or dataset["limited"]:
        return
    if seen < official:
        yield doubt(f"run on {seen} of {official} {what}: not the whole split, though it says so")
    elif seen > official:
        yield doubt(f"run on {seen} {what}: {card.id} {dataset['split']} has {official}")


def _of_other_splits(record: Record, card: DatasetCard) -> Findings:
    """Those that had a part in the run: a bank, what was clustered, or trained on."""
    if record["dataset"]["limited"] or record["protocol"]["preset"].get("train_images") is not None:
        return
    for part, entry in record.items():
        split = card.splits.get(str(entry.get("split"))) if part != "dataset" and isinstance(entry, dict) else None
        seen, official = (entry.get("images"), split.images) if split else (None, None)
        if isinstance(seen, int) and official and seen < official:
            yield doubt(f"its {part} has {seen} of {official} images, and it says that nothing was left out")


def _of_classes(record: Record, rows: ConfusionRows, card: DatasetCard) -> Findings:
    named = class_names(record)
    ours = is_built_in(base_of(record["protocol"]["id"])) or PREDICTIONS.fullmatch(record["protocol"]["id"])
    if not ours or card.class_folders is not None:  # whose names only the tree knows
        return
    if rows.num_classes != len(card.classes):
        yield doubt(f"its rows have {rows.num_classes} classes, {card.id} has {len(card.classes)}")
        return
    for i, (own, known) in enumerate(zip(named, card.classes, strict=False)):
        if own != known:
            yield doubt(f"it calls class {i} '{short(own)}', {card.id} calls it '{known}'")
            return


def _of_empty_images(record: Record, rows: ConfusionRows) -> Findings:
    """Rows that somebody dropped leave images without any; so do labels that are all void, which are rare."""
    protocol, images = record["protocol"], len(rows.ids)
    ours = is_built_in(base_of(protocol["id"])) or PREDICTIONS.fullmatch(protocol["id"])
    dropped, batch = 0, protocol["preset"].get("drop_last_batch")
    if isinstance(batch, int) and batch > 0:
        dropped = record["dataset"]["images"] % batch
    empty = images - dropped - len(np.unique(rows.seeds[0].image[rows.seeds[0].count > 0]))
    if ours and not protocol["preset"].get("void_classes") and empty > max(1, MOST_EMPTY * images):
        yield doubt(f"its rows have no labelled pixel of {empty} of its {images} images")


def _of_equal_seeds(record: Record, rows: ConfusionRows) -> Findings:
    """One seed's rows under the numbers of several; or clusters so plain that every seed finds them."""
    first, *others = rows.seeds
    names = SeedRows.__annotations__
    same = all(np.array_equal(getattr(first, name), getattr(own, name)) for own in others for name in names)
    if others and same and not record["dataset"]["limited"]:
        yield note(f"its rows are the same under all of its {len(rows.seeds)} seeds")


# --- the preset ---


def _of_preset(record: Record, card: DatasetCard) -> Findings:
    """Whether the preset is the data set's own, and the published one, as far as the record says so."""
    protocol, base = record["protocol"], base_of(record["protocol"]["id"])
    if base is None or not is_built_in(base) or (protocol.get("modified") and not protocol.get("published_recipe")):
        return
    default, preset = card.protocols.preset(base), preset_of(record)
    if default is None or preset is None:
        yield doubt("its preset is of another version: whether it is the data set's own cannot be told")
        return
    default = as_decided(record, default, preset)
    entries = preset.variant(default, len(card.classes))
    variants = registry.protocols()[base].variants
    name = next((one.name(entries) for one in variants if entries and set(one.keys) == set(entries)), base)
    if name != protocol["id"]:
        yield doubt(f"it is of {protocol['id']}, by its preset it would be of {name}")
        return
    comparable = default.model_copy(update=entries)
    differ = difference(preset, comparable)
    if differ and not protocol.get("modified"):
        yield doubt(f"its preset is not that of {card.id} ({differ}), and it says that nothing was modified")
    elif apart := protocol.get("published_recipe") and difference(preset, _with_its_solver(comparable, preset)):
        yield doubt(f"its preset is not that of {card.id} ({apart}), and it says that it is the published one")
    elif not protocol.get("modified") and (record.get("seeds") or []) != _seeds_of(default):
        yield doubt("its seeds are not those of its data set's preset, and it says that nothing was modified")


def _with_its_solver(default: Preset, preset: Preset) -> Preset:
    """A data set's preset; the same with the authors' solver where a record's is of that.

    Published figures may be of either.
    """
    solver = getattr(preset, "solver", None)
    return default.model_copy(update={"solver": solver}) if solver == "minibatch" else default


def _seeds_of(preset: Preset) -> list[int]:
    return list(range(preset.first_seed, preset.first_seed + preset.num_seeds))
