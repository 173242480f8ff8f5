"""Command: the line that makes a record again."""

from __future__ import annotations

import re
import shlex
from typing import Any

from bench.cards import catalogue
from bench.protocols import registry
from bench.records.model_said import is_of_file, network_of
from bench.records.record import SCORED, Record
from bench.report.site.changes import changes
from bench.report.site.details import mapping

_NAME = re.compile(r"(timm|torchvision):[A-Za-z0-9_.@?=&-]{1,200}")
"""Names of networks whose libraries run no code of others."""
BLANKS = {
    "MODEL": "the model's checkpoint, card or name",
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
    words = ["bench", "run", "--model", *_model(record), "--dataset", _dataset(record), "--split", dataset["split"]]
    words += registry.command_words(protocol) or ["--protocol", protocol]
    card = catalogue.datasets().get(dataset["id"])
    words += changes(record)
    words += _limit(dataset)
    if card is None or card.generator is None:
        words += ["--data-root", "DATA"]
    return shlex.join(str(word) for word in words)


def _dataset(record: Record) -> str:
    """A built-in card's id; no other is found by its id everywhere."""
    identifier = str(record["dataset"]["id"])
    return identifier if identifier in catalogue.datasets() else "CARD"


def _model(record: Record) -> list[str]:
    """A built-in card's id; a network's name in its library; else the file the weights came from, without its folder.

    A name that would run code, of a factory or a hub, is left for the reader to write: records may be a stranger's.
    """
    identifier = str(record["model"]["id"])
    if identifier in catalogue.models():
        return [identifier]
    source = str(record["model"].get("weights_source") or "")
    if network_of(record).get("source"):
        name = source.rpartition(" in ")[2] if is_of_file(record) else source
        return [name if _NAME.fullmatch(name) else "MODEL", *(["--weights", "WEIGHTS"] if is_of_file(record) else [])]
    file = re.split(r"[/\\]", source)[-1]
    return ["MODEL"] if source in ("", "in memory") else [f"./{file}"]


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
