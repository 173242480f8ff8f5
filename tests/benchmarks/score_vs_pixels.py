"""Scoring from observations against scoring from pixels: `python tests/benchmarks/score_vs_pixels.py`.

The straightforward way resizes every image's painted mask to its label, keeps all pixels of the split and
scans them once per pair of cluster and class (21 × 21 = 441 passes) for the IoU table. It is measured for one
seed on 75 images and scaled to five seeds and 1449 images; its K-means is left out. Ours is measured whole:
whitening, K-means, matching and metrics of five seeds on 1449 images.
"""

import time

import cv2
import numpy as np

from bench.data.preprocessing import resize_nearest
from bench.passes.observation_pass import _inside_outside
from bench.passes.observations import Observation, stack
from bench.protocols.clustering.preset import ClusteringPreset
from bench.protocols.clustering.scoring import score
from bench.scoring.bootstrap import intervals
from bench.scoring.paired import of_confusion

IMAGES, SCANNED, SEEDS, CLASSES = 1449, 75, 5, 21
LABEL, INPUT = (375, 500), (512, 512)


def ellipse(rng: np.random.Generator, size: tuple[int, int], value: int) -> np.ndarray:
    canvas = np.zeros(size, np.uint8)
    centre = tuple(int(v) for v in rng.uniform(0.3, 0.7, 2) * size[::-1])
    axes = tuple(int(v) for v in rng.uniform(0.15, 0.35, 2) * size[::-1])
    return cv2.ellipse(canvas, centre, axes, 0, 0, 360, int(value), -1)


def make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return ellipse(rng, LABEL, rng.integers(1, CLASSES)), ellipse(rng, INPUT, 1)


def observed(rng: np.random.Generator, label: np.ndarray, mask: np.ndarray) -> Observation:
    columns = np.tile(_inside_outside(label, resize_nearest(mask, LABEL), CLASSES), 2)
    classes = np.flatnonzero(columns.any(axis=1))
    prototype = rng.standard_normal(32).astype(np.float32)
    return Observation(
        prototype / np.linalg.norm(prototype),
        int(mask.sum()),
        0,
        LABEL,
        classes.astype(np.uint16),
        columns[classes].astype(np.int32),
        bytes(16),
        np.empty(0, np.uint8),
    )


def scan_pixels(pictures: list[tuple[np.ndarray, np.ndarray]], clusters: np.ndarray) -> np.ndarray:
    predicted = np.concatenate(
        [
            resize_nearest(mask * np.uint8(cluster + 1), LABEL).reshape(-1)
            for (_, mask), cluster in zip(pictures, clusters, strict=True)
        ]
    )
    true = np.concatenate([label.reshape(-1) for label, _ in pictures])
    table = np.zeros((CLASSES, CLASSES))
    for p in range(CLASSES):
        for t in range(CLASSES):
            both, either = (predicted == p) & (true == t), (predicted == p) | (true == t)
            table[p, t] = both.sum() / max(1, either.sum())
    return table


def main() -> None:
    rng = np.random.default_rng(0)
    pictures = [make(rng) for _ in range(IMAGES)]
    observations = stack([str(i) for i in range(IMAGES)], [observed(rng, *p) for p in pictures], {})
    preset = ClusteringPreset().resolved()
    score(observations, preset, [0], CLASSES)  # load faiss
    start = time.perf_counter()
    scored = score(observations, preset, range(1234, 1234 + SEEDS), CLASSES)
    scoring = time.perf_counter() - start
    scored.rows.metrics("zero", scored.extra)
    with_intervals = time.perf_counter() - start
    start = time.perf_counter()
    intervals(scored.rows, "zero")
    resampling = time.perf_counter() - start
    start = time.perf_counter()
    of_confusion(scored.rows, scored.rows, "zero", [str(i) for i in range(CLASSES)])
    comparing = time.perf_counter() - start
    start = time.perf_counter()
    scan_pixels(pictures[:SCANNED], scored.rows.labels[0][:SCANNED])
    scanned = (time.perf_counter() - start) * IMAGES / SCANNED * SEEDS
    print(f"from pixels, five seeds of {IMAGES} images (scaled from {SCANNED}): {scanned:8.1f} s")
    print(f"from observations:                                          {scoring:8.3f} s, {scanned / scoring:,.0f}x")
    print(
        f"and with 2000 bootstrap resamples:                          {with_intervals:8.3f} s, "
        f"{scanned / with_intervals:,.0f}x"
    )
    print(f"the resamples alone:                                        {resampling:8.3f} s")
    print(f"a paired comparison of two such records, every class too:   {comparing:8.3f} s")


if __name__ == "__main__":
    main()
