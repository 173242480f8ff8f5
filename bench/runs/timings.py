"""Timings: how long an image takes a card's network on this machine, measured once and kept in the cache.

A timing is kept under all that decides it. A damaged one is measured again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench._version import __version__
from bench.base.environment import torch_version
from bench.base.own_files import load_json, save_json
from bench.cards.models import ModelCard
from bench.cards.presets import Preset
from bench.passes.engine import Engine, device_name
from bench.runs.estimate import seconds_of_card, size_of

FOLDER = "timings"
"""Of the cache."""


def kept_seconds(card: ModelCard, preset: Preset, engine: Engine, cache: Path, before: Callable[[], None]) -> float:
    """Seconds that an image takes a card's network: as kept, else measured now and kept if the cache can be written.

    `before` is called where it has to be measured. Raises as `seconds_of_card`.
    """
    path = _path(cache, _decides(card, preset, engine))
    if (seconds := _read(path)) is not None:
        return seconds
    before()
    seconds = seconds_of_card(card, preset, engine, cache)
    with suppress(OSError):  # a listing writes nothing that it could not do without
        save_json(path, {"seconds": seconds})
    return seconds


def shape_of(card: ModelCard) -> dict[str, Any]:
    """What of a card decides how long its network takes: two models of one architecture take as long."""
    if card.architecture is not None:
        return card.architecture.model_dump(mode="json")
    assert card.network is not None  # as the card's form has it
    return {"address": card.network.address, "options": card.network.options, "features": card.network.features}


def _decides(card: ModelCard, preset: Preset, engine: Engine) -> dict[str, Any]:
    """Network, input, machine and versions, as plain JSON values."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "network": shape_of(card),
        "size": size_of(preset),
        "precision": engine.precision,
        "device": [engine.device, device_name(engine.device), platform.node()],
        "threads": [
            len(affinity(0)) if affinity else os.cpu_count(),
            *(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")),
        ],
        "versions": [__version__, torch_version()],
    }


def _read(path: Path) -> float | None:
    found = (load_json(path) or {}).get("seconds")
    return found if isinstance(found, float) and math.isfinite(found) and found > 0 else None


def _path(cache: Path, decides: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return cache / FOLDER / f"{digest[:24]}.json"
