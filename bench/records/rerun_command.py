"""Rerun command: the line that does the run of a record again, and holds the two against each other."""

from __future__ import annotations

import shlex

from bench.cards import catalogue
from bench.records.record import SCORED, Record


def rerun_command(record: Record, name: str) -> str | None:
    """`bench rerun` of the record of this name, with words in capitals for what only the reader knows.

    They are DATA, the data's folder, CARD, the data set's card, MODEL, the network's name, and WEIGHTS, the model's
    file. None for a record that
    is of no run, but of predictions that were given.
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
        # a stranger's name is not for repeating: it may name code
        words += ["--model", "MODEL"] if record["model"].get("network") else ["--weights", "WEIGHTS"]
    return shlex.join(words)
