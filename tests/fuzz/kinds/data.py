"""Data: a small data set of images and labels, and its card, which many kinds start from. No torch is loaded."""

import numpy as np
from PIL import Image

from bench.data.palette import voc_palette
from tests.fuzz import mutators
from tests.fuzz.world import World

DATASET = {
    "schema": 1,
    "id": "mine",
    "title": "mine",
    "licence": "not stated",
    "root": "data",
    "classes": ["background", "one", "two"],
    "palette": [[0, 0, 0], [128, 0, 0], [0, 128, 0]],
    "labels": {"encoding": "index", "ignore": 255, "map": [{"ids": [0, 2], "classes": [0, 2]}]},
    "splits": {"val": {"images": 3, "note": "all of them"}},
    "layouts": [
        {
            "name": "as it is",
            "prefixes": ["", "VOC2012"],
            "splits": {"val": {"list": "val.txt", "image": "images/{id}.jpg", "label": "labels/{id}.png"}},
        }
    ],
    "downloads": [
        {
            "file": "mine.tar.gz",
            "urls": ["https://example.org/mine.tar.gz"],
            "bytes": 1000,
            "sha256": "0" * 64,
            "unpack": True,
            "into": "x",
        }
    ],
    "protocols": {
        "clustering": {"input": [32, 32], "clusters": 2, "restarts": 1, "iterations": 5},
        "linear": {"input": [32, 32], "train": "val", "epochs": 1, "batch": 2},
        "linear-dinov3": {
            **{"input": [32, 32], "window": 24, "window_stride": 16, "crop": 24, "train": "val"},
            **{"steps": 3, "warmup": 1, "batch": 2},
        },
        "retrieval-21": {"input": [32, 32], "bank": "val"},
    },
}
NAMES = ("a", "b", "c")


def put_data(world: World) -> None:
    """Three images with labels in `data/`, their list, and their card, `data.toml`."""
    data, random = world.sound / "data", np.random.default_rng(0)
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    for name in NAMES:
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(data / "images" / f"{name}.jpg")
        label = Image.fromarray(np.sort(random.integers(0, 3, (20, 24), dtype=np.uint8)), mode="P")
        label.putpalette(voc_palette())
        label.save(data / "labels" / f"{name}.png")
    (data / "val.txt").write_text("".join(f"{name}\n" for name in NAMES))
    (world.sound / "data.toml").write_bytes(mutators.as_toml(DATASET))
