"""What `--precision bfloat16` does to clustering: `python tests/benchmarks/bfloat16.py`.

Two models on the first 100 and on all 400 images of shapes val, by the standard protocol, on the CPU, observed in
float32 and in bfloat16 (torch's autocast). Printed are mIoU in float32 and bfloat16 (mean of five seeds), their
difference in points, the largest difference of a single seed, the standard deviation over seeds in float32, the share
of images that change their cluster, clusters being matched one to one, and that between two seeds of float32 for
comparison. Takes a minute, on a processor without instructions for bfloat16 a few.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.protocols.clustering.scoring import score
from bench.scoring.metrics import seed_metrics
from tests.benchmarks.few_images import SEEDS, first, look, moved

IMAGES = (100, 400)


def main() -> None:
    print(f"{'model':<20} images float32 bfloat16  change  a seed  SD of seeds  moved images  between seeds")
    for model in ("maskcontrast-shapes", "random-shapes"):
        seen = {name: look(max(IMAGES), model, name) for name in ("float32", "bfloat16")}
        for images in IMAGES:
            figures, labels = {}, {}
            for name, (whole, preset, classes) in seen.items():
                scored = score(first(whole, images), preset, SEEDS, classes)
                labels[name] = scored.labels
                figures[name] = np.array([one["mIoU"] for one in seed_metrics(scored.rows, "zero")])
            plain, other = figures.values()
            share = np.mean([moved(a, b) for a, b in zip(*labels.values(), strict=True)])
            seeds = np.mean([moved(a, b) for a, b in zip(labels["float32"], labels["float32"][1:], strict=False)])
            print(
                f"{model:<20} {images:6} {plain.mean():7.2f} {other.mean():8.2f} {other.mean() - plain.mean():+7.2f} "
                f"{np.abs(other - plain).max():7.2f} {plain.std(ddof=1):12.2f} {share:11.1f} % {seeds:12.1f} %"
            )


if __name__ == "__main__":
    main()
