"""A small tree in ImageNet-S's format: 50 class folders, real JPEGs, labels as R + 256·G."""

from pathlib import Path

import numpy as np
from PIL import Image

from bench.cards import catalogue
from bench.scoring import imagenet_s_figures

CARD = catalogue.dataset("imagenet-s-50")
CLASSES, IGNORE = 51, 1000
SPLITS = {"train": 2, "validation": 1, "test": 1, "train-semi": 1}
"""Split's folder → images of each class."""


def write_tree(root: Path) -> Path:
    generator = np.random.default_rng(0)
    for number in range(1, 51):
        for split, count in SPLITS.items():
            for index in range(count):
                name = f"n{number:08d}/n{number:08d}_{index}"
                image = generator.integers(0, 256, (6, 6, 3)).astype(np.uint8)
                put(root / split / f"{name}.JPEG", np.asarray(Image.fromarray(image).resize((48, 40))))
                if split in ("validation", "train-semi"):
                    label = np.zeros((40, 48), np.uint16)
                    label[8:30, 10:36], label[:3] = number, IGNORE
                    put(root / f"{split}-segmentation" / f"{name}.png", encode(label))
    return root


def put(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def encode(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids & 255, ids >> 8, np.zeros_like(ids)], axis=-1).astype(np.uint8)


def joined(parts):
    """Rows of several parts as one."""
    names = imagenet_s_figures.BandRows.__annotations__
    return imagenet_s_figures.BandRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def rows_from(maps):
    """The rows of (prediction, label) of every image."""
    return joined([imagenet_s_figures.map_rows(i, p, t, IGNORE) for i, (p, t) in enumerate(maps)])
