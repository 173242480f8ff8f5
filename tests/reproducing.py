"""A paper in small: cards of MaskContrast whose files lie on a server of 127.0.0.1, narrow networks in the released
formats, and 40 generated images as the whole of PASCAL VOC val.

    python -m tests.reproducing http://127.0.0.1:PORT reproduce maskcontrast --yes     # in a process of its own
"""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from bench.cards import catalogue
from bench.cards.datasets import Split
from bench.cards.files import Download, FileWeights
from bench.cards.models import Architecture

MODELS = ("maskcontrast-unsup", "maskcontrast-sup", "maskcontrast-unsup-linear", "maskcontrast-sup-linear")
NARROW = {"backbone": "resnet18", "width": 16, "decoder_width": 64}
IMAGES = 40
Set = Callable[[dict, str, object], None]


def archive(golden: Path) -> bytes:
    """The authors' bundle in small."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(golden / "VOCSegmentation", "VOCSegmentation")
    return stream.getvalue()


def substitute(base: str, put: Set) -> None:
    """Put cards of the same ids into the catalogue, whose files lie on the server; `put` sets an entry of a dict."""
    for name in MODELS:
        card = catalogue.model(name)
        shape = card.architecture.model_copy(update=Architecture(**NARROW).model_dump(include=set(NARROW)))
        weights = FileWeights(
            source="url", file=card.weights.file, url=f"{base}/{card.weights.file}", licence=card.weights.licence
        )
        put(catalogue.models(), name, card.model_copy(update={"architecture": shape, "weights": weights}))
    data = catalogue.dataset("pascal-voc")
    bundle = Download(file="PASCAL_VOC.tgz", urls=(f"{base}/PASCAL_VOC.tgz",), unpack=True)
    splits = {split: Split(images=number) for split, number in (("val", IMAGES), ("train", 24), ("trainaug", 24))}
    put(catalogue.datasets(), data.id, data.model_copy(update={"downloads": (bundle,), "splits": splits}))


if __name__ == "__main__":
    from bench.cli import main

    substitute(sys.argv[1], dict.__setitem__)
    main(sys.argv[2:])
