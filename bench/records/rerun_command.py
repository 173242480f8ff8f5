"""Rerun command: the line that does the run of a record again, and holds the two against each other."""

from __future__ import annotations

import shlex

from bench.cards import catalogue
from bench.records.model_said import is_of_file, network_of
from bench.records.record import SCORED, Record


def rerun_command(record: Record, name: str) -> str | None:
    """`bench rerun` of the record of this name, with words in capitals for what only the reader knows.

    They are DATA, the data's folder, CARD, the data set's card, MODEL, the name of a library's network, and WEIGHTS,
    the model's file. None for a record that is of no run, but of predictions that were given.
    """
    if record["protocol"]["id"].startswith(SCORED):
        return None
    words = ["bench", "rerun", name]
    card = catalogue.datasets().get(record["dataset"]["id"])
    if card is None:
        words += ["--dataset", "CARD"]
    if card is None or card.generator is None:
        words += ["--data-root", "DATA"]
    if record["model"]["id"] not in catalogue.models():
        named = bool(network_of(record).get("source"))
        words += ["--model", "MODEL"] if named else []
        words += ["--weights", "WEIGHTS"] if not named or is_of_file(record) else []
    return shlex.join(words)
