"""Changes: the options in which a run differs from what its data set's card has for the protocol."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
from typing import Any

from bench.base.errors import WrongName
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.presets import FIRST_SEED, Preset, override
from bench.protocols import registry
from bench.records.model_said import protocol_preset
from bench.records.record import Record
from bench.scoring.whitening import most_components


def changes(record: Record) -> list[str]:
    """Words of `bench run` for the entries of the preset, the seeds and the precision that are not the card's."""
    protocol, dataset = record["protocol"]["id"].removesuffix(registry.UNLABELLED), record["dataset"]
    entries = protocol_preset(record)  # what the model decided, it decides again
    base, named = registry.parsed(protocol) or (protocol, {})
    default = _default(catalogue.datasets().get(dataset["id"]), base)
    words: list[str] = []
    if default is not None:
        words += _entries(entries, default, set(named))
        words += _components(entries, dataset["images"], words)
    words += _seeds(record, default)
    for variation in record["protocol"].get("variations") or []:
        if variation == "bfloat16":
            words += ["--precision", "bfloat16"]
    return words


def changes_in_words(record: Record) -> str:
    """The same for people: `run with --num-seeds 1`; empty where nothing is known.

    Of a reader's own data set it is not known which entries its card has, and which `--set` gave: they stand apart.
    """
    words = changes(record)
    entries: list[str] = []
    if record["dataset"]["id"] not in catalogue.datasets():
        entries = [word for before, word in pairwise(words) if before == "--set"]
        words = [word for word in words if word != "--set" and word not in entries]
    run = f"run with {shlex.join(words)}" if words else ""
    own = f"by its card or --set {shlex.join(entries)}" if entries else ""
    return "; ".join(filter(None, (run, own)))


def _default(card: DatasetCard | None, protocol: str) -> Preset | None:
    """The preset that a run takes without `--set`: the card's. What a reader's own card says is not known here, so
    there all that differs from the protocol's own is told."""
    if card is None:
        known = registry.protocols().get(protocol)
        return known.preset_type() if known else None
    return card.protocols.preset(protocol) if protocol in card.protocols.given else None


def _entries(entries: dict[str, Any], default: Preset, skipped: set[str]) -> list[str]:
    """`--set` of every entry that the data set's own preset has not, and that does not follow from the others."""
    own, fields = default.model_dump(mode="json"), type(default).model_fields
    later = {key: fields[key].default for key in default.later if key not in entries}
    changed = {key: value for key, value in (later | entries).items() if key in own and value != own[key]}
    changed.pop("classifier", None)  # the checkpoint decides that
    for key in list(changed):
        rest = {name: value for name, value in changed.items() if name != key}
        if _leads_to(default, rest, entries):
            changed = rest
    words: list[str] = []
    for key, value in changed.items():
        if key not in skipped:
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def _components(entries: dict[str, Any], images: int, words: list[str]) -> list[str]:
    """The number of components, where a run of so few images would by itself take fewer, unless it is told already."""
    own = entries.get("whiten")
    few = isinstance(own, int) and own > most_components(images)
    return ["--set", f"whiten={own}"] if few and not any(word.startswith("whiten=") for word in words) else []


def _leads_to(default: Preset, changed: dict[str, Any], entries: dict[str, Any]) -> bool:
    try:
        return override(default, changed).resolved() == entries
    except WrongName:  # an entry of another version
        return False


def _seeds(record: Record, default: Preset | None) -> list[str]:
    seeds = record.get("seeds") or []
    if not seeds or not all(isinstance(seed, int) for seed in seeds):
        return []
    first = FIRST_SEED if default is None else default.first_seed
    words = [] if seeds[0] == first else ["--seed", str(seeds[0])]
    if default is None or len(seeds) != default.num_seeds:
        words += ["--num-seeds", str(len(seeds))]
    return words
