"""Model said: what a record says of its model's network, and of what the model decided of the preset.

A record may be a stranger's: what is no table counts as nothing said.
"""

from __future__ import annotations

from typing import Any

from bench.records.record import Record

BY_MODEL = ("mean", "std", "input", "height", "multiple")
"""Entries of a preset that belong to the model (`bench.runs.fit_to_model`)."""


def network_of(record: Record) -> dict[str, Any]:
    """What a record says of a network of another library; empty where it says nothing."""
    told = record["model"].get("network")
    return told if isinstance(told, dict) else {}


def is_of_file(record: Record) -> bool:
    """Whether such a network had the weights of a user's file: `FILE in SOURCE:NAME`."""
    source = str(record["model"].get("weights_source") or "")
    return f" in {network_of(record).get('source')}:" in source


def by_model(record: Record) -> dict[str, Any]:
    """The protocol's own values of the entries that the model decided."""
    told = record["protocol"].get("by_model")
    return told if isinstance(told, dict) else {}


def protocol_preset(record: Record) -> dict[str, Any]:
    """The preset as the protocol has it, whatever the model decided."""
    return {**record["protocol"]["preset"], **by_model(record)}
