"""Mask proposals of `boundary`: `python tests/benchmarks/priors_quality.py [IMAGES]`.

Prints IoU and F-measure (mean over images, percent) beside centred ellipses of several sizes, and the time an
image takes on one core (CPU time, so that other programs do not count): on the first images of the built-in
data set's train split, and on real PASCAL VOC images where they are at hand (`BENCH_TEST_REALDATA`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.cards import catalogue
from bench.data.decoding import read_image, read_label
from bench.data.samples import Samples, open_split
from bench.data.shapes_files import write_split
from bench.priors import boundary
from bench.priors.evaluate import agreement, centred_ellipse
from bench.priors.masks import from_saliency

ROOT = Path(__file__).resolve().parents[2]
AXES = (0.5, 0.7, 0.9)


def measure(samples: Samples) -> tuple[NDArray[np.float64], float]:
    """IoU and F of `boundary` and of each ellipse ((1 + ellipses) × 2, percent); CPU milliseconds an image."""
    estimate = boundary.load()
    rows, seconds = [], 0.0
    for sample in samples:
        image, _ = read_image(sample.image)
        started = time.process_time()
        mask = from_saliency(estimate(image))
        seconds += time.process_time() - started
        label, _ = read_label(sample.label, samples.card)
        counted = label != samples.card.labels.ignore
        truth = (label > 0) & counted
        if truth.any():
            ellipses = [centred_ellipse(label.shape, axes) for axes in AXES]
            rows.append([agreement(candidate & counted, truth) for candidate in (mask, *ellipses)])
    return 100 * np.mean(rows, axis=0), 1000 * seconds / len(samples)


def show(samples: Samples) -> None:
    figures, milliseconds = measure(samples)
    print(f"{samples.card.id} {samples.split}, {len(samples)} images: {milliseconds:.1f} ms CPU an image")
    names = ["boundary", *(f"ellipse, {axes:g} of the sides" for axes in AXES)]
    for name, (iou, f_measure) in zip(names, figures, strict=True):
        print(f"  {name:<26} IoU {iou:5.2f}  F {f_measure:5.2f}")


def main() -> None:
    cv2.setNumThreads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    boundary.load()(np.zeros((9, 9, 3), np.uint8))  # imports are not what is measured
    with tempfile.TemporaryDirectory() as folder:
        write_split(Path(folder), "train", count)
        show(open_split(catalogue.dataset("shapes"), "train", Path(folder)))
    real = Path(os.environ.get("BENCH_TEST_REALDATA", ROOT.parent / "shared" / "realdata")) / "VOCdevkit"
    if not real.is_dir():
        print(f"no PASCAL VOC at {real}")
        return
    for split in ("trainaug", "val"):
        show(open_split(catalogue.dataset("pascal-voc"), split, real))


if __name__ == "__main__":
    main()
