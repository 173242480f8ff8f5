"""Scoring of clustered patches against keeping all pixels: `python tests/benchmarks/patch_clustering.py`.

The straightforward way keeps prediction and label of all images at 100×100 in lists, joins them, scans both arrays once
for each pair of cluster and class for the table by which clusters are matched, translates cluster by cluster, and
counts class by class. Ours counts image by image, and asks the rows for the figures. Both are measured for one seed
with 21 clusters (one to one) and 500 clusters (by precision); of the 500 some are scanned, and scaled to all.

Then whole runs of the protocol on two numbers of images, each in a process of its own, show the peak of memory.
"""

import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from scipy.optimize import linear_sum_assignment

from bench.scoring.id_counts import Painted, contingency, matched_classes
from bench.scoring.metrics import seed_metrics

IMAGES, SIDE, CLASSES, VOID = 1440, 100, 21, 255
SCANNED = 10
"""Of the 500 clusters."""
RUNS = (100, 400)
"""Images."""
Maps = list[tuple[np.ndarray, np.ndarray]]


def make(rng: np.random.Generator, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Clusters and label of an image: 28×28 cells of a few clusters, rectangles of a few classes."""
    some = rng.integers(0, clusters, 12)
    cells = rng.choice(some, (28, 28)).repeat(4, axis=0).repeat(4, axis=1)[:SIDE, :SIDE]
    label = np.zeros((SIDE, SIDE), np.uint8)
    for value in (*rng.integers(1, CLASSES, 2), VOID):
        top, left = rng.integers(0, SIDE - 30, 2)
        label[top : top + 30, left : left + 30] = value
    return cells.astype(np.int64), label


def scanned(maps: Maps, clusters: int) -> tuple[float, float]:
    """mIoU and seconds of the straightforward way; the scans of `SCANNED` clusters stand for those of all."""
    started = time.perf_counter()
    predictions, labels = [], []
    for found, label in maps:
        keep = label != VOID
        predictions.append(found[keep])
        labels.append(label[keep])
    predicted, true = np.concatenate(predictions), np.concatenate(labels)
    joined = time.perf_counter() - started
    one_to_one = clusters == CLASSES
    looked_at = clusters if one_to_one else SCANNED
    scores = np.zeros((CLASSES, clusters))
    started = time.perf_counter()
    for cluster in range(looked_at):
        for value in range(CLASSES):
            here, there = predicted == cluster, true == value
            hit = np.sum(here & there)
            scores[value, cluster] = hit / max(1, np.sum(here | there) if one_to_one else np.sum(here))
    per_cluster = (time.perf_counter() - started) / looked_at
    started = time.perf_counter()
    classes = scores.argmax(axis=0)
    if one_to_one:
        rows, columns = linear_sum_assignment(1 - scores)
        classes[columns] = rows
    renamed = np.zeros_like(predicted)
    for cluster in range(looked_at):
        renamed[predicted == cluster] = classes[cluster]
    renaming = (time.perf_counter() - started) * clusters / looked_at
    started = time.perf_counter()
    values = []
    for value in range(CLASSES):
        here, there = renamed == value, true == value
        values.append(np.sum(here & there) / max(1, np.sum(here | there)))
    counting = time.perf_counter() - started
    return 100 * float(np.mean(values)), joined + per_cluster * clusters + renaming + counting


def counted(maps: Maps, clusters: int) -> tuple[float, float]:
    """mIoU and seconds of ours."""
    started = time.perf_counter()
    tables = [contingency(found, label, VOID) for found, label in maps]
    painted = Painted([str(i) for i in range(len(maps))], tables, "")
    matching = "one-to-one" if clusters == CLASSES else "precision"
    rows, _ = matched_classes([painted], matching, CLASSES, clusters)
    value = seed_metrics(rows, "zero")[0]["mIoU"]
    return value, time.perf_counter() - started


def compare(clusters: int) -> None:
    rng = np.random.default_rng(0)
    maps = [make(rng, clusters) for _ in range(IMAGES)]
    theirs, slow = scanned(maps, clusters)
    ours, quick = min((counted(maps, clusters) for _ in range(3)), key=lambda found: found[1])
    if clusters == CLASSES:
        assert abs(theirs - ours) < 1e-9, (theirs, ours)
    print(f"{clusters} clusters: all pixels {slow:.2f} s, ours {quick:.3f} s: {slow / quick:.0f}×")


def run(images: int) -> None:
    """A whole run on so many images with a network that is next to nothing; prints the peak of memory."""
    import torch

    import bench

    class Cells(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.weight = torch.nn.Parameter(torch.randn(256, 3, 16, 16, generator=generator))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.conv2d(images, self.weight, stride=16)

    with tempfile.TemporaryDirectory() as cache:
        entries = {"input": [448, 448]}
        bench.evaluate(
            Cells(), "shapes", "patch-clustering", limit=images, entries=entries, num_seeds=1, cache=cache,
            cache_key="cells", workers=1, warn=lambda message: None,
        )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{images} images: peak of {peak:.0f} MB, of which tokens would be {images * 784 * 256 * 4 / 2**20:.0f} MB")


def main() -> None:
    if len(sys.argv) > 1:
        run(int(sys.argv[1]))
        return
    for clusters in (CLASSES, 500):
        compare(clusters)
    for images in RUNS:
        subprocess.run([sys.executable, "-m", "tests.benchmarks.patch_clustering", str(images)], check=True)


if __name__ == "__main__":
    main()
