"""A large data set, stage by stage: `python tests/benchmarks/scale.py [IMAGES]` (100 000 by default).

Writes a tree of ImageNet-S-919's form into a temporary folder, and deletes it again: IMAGES training images of 32×32 in
919 class folders without labels, and an eighth as many validation images with labels (id = R + 256·G). Each stage runs
in a process of its own and prints images/s and how much its peak memory lies above what the imports take. The network
is a stub, so what is measured is everything around it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from bench.base.environment import peak_memory_mb
from bench.cards import catalogue
from bench.cards.presets import override
from bench.data.samples import open_split
from bench.passes.engine import Engine
from bench.passes.image_pass import observation_recipe
from bench.passes.observation_pass import observe
from bench.passes.observations import observation_store
from bench.protocols.clustering.scoring import score_labels
from bench.records import record
from bench.scoring import kmeans
from bench.scoring.rows import Context

CLASSES, SIDE, INPUT, IGNORE = 919, 32, 64, 1000
SEEDS, ITERATIONS = 5, 20
"""The preset's seeds; one start of at most so many iterations each, since its 20 × 100 measure faiss alone."""
CARD = catalogue.dataset("imagenet-s-919")
PRESET = override(
    CARD.protocols.preset("clustering"), {"input": [INPUT, INPUT], "iterations": ITERATIONS, "restarts": 1}
)


def write_tree(root: Path, images: int) -> None:
    """A class's images share a colour, but for noise; its object is a rectangle, with a border to be ignored."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (CLASSES, 3))
    for split, count in (("train", images), ("validation", max(CLASSES, images // 8))):
        labelled = split == "validation"
        for number in range(CLASSES):
            folders = [root / name / f"n{number:08d}" for name in (split, *([f"{split}-segmentation"] * labelled))]
            for folder in folders:
                folder.mkdir(parents=True)
            for i in range(number, count, CLASSES):
                picture, label = draw(rng, colours[number], number + 1)
                name = f"n{number:08d}_{i:08d}"
                (folders[0] / f"{name}.JPEG").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
                if labelled:
                    (folders[1] / f"{name}.png").write_bytes(cv2.imencode(".png", label)[1].tobytes())


def draw(rng: np.random.Generator, colour: np.ndarray, own: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label, in OpenCV's order: blue, green, red."""
    picture = np.clip(colour + rng.integers(-40, 41, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    label = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left, height, width = (int(v) for v in (*rng.integers(2, 10, 2), *rng.integers(6, 21, 2)))
    picture[top : top + height, left : left + width] = 255 - colour
    label[top - 1 : top + height + 1, left - 1 : left + width + 1] = (0, IGNORE >> 8, IGNORE & 255)
    label[top : top + height, left : left + width] = (0, own >> 8, own & 255)
    return picture, label


def stub():
    """Embedding: a fixed projection of the blurred image; salient is what is unlike its image's mean."""
    projection = torch.randn(32, 3, 1, 1, generator=torch.Generator().manual_seed(0))

    def network(images):
        small = F.avg_pool2d(images, 8)
        return F.conv2d(small, projection), (images - images.mean((2, 3), keepdim=True)).abs().mean(1)

    return network


class Stage:
    """One stage in this process, and what its parts took."""

    def __init__(self, root: Path) -> None:
        self.root, self.seconds, self.found, self.network = root, {}, {}, stub()
        self.memory, self.cpu, self.started = peak_memory_mb(), time.process_time(), time.perf_counter()

    def clock(self, what: str) -> None:
        self.seconds[what] = round(time.perf_counter() - self.started, 2)
        self.started = time.perf_counter()

    def manifest(self, split: str):
        samples = open_split(CARD, split, self.root)
        self.clock(f"listing {split}")
        return samples

    def observe(self, split: str):
        samples = self.manifest(split)
        store = observation_store(self.root / "cache", observation_recipe("stub", samples, PRESET, "float32"))
        engine = Engine("cpu", batch_size=32, workers=1)
        seen = observe(lambda: self.network, samples, PRESET, store, engine)
        self.clock(f"observing {split}")
        return seen

    def score(self, split: str):
        fitted, seen, card = self.observe("train"), self.observe(split), open_split(CARD, split, self.root).card
        resolved = PRESET.resolved()
        labels = [
            kmeans.nearest(kmeans.fit(fitted.prototypes, resolved, seed), seen.prototypes) for seed in range(SEEDS)
        ]
        self.clock("K-means")
        scored = score_labels(seen, labels, resolved, len(card.classes))
        self.clock("matching and figures")
        context = Context(resolved, card.classes, extra=scored.extra, mappings=scored.mappings)
        figures = scored.rows.entries(context)
        self.clock("intervals")
        path = self.root / "record.rows.npz"
        scored.rows.write(path)
        self.clock("writing rows")
        self.found = {
            "rows, MB": round(path.stat().st_size / 1e6, 2),
            "record, MB": round(len(record.dumps(figures).encode()) / 1e6, 2),
            "mIoU": round(figures["metrics"]["mIoU"]["value"], 2),
        }
        return seen

    def told(self, images: int) -> str:
        seconds = sum(self.seconds.values())
        return (
            f"{seconds:7.1f} s ({time.process_time() - self.cpu:.1f} s of CPU) {images / seconds:9.0f} images/s "
            f"{peak_memory_mb() - self.memory:7.0f} MB above the imports   {self.seconds | self.found}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=int, nargs="?", default=100_000)
    parser.add_argument("--stage", nargs=3, metavar=("NAME", "SPLIT", "ROOT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stage:
        name, split, root = chosen.stage
        stage = Stage(Path(root))
        print(stage.told(len(getattr(stage, name)(split))))
        return
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        started = time.perf_counter()
        write_tree(Path(folder), chosen.images)
        print(f"{chosen.images} training images written in {time.perf_counter() - started:.0f} s", flush=True)
        again = "observe, cached"
        stages = {"manifest": "train", "observe": "train", again: "train", "observe val": "val", "score": "val"}
        for name, split in stages.items():
            command = [sys.executable, __file__, "--stage", name.split()[0].strip(","), split, folder]
            print(f"{name:16}", subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout, end="")


if __name__ == "__main__":
    main()
