"""Command: the line that makes a record again."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from bench.base.errors import WrongName
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.presets import FIRST_SEED, Preset, override
from bench.protocols import registry
from bench.records.record import SCORED, Record
from bench.report.site.details import mapping
from bench.scoring.whitening import most_components

BLANKS = {
    "MODEL": "the model's checkpoint or card",
    "CARD": "the data set's card",
    "DATA": "the folder of the data set",
    "WEIGHTS": "the file of the model's weights",
}
"""Words that stand for what only the reader knows."""


def reproduce(record: Record) -> str:
    """The command that makes a record again, with `BLANKS` where it has to name a path."""
    protocol, dataset = record["protocol"]["id"].removesuffix(registry.UNLABELLED), record["dataset"]
    if protocol.startswith(SCORED):
        return _score(record, protocol)
    words = ["bench", "run", "--model", _model(record), "--dataset", _dataset(record), "--split", dataset["split"]]
    entries = dict(record["protocol"]["preset"])
    base, named = registry.parsed(protocol) or (protocol, {})
    words += registry.command_words(protocol) or ["--protocol", protocol]
    card = catalogue.datasets().get(dataset["id"])
    default = _default(card, base)
    if default is not None:
        words += _changes(entries, default, set(named))
        words += _components(entries, dataset["images"], words)
    words += _seeds(record, default)
    for variation in record["protocol"].get("variations") or []:
        if variation == "bfloat16":
            words += ["--precision", "bfloat16"]
    words += _limit(dataset)
    if card is None or card.generator is None:
        words += ["--data-root", "DATA"]
    return shlex.join(str(word) for word in words)


def _default(card: DatasetCard | None, protocol: str) -> Preset | None:
    """The preset that a run takes without `--set`: the card's. What a reader's own card says is not known here, so
    there all that differs from the protocol's own is told."""
    if card is None:
        known = registry.protocols().get(protocol)
        return known.preset_type() if known else None
    return card.protocols.preset(protocol) if protocol in card.protocols.given else None


def _dataset(record: Record) -> str:
    """A built-in card's id; no other is found by its id everywhere."""
    identifier = str(record["dataset"]["id"])
    return identifier if identifier in catalogue.datasets() else "CARD"


def _model(record: Record) -> str:
    """A built-in card's id; else the file the weights came from, without its folder."""
    identifier = str(record["model"]["id"])
    if identifier in catalogue.models():
        return identifier
    source = str(record["model"].get("weights_source") or "")
    file = re.split(r"[/\\]", source)[-1]
    return "MODEL" if source in ("", "in memory") else f"./{file}"


def _changes(entries: dict[str, Any], default: Preset, skipped: set[str]) -> list[str]:
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
    words = [] if seeds[0] == FIRST_SEED else ["--seed", str(seeds[0])]
    if default is None or len(seeds) != default.num_seeds:
        words += ["--num-seeds", str(len(seeds))]
    return words


def _score(record: Record, protocol: str) -> str:
    dataset, name = record["dataset"], mapping(record.get("observed")).get("predictions") or "predictions"
    words = ["bench", "score", f"./{name}", "--dataset", _dataset(record), "--split", dataset["split"]]
    if "+" in protocol:
        words += ["--match", protocol.partition("+")[2]]
    words += ["--name", record["model"]["id"]]
    return shlex.join(str(word) for word in (*words, *_limit(dataset), "--data-root", "DATA"))


def _limit(dataset: dict[str, Any]) -> list[str]:
    """Of a video's data set whole sequences are counted."""
    return ["--limit", str(dataset.get("sequences", dataset["images"]))] if dataset["limited"] else []
