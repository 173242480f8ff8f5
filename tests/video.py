"""A small video data set in the layout of DAVIS: textured squares that move over a plain background."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from bench.data.palette import voc_palette

HEIGHT, WIDTH, SIDE = 64, 96, 24
COLOURS = np.array([[90, 90, 90], [220, 40, 40], [40, 60, 220]], np.uint8)


def frame(number: int, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its ids; object k starts in its own corner and moves by two pixels a frame."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for k, (y, x) in enumerate([(4 + number, 4 + 2 * number), (34 - number, 66 - 2 * number)][:objects], start=1):
        ids[y : y + SIDE, x : x + SIDE] = k
    return COLOURS[ids], ids


def write_sequence(root: Path, name: str, frames: int = 6, objects: int = 2, year: int = 2017) -> None:
    """Images and annotations of one sequence: palette ids for 2017, 0 and 255 for 2016."""
    for number in range(frames):
        image, ids = frame(number, objects)
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
            path = root / folder / "480p" / name / f"{number:05d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if folder == "JPEGImages":
                Image.fromarray(image).save(path, quality=95)
            elif year == 2016:
                Image.fromarray((ids > 0).astype(np.uint8) * 255).save(path)
            else:
                picture = Image.fromarray(ids, mode="P")
                picture.putpalette(voc_palette())
                picture.save(path)


def write_list(root: Path, names: list[str], listing: str = "ImageSets/2017/val.txt") -> None:
    path = root / listing
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


class Colours(nn.Module):
    """A network of no learning at all: a cell's embedding is its mean colour, after the image's own mean."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        cells = F.avg_pool2d(images, 8)
        embedding = cells - cells.mean(dim=(2, 3), keepdim=True)
        return embedding, embedding[:, 0]
