"""Scoring of `saliency` against the straightforward way: `python tests/benchmarks/saliency.py`.

The straightforward way compares each map with each of 255 thresholds for its curve of F. Ours sorts a map's pixels into
levels once.
"""

import time
from collections.abc import Callable

import numpy as np

from bench.scoring import saliency_figures

IMAGES, SIDE, BETA2 = 20, (300, 400), 0.3


def maps() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Soft predictions and annotated foregrounds."""
    rng = np.random.default_rng(0)
    soft = [rng.random(SIDE, np.float32) for _ in range(IMAGES)]
    return soft, [rng.random(SIDE) < 0.3 for _ in range(IMAGES)]


def by_thresholds(soft: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """TokenCut's max F."""
    curves = []
    for found, mask in zip(soft, masks, strict=True):
        curve = []
        for step in range(255):
            above = found > np.float32(step / 255)
            hit, predicted, labelled = (above & mask).sum(), above.sum(), mask.sum()
            precision, recall = hit / predicted if predicted else 1.0, hit / labelled if labelled else 1.0
            under = BETA2 * precision + recall
            curve.append((1 + BETA2) * precision * recall / under if under else 0.0)
        curves.append(curve)
    return float(np.mean(curves, axis=0).max())


def timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    soft, masks = maps()
    slow, theirs = timed(lambda: by_thresholds(soft, masks))
    fast, ours = timed(lambda: saliency_figures.tokencut(soft, masks)["max_f"])
    assert np.isclose(theirs, ours, atol=1e-6), (theirs, ours)
    print(f"max F of {IMAGES} maps: by thresholds {slow:.2f} s, here {fast:.2f} s; ratio: {slow / fast:.1f}×")


if __name__ == "__main__":
    main()
