"""Submissions to ImageNet-S's server, as tests write and read them."""

import zipfile

import numpy as np
from PIL import Image

from bench.protocols.base import Settings
from bench.submission import verify
from bench.submission.export import export_run

S50 = "imagenet-s-50"
ENTRIES = {"input": [32, 32], "restarts": 1, "iterations": 10}


def options(tree, **more):
    return Settings(data_root=tree, split=more.pop("split", "test"), entries=ENTRIES | more.pop("entries", {}), **more)


def write(model, tree, out, *, settings=None, **more):
    return export_run(model, S50, out, settings or options(tree), **more)


def check(archive, tree=None, dataset=S50, **more):
    return verify.verify(archive, dataset, Settings(data_root=tree, **more))


def pngs(archive):
    """Name → H×W ids."""
    with zipfile.ZipFile(archive) as opened:
        pictures = {n: np.asarray(Image.open(opened.open(n))) for n in opened.namelist() if n.endswith(".png")}
    assert all(array.shape[2] == 3 and not array[..., 2].any() for array in pictures.values())
    return {name: array[..., 0] + 256 * array[..., 1].astype(int) for name, array in pictures.items()}


def texts(archive):
    with zipfile.ZipFile(archive) as opened:
        return {n: opened.read(n).decode() for n in opened.namelist() if not n.endswith(".png")}
