"""A training set of a few images and a recipe of a few kilobytes, for tests that train."""

from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.shapes import draw
from bench.data.shapes_files import write_split
from bench.pretrain.run import Settings, pretrain

IMAGES = 24
RECIPE = """
schema = 1
id = "tiny"
title = "Tiny"
initialisation = "random"
split = "train"
crop = 32
extent = [0.5, 0.9]
colour_matrix = true
batch = 4
queue = 8
epochs = 2
dropout = 0.5
optimiser = "adamw"
schedule = "cosine"
[architecture]
backbone = "resnet18"
width = 8
decoder_width = 8
embedding = 6
"""


def write_training_set(folder: Path, images: int = IMAGES) -> Path:
    """`folder` with `data/` in the layout of shapes, `masks/` of the true foreground and `tiny.toml`."""
    write_split(folder / "data", "train", images)
    (folder / "masks").mkdir()
    for index in range(images):
        _, label = draw("train", index, images)
        mask = np.uint8(255) * ((label > 0) & (label < 255))
        Image.fromarray(mask).save(folder / "masks" / f"train_{index:05d}.png")
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


def train(folder, out, **settings):
    """Train the tiny recipe on `folder` as `write_training_set` left it."""
    settings.setdefault("data_root", folder / "data")
    return pretrain(folder / "tiny.toml", "shapes", folder / "masks", out, Settings(device="cpu", **settings))


class Killed(BaseException):
    """Like a signal: nothing in the program catches it."""


def kill_at(images):
    def progress(what, done, total, state):
        assert (what, total) == ("training", 2 * IMAGES) and "accuracy" in state
        if done == images:
            raise Killed

    return progress
