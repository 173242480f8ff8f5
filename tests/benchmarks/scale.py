"""A large data set, stage by stage: `python tests/benchmarks/scale.py [IMAGES]` (100 000 by default).

Writes a tree of ImageNet-S-919's form into a temporary folder, and deletes it again: IMAGES training images of 32×32 in
919 class folders without labels, and an eighth as many validation images with labels (id = R + 256·G). Each stage runs
in a process of its own and prints images/s and how much its peak memory lies above what the imports take. The network
is a stub, so what is measured is everything around it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES, SIDE, INPUT = 919, 32, 64
SEEDS, ITERATIONS = 5, 20
"""The preset's seeds; one start of at most so many iterations each, since its 20 × 100 measure faiss alone."""


def write_tree(root: Path, images: int) -> None:
    """A class's images share a colour, but for noise; its object is a rectangle, with a border to be ignored."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (CLASSES, 3))
    for split, count in (("train", images), ("validation", max(CLASSES, images // 8))):
        labelled = split == "validation"
        for number in range(CLASSES):
            folders = [root / name / f"n{number:08d}" for name in (split, *([f"{split}-segmentation"] * labelled))]
            for folder in folders:
                folder.mkdir(parents=True)
            for i in range(number, count, CLASSES):
                noise = rng.integers(-40, 41, (SIDE, SIDE, 3))
                picture = np.clip(colours[number] + noise, 0, 255).astype(np.uint8)
                top, left, height, width = (int(v) for v in (*rng.integers(2, 10, 2), *rng.integers(6, 21, 2)))
                picture[top : top + height, left : left + width] = 255 - colours[number]
                name = f"n{number:08d}_{i:08d}"
                (folders[0] / f"{name}.JPEG").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
                if labelled:
                    label = np.zeros((SIDE, SIDE, 3), np.uint8)  # blue, green, red
                    label[top - 1 : top + height + 1, left - 1 : left + width + 1] = (0, 1000 >> 8, 1000 & 255)
                    own = number + 1
                    label[top : top + height, left : left + width] = (0, own >> 8, own & 255)
                    (folders[1] / f"{name}.png").write_bytes(cv2.imencode(".png", label)[1].tobytes())


def stub():
    """Embedding: a fixed projection of the blurred image; salient is what is unlike its image's mean."""
    import torch
    import torch.nn.functional as F

    projection = torch.randn(32, 3, 1, 1, generator=torch.Generator().manual_seed(0))

    def network(images):
        small = F.avg_pool2d(images, 8)
        return F.conv2d(small, projection), (images - images.mean((2, 3), keepdim=True)).abs().mean(1)

    return network


def stage(name: str, root: Path) -> None:
    """Run one stage and print what it took as JSON."""
    import torch

    import bench.describe
    from bench import catalogue, kmeans, record
    from bench.engine import Engine
    from bench.observations import observation_store
    from bench.observe import observation_recipe, observe
    from bench.presets import override
    from bench.protocols import clustering
    from bench.samples import open_split

    card = catalogue.dataset("imagenet-s-919")
    entries = {"input": (INPUT, INPUT), "iterations": ITERATIONS, "restarts": 1}
    preset = override(card.protocols.clustering, entries)
    network, before = stub(), record.peak_memory_mb()
    started, notes, cpu = time.perf_counter(), {}, time.process_time()

    def clock(what: str) -> None:
        nonlocal started
        notes[what] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()

    def look(split: str):
        samples = open_split(card, split, root)
        clock(f"listing {split}")
        store = observation_store(root / "cache", observation_recipe("stub", samples, preset, "float32"))
        engine = Engine(torch.device("cpu"), batch_size=32, workers=1)
        found = observe(lambda: network, samples, preset, store, engine)
        clock(f"observing {split}")
        return samples, found

    if name == "manifest":
        images = len(open_split(card, "train", root))
        clock("listing")
    elif name == "score":
        _, fitted = look("train")
        samples, observations = look("val")
        images = len(observations)
        resolved, classes = preset.resolved(), len(samples.card.classes)
        labels = []
        for seed in range(SEEDS):
            labels.append(kmeans.nearest(kmeans.fit(fitted.prototypes, resolved, seed), observations.prototypes))
        clock("K-means")
        scored = clustering.score_labels(observations, labels, resolved, classes)
        clock("matching and figures")
        figures = bench.describe._confusion_figures(scored, samples.card, preset.absent)
        clock("intervals")
        path = root / "record.rows.npz"
        scored.rows.write(path)
        clock("writing rows")
        notes["rows, MB"] = round(path.stat().st_size / 1e6, 2)
        notes["record, MB"] = round(len(record.dumps(figures).encode()) / 1e6, 2)
        notes["mIoU"] = round(figures["metrics"]["mIoU"]["value"], 2)
    else:
        images = len(look("train" if name.endswith("train") else "val")[0])
    seconds = sum(value for what, value in notes.items() if not what.endswith(("MB", "mIoU")))
    cpu = time.process_time() - cpu
    found = {"images": images, "seconds": seconds, "cpu": cpu, "peak": record.peak_memory_mb() - before, "notes": notes}
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=int, nargs="?", default=100_000)
    parser.add_argument("--stage", nargs=2, metavar=("NAME", "ROOT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stage:
        stage(chosen.stage[0], Path(chosen.stage[1]))
        return
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        started = time.perf_counter()
        write_tree(Path(folder), chosen.images)
        print(f"{chosen.images} images and {chosen.images // 8} with labels written in "
              f"{time.perf_counter() - started:.0f} s", flush=True)  # fmt: skip
        for name in ("manifest", "observe train", "observe val", "observe train", "score"):
            command = [sys.executable, __file__, "--stage", name, folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout)
            print(
                f"{name:14} {found['seconds']:7.1f} s ({found['cpu']:.1f} s of CPU) "
                f"{found['images'] / found['seconds']:9.0f} images/s {found['peak']:7.0f} MB above the imports   "
                f"{found['notes']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
