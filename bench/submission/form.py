"""Form: the two text files of a submission."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.base.errors import BadInput, WrongName
from bench.base.files import read_regular
from bench.cards.datasets import DatasetCard

METHOD = "method.txt"
MATCH = "match.json"
DATASET = "data set"
"""The key of `method.txt` that names the data set."""
SPLIT = "split"
"""That of the split."""
LARGEST = 1 << 22
"""Bytes of a match file of 65 536 clusters, and more."""


def takes_submissions(card: DatasetCard) -> bool:
    """Whether a data set's benchmark takes submissions of this form."""
    return card.server == "imagenet-s"


def require_server(card: DatasetCard) -> None:
    """Raises WrongName for a data set whose benchmark takes no such submission."""
    if not takes_submissions(card):
        raise WrongName(
            f"{card.id} takes no submission: this is the form of ImageNet-S",
            "Name imagenet-s-50, imagenet-s-300 or imagenet-s-919; `bench run --save-predictions` writes plain PNGs.",
        )


def method_text(entries: Mapping[str, Any]) -> bytes:
    """`key: value` a line; line breaks in a value become spaces, values that are None are left out."""
    lines = (f"{key}: {' '.join(str(value).split())}\n" for key, value in entries.items() if value is not None)
    return "".join(lines).encode(errors="replace")


def read_method(data: bytes) -> dict[str, str]:
    """The entries of a `method.txt` of this form; of any other text, what looks like them. Raises ValueError."""
    text = data.decode("utf-8")
    if not text.strip():
        raise ValueError("it is empty")
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, separator, value in pairs if separator}


def match_text(mapping: Sequence[int]) -> bytes:
    """A `match.json` of predicted id (the place) → class. Raises WrongName where it is not one-to-one."""
    if len(set(mapping)) < len(mapping) or mapping[0] != 0:
        raise WrongName(
            f"the matching is not one-to-one with 0 for background, which {MATCH} must be",
            "Leave --ids out, so that the PNGs hold classes; or use as many clusters as classes, and matching=images.",
        )
    return (json.dumps({str(id_): int(class_) for id_, class_ in enumerate(mapping)}, indent=1) + "\n").encode()


def read_match(data: bytes, classes: int) -> dict[int, int]:
    """Cluster id → class of a `match.json`. Raises ValueError, saying what is wrong with it."""
    try:
        table = json.loads(data, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(table, dict) or not table:
        raise ValueError("it is not an object of cluster id: class id")
    for key, value in table.items():
        if not (key.isascii() and key.isdigit() and int(key) < 1 << 16):
            raise ValueError(f"'{key}' is not a cluster id")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < classes:
            raise ValueError(
                f"cluster {key} goes to {json.dumps(value)}, which is not one of the classes 0..{classes - 1}"
            )
    match = {int(key): value for key, value in table.items()}
    if len(match) < len(table) or len(set(match.values())) < len(match):
        raise ValueError("not one-to-one: two clusters go to one class")
    if match.get(0) != 0:
        raise ValueError("0, the background, does not go to 0")
    return match


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"it has '{key}' twice")
        table[key] = value
    return table


def read_match_file(path: Path, classes: int) -> dict[int, int]:
    """`read_match` of a file on disk. Raises BadInput."""
    try:
        return read_match(read_regular(path, LARGEST), classes)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: {error}", "Give every cluster its class, one-to-one, and 0 for 0.") from error
