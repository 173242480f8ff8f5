"""Folders of made-up images and masks, as people have them."""

from pathlib import Path

import numpy as np
from PIL import Image

from bench.cards.card import load_card
from bench.cards.datasets import DatasetCard
from bench.data.samples import open_split
from bench.discover.card import discover, write

SIZE = (20, 24)
NAMES = ("a", "b", "c")


def put_image(path: Path, size=SIZE, seed: int = 0) -> Path:
    """A picture of noise, in the format of the name's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def put_mask(
    path: Path, values=(0, 1, 2), size=SIZE, mode: str = "L", palette: bytes | None = None, alpha: int = 255
) -> Path:
    """A mask of stripes of these values, 8 bits or as `mode` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.asarray(values)[np.arange(size[0] * size[1]).reshape(size) * len(values) // (size[0] * size[1])]
    if mode == "I;16":
        picture = Image.fromarray(stripes.astype(np.uint16))
    elif mode in ("RGB", "RGBA"):
        channels = [stripes & 255, stripes >> 8 & 255, stripes >> 16 & 255, np.full_like(stripes, alpha)][: len(mode)]
        picture = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    elif mode == "LA":
        picture = Image.fromarray(np.stack([stripes, np.full_like(stripes, alpha)], axis=-1).astype(np.uint8))
    elif mode == "P":
        picture = Image.fromarray(stripes.astype(np.uint8), mode="P")
        picture.putpalette(palette or bytes(range(256)) * 3)
    else:
        picture = Image.fromarray(stripes.astype(np.uint8)).convert(mode)
    picture.save(path)
    return path


def put_pairs(folder: Path, names, image: str = "images/{}.jpg", mask: str = "labels/{}.png", **of_mask) -> Path:
    """Images and masks of these names."""
    for seed, name in enumerate(names):
        put_image(folder / image.format(name), seed=seed)
        put_mask(folder / mask.format(name), **of_mask)
    return folder


def card_of(folder, tmp_path, **how):
    found = discover(folder, **how)
    paths = write(found, tmp_path / "card.toml", "mine", force=True)
    return found, load_card(paths[0], DatasetCard)


def samples_of(card, split="val"):
    return open_split(card, split, card.path.parent / card.root)
