"""Commands: those that are killed, on inputs of a second or two, and what each of them must have made in the end."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.folders import folder
from tests.archives import tree
from tests.checkpoints import write_small_checkpoint
from tests.imagenet import write_tree
from tests.training import write_training_set
from tests.webserver import File, WebServer

TIMES = {
    "created",
    "environment",
    "cost",
    "images_per_second",
    "seconds",
    "waiting_share",
    "from_cache",
    "device_name",
    "observed",
}
"""Entries of a record that tell how a run went, not what it found."""

LOG = "log of step "
"""What a power loss may cost, with a warning: the lines about training that is done."""


@dataclass(frozen=True)
class Command:
    """A command, in a folder that `prepare` has filled; `outcome` is what it leaves that must always be the same."""

    name: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path, WebServer], None]
    outcome: Callable[[Path], dict[str, Any]]
    power_loss: bool = True
    """Whether all that it writes can be damaged: its own inputs and what it was asked to fetch cannot."""


def commands() -> list[Command]:
    run = ("run", "--dataset", "few.toml", "--cache", "c", "--results", "r", "--workers", "2", "--batch-size", "8")
    observe = (*run, "--model", "random-shapes", "--num-seeds", "2", "--save-examples", "2", "--save-predictions", "p")
    linear = (*run, "--model", "random-shapes", "--protocol", "linear", "--num-seeds", "1", "--epochs", "2")
    train = ("--recipe", "tiny.toml", "--dataset", "shapes", "--data-root", "data", "--priors", "masks", "--out", "o")
    export = ("s50.toml", "--model", "small.pth.tar", "--data-root", "tree", "--out", "z.zip", "--cache", "c")
    small = ("--set", "input=[32,32]", "--set", "restarts=1", "--set", "iterations=10")
    return [
        Command("observe", observe, _few_shapes, _records),
        Command("linear", (*linear, "--set", "batch=4"), _few_shapes, _records),
        Command("pre-training", ("train", *train, "--workers", "2"), _training, _trained),
        Command("report", ("report", "--results", "r", "--out", "site"), _results, _site),
        Command("download", ("download", "data.toml", "--cache", "c"), _archive, _unpacked, power_loss=False),
        Command("export", ("export", *export, *small), _imagenet_s, _submission),
    ]


# --- inputs ---


def _few_shapes(work: Path, web: WebServer) -> None:
    card = (folder("datasets") / "shapes.toml").read_text(encoding="utf-8")
    for old, new in (('id = "shapes"', 'id = "few"'), ("images = 400", "images = 24"), ("images = 2000", "images = 8")):
        assert old in card
        card = card.replace(old, new)
    (work / "few.toml").write_text(card, encoding="utf-8")


def _training(work: Path, web: WebServer) -> None:
    write_training_set(work, 8)


def _results(work: Path, web: WebServer) -> None:
    from tests.site_records import write_results

    write_results(work / "r")


def _archive(work: Path, web: WebServer) -> None:
    """A data set of three files: an archive and two plain ones."""
    draw = np.random.default_rng(0)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for number in range(12):
            data = draw.bytes(100_000)
            entry = tarfile.TarInfo(f"VOCSegmentation/images/{number}.jpg")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    web.table["/v.tar"] = File(content.getvalue())
    web.table["/a.txt"], web.table["/b.txt"] = File(draw.bytes(300_000), kind="text/plain"), File(b"b", etag=None)
    card = (folder("datasets") / "pascal-voc.toml").read_text(encoding="utf-8")
    card = re.sub(r"\[\[downloads\]\].*?(?=\n# The paper)", "", card, flags=re.S).replace('"pascal-voc"', '"my-voc"')
    for name, more in (("v.tar", "unpack = true"), ("a.txt", ""), ("b.txt", "")):
        card += f'\n[[downloads]]\nfile = "{name}"\nurls = ["{web.url("/" + name)}"]\n{more}\n'
    (work / "data.toml").write_text(card, encoding="utf-8")


def _imagenet_s(work: Path, web: WebServer) -> None:
    write_tree(work / "tree")
    write_small_checkpoint(work / "small.pth.tar")
    card = (folder("datasets") / "imagenet-s-50.toml").read_text(encoding="utf-8")
    card = card.replace('id = "imagenet-s-50"', 'id = "s50"')
    for split, images in (("val", 752), ("test", 1682)):
        assert f"[splits.{split}]\nimages = {images}" in card
        card = card.replace(f"[splits.{split}]\nimages = {images}", f"[splits.{split}]\nimages = 50")
    (work / "s50.toml").write_text(card, encoding="utf-8")


# --- what they make ---


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(entry) for key, entry in value.items() if key not in TIMES}
    return [_without_times(entry) for entry in value] if isinstance(value, list) else value


def _records(work: Path) -> dict[str, Any]:
    """Records without times, rows as bytes, and the predictions."""
    found: dict[str, Any] = {}
    for path in sorted((work / "r").rglob("*")):
        if path.suffix == ".npz":
            found[str(path.relative_to(work))] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.suffix == ".json" and path.parent.suffix != ".examples":
            found[str(path.relative_to(work))] = _without_times(json.loads(path.read_text(encoding="utf-8")))
    for path in sorted((work / "p").rglob("*.png")):
        found[str(path.relative_to(work))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _trained(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"network": hashlib.sha256((work / "o/network.safetensors").read_bytes()).hexdigest()}
    if (work / "o/log.csv").exists():
        with (work / "o/log.csv").open(encoding="utf-8", newline="") as stream:
            rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]
        found |= {f"{LOG}{row['step']}": row for row in rows}
    return found


def _site(work: Path) -> dict[str, Any]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in tree(work / "site").items()}


def _unpacked(work: Path) -> dict[str, Any]:
    files = tree(work / "c/datasets/my-voc")
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if ".downloads" not in name}


def _submission(work: Path) -> dict[str, Any]:
    return {"z.zip": hashlib.sha256((work / "z.zip").read_bytes()).hexdigest()}
