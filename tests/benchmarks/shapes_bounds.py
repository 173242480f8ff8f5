"""Bounds on the built-in data set ``shapes``: what colour alone reaches, and the ceiling.

Run ``python tests/benchmarks/shapes_bounds.py``.  It draws the validation split into a temporary folder and
prints, as mean IoU over 21 classes in percent,

* the floor: K-means on colour histograms under the true foreground masks, clusters matched to classes by the
  Hungarian method (mean and deviation over five seeds);
* the ceiling: each true foreground mask painted with the class that fills most of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.data.shapes import CLASSES
from bench.data.shapes_files import write_split

COUNT = 400
SEEDS = range(5)
SIDE = 80  # pixels; the side to which images are resized for the histograms
N = len(CLASSES) + 1
VOID = 255


def foreground(label: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True object pixels of a label map."""
    return (label > 0) & (label != VOID)


def histogram(image: NDArray[np.uint8], label: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Square root of the joint 4x4x4 RGB histogram of the foreground, 64 numbers of unit length."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    mask = foreground(cv2.resize(label, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    bins = (small[mask].astype(np.int64) // 64) @ np.array([16, 4, 1])
    counts = np.bincount(bins, minlength=64).astype(np.float32)
    return np.sqrt(counts / max(1.0, counts.sum()))


def confusion(labels: list[NDArray[np.uint8]], painted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixel counts (truth by prediction); image i's foreground is predicted as painted[i], the rest as 0."""
    matrix = np.zeros((N, N), dtype=np.int64)
    for label, number in zip(labels, painted, strict=True):
        counts = np.bincount(label.ravel(), minlength=N)[:N]
        matrix[0, 0] += counts[0]
        matrix[1:, number] += counts[1:]
    return matrix


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of every truth (row) with every prediction (column)."""
    union = matrix.sum(1, keepdims=True) + matrix.sum(0, keepdims=True) - matrix
    return matrix / np.maximum(union, 1)


def colour_miou(vectors: NDArray[np.float32], labels: list[NDArray[np.uint8]], seed: int) -> float:
    """Mean IoU (percent) of K-means clusters of the colour histograms."""
    kmeans = faiss.Kmeans(vectors.shape[1], N - 1, niter=50, nredo=5, seed=seed, min_points_per_centroid=1)
    kmeans.train(vectors)
    _, cluster = kmeans.index.search(vectors, 1)
    scores = iou(confusion(labels, cluster[:, 0] + 1))
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return float(100 * scores[rows, columns].mean())


def ceiling_miou(labels: list[NDArray[np.uint8]]) -> float:
    """Mean IoU (percent) of true masks painted with the image's majority class."""
    majority = [int(np.bincount(label[foreground(label)], minlength=N).argmax()) for label in labels]
    return float(100 * np.diag(iou(confusion(labels, np.array(majority)))).mean())


def main() -> None:
    """Draw the split, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_split(root, "val", COUNT)
        ids = (root / "sets" / "val.txt").read_text().split()
        images = [np.asarray(Image.open(root / "images" / f"{i}.jpg")) for i in ids]
        labels = [np.asarray(Image.open(root / "SegmentationClass" / f"{i}.png")) for i in ids]
    vectors = np.stack([histogram(image, label) for image, label in zip(images, labels, strict=True)])
    floor = [colour_miou(vectors, labels, seed) for seed in SEEDS]
    print(f"colour histograms: mIoU {np.mean(floor):.2f} +- {np.std(floor):.2f} ({len(floor)} seeds)")
    print(f"ceiling:           mIoU {ceiling_miou(labels):.2f}")


if __name__ == "__main__":
    main()
