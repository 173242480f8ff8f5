"""Inventory: the weights and data that are on this machine, and how to get the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.base.errors import BenchError
from bench.base.paths import expand
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.files import FileWeights
from bench.cards.local_files import local_root, local_weights, needs_download
from bench.cards.models import ModelCard
from bench.data.samples import find_layout
from bench.doctor.findings import Finding

BUILT_IN = "shapes"
"""The data set of `bench run` without options."""
Roots = Mapping[str, tuple[Path, str]]
"""Data set → its data root and who says so; under the key '' the root of all others."""


def models(cache: Path) -> list[dict[str, Any]]:
    """Per model card whether its weights are there, where, or the command that gets them."""
    return [_model(card, cache) for card in catalogue.models().values()]


def _model(card: ModelCard, cache: Path) -> dict[str, Any]:
    if card.drawn:
        return {"id": card.id, "there": True, "path": None, "how": "drawn from a seed"}
    path = local_weights(card, cache)
    if path is not None:
        return {"id": card.id, "there": True, "path": str(path), "how": "a file"}
    how = f"bench download {card.id}"
    if isinstance(card.weights, FileWeights) and not needs_download(card):
        how = f"put {card.weights.file} beside {card.path}"
    return {"id": card.id, "there": False, "path": None, "how": how}


def datasets(cache: Path, roots: Roots) -> list[dict[str, Any]]:
    """Per data-set card its root, who says so, and the splits that it holds; or the command that gets them."""
    return [_dataset(card, cache, roots) for card in catalogue.datasets().values()]


def _dataset(card: DatasetCard, cache: Path, roots: Roots) -> dict[str, Any]:
    root, source = roots.get(card.id) or roots.get("") or (local_root(card, cache), "the cache")
    found: dict[str, Any] = {"id": card.id, "there": False, "root": None, "source": None, "splits": [], "how": ""}
    if card.generator is not None and root is None:
        return found | {"there": True, "source": "built in", "splits": list(card.splits)}
    if card.downloads:
        found["how"] = f"bench download {card.id}"
    else:
        found["how"] = f"get it from {card.homepage or 'its publisher'}, then --data-root {card.id}=FOLDER"
    if root is None:
        return found
    splits = [split for split in card.splits if _holds(card, split, expand(root))]
    return found | {"there": bool(splits), "root": str(root), "source": source, "splits": splits}


def _holds(card: DatasetCard, split: str, root: Path) -> bool:
    """Whether a split's list is there; its images are not counted."""
    try:
        find_layout(card, split, root)
    except BenchError:
        return False
    return True


def problems(models: list[dict[str, Any]], datasets: list[dict[str, Any]]) -> list[Finding]:
    """What keeps `bench run` without options from its models and its data set."""
    wanted = catalogue.dataset(BUILT_IN).default_models
    rootless = [entry for entry in datasets if entry["id"] == BUILT_IN and not entry["there"]]
    return [_wrong_root(entry) for entry in rootless] + [
        Finding(
            f"the weights of {model['id']}, which `bench run` evaluates, are missing: {model['how']}",
            "pip install --force-reinstall --no-deps maskcontrast-bench",
        )
        for model in models
        if model["id"] in wanted and not model["there"]
    ]


def notes(datasets: list[dict[str, Any]], roots: Roots) -> list[Finding]:
    """Data roots that somebody named for another data set than the built-in one and that do not hold it."""
    return [
        _wrong_root(entry)
        for entry in datasets
        if entry["id"] in roots and entry["id"] != BUILT_IN and not entry["there"]
    ]


def _wrong_root(entry: dict[str, Any]) -> Finding:
    root, source, name = entry["root"], entry["source"], entry["id"]
    if not expand(root).is_dir():
        return Finding(f"there is no folder {root} ({source}), the data root of {name}", "Correct the path.")
    return Finding(
        f"{root} ({source}) holds no split of {name}", "Correct the path; for a single data set write ID=PATH."
    )
