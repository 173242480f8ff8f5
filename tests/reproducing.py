"""A paper in small: cards of MaskContrast whose files lie on a server of 127.0.0.1, narrow networks in the released
formats, and 20 generated images as the whole of PASCAL VOC val.

    python -m tests.reproducing BASE FATAL reproduce maskcontrast --yes    # a process of its own; see `die_at`
"""

from __future__ import annotations

import os
import signal
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from bench.cards import catalogue
from bench.cards.datasets import Split
from bench.cards.files import Download, FileWeights
from bench.cards.models import Architecture
from bench.records import record
from tests.checkpoints import write_linear_checkpoint, write_small_checkpoint

MODELS = ("maskcontrast-unsup", "maskcontrast-sup", "maskcontrast-unsup-linear", "maskcontrast-sup-linear")
DATA = "PASCAL_VOC.tgz"
NARROW = {"backbone": "resnet18", "width": 16, "decoder_width": 64}
SIZES = {"val": 20, "train": 6, "trainaug": 6}
"""Images of each split; so few that K-means has just enough."""
Put = Callable[[dict, str, object], None]


def write_files(folder: Path, golden: Path) -> None:
    """The authors' bundle in small, and a file for each model, no two alike."""
    folder.mkdir()
    tree = golden / "VOCSegmentation"
    with tarfile.open(folder / DATA, "w:gz") as tar:
        for split, number in SIZES.items():
            source = tree / "sets" / f"{'train' if split == 'trainaug' else split}.txt"
            ids = source.read_text().split()[:number]
            (folder / "list.txt").write_text("\n".join(ids) + "\n")
            tar.add(folder / "list.txt", f"VOCSegmentation/sets/{split}.txt")
            for name in ids if split != "trainaug" else ():
                for part in (f"images/{name}.jpg", f"SegmentationClass/{name}.png"):
                    tar.add(tree / part, f"VOCSegmentation/{part}")
    for number, name in enumerate(MODELS[:2]):
        write_small_checkpoint(folder / f"{name}.pth.tar", moved=number / 4)
    for number, name in enumerate(MODELS[2:]):
        write_linear_checkpoint(folder / f"{name}.pth.tar", seed=number)
    (folder / "list.txt").unlink()


def substitute(base: str, put: Put) -> None:
    """Put cards of the same ids into the catalogue, whose files lie on the server; `put` sets an entry of a dict."""
    for name in MODELS:
        card = catalogue.model(name)
        shape = Architecture.model_validate(card.architecture.model_dump() | NARROW)
        file = f"{name}.pth.tar"
        weights = FileWeights(source="url", file=file, url=f"{base}/{file}", licence=card.weights.licence)
        put(catalogue.models(), name, card.model_copy(update={"architecture": shape, "weights": weights}))
    data = catalogue.dataset("pascal-voc")
    bundle = Download(file=DATA, urls=(f"{base}/{DATA}",), unpack=True)
    splits = {split: Split(images=number) for split, number in SIZES.items()}
    put(catalogue.datasets(), data.id, data.model_copy(update={"downloads": (bundle,), "splits": splits}))


def die_at(fatal: int) -> None:
    """Have this process killed in place of writing its record of this number, from 1 on; 0: never."""
    write, written = record.write, [0]

    def killed(*given):
        written[0] += 1
        if written[0] == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*given)

    record.write = killed


if __name__ == "__main__":
    from bench.cli import main

    substitute(sys.argv[1], dict.__setitem__)
    die_at(int(sys.argv[2]))
    main(sys.argv[3:])
