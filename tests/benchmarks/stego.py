"""STEGO's counting against one pass per class: `python tests/benchmarks/stego.py`.

The straightforward way keeps all predictions and labels of the split, and scans them for every class: hits, pixels
predicted and pixels labelled, after a scan for each pair of cluster and class for the matching (27 × 27 passes). It is
measured on a few images and scaled. Ours counts an image at a time and keeps tables. Peak memory is told for two
numbers of images.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import scipy

from bench.protocols.stego.preset import StegoClusterPreset
from bench.protocols.stego.scoring import score
from bench.scoring.id_counts import Painted, contingency
from bench.scoring.metrics import seed_metrics

CLASSES, SIDE, VOID = 27, 320, 255
IMAGES, SCANNED, FEW = 2175, 20, 200
Maps = Iterator[tuple[np.ndarray, np.ndarray]]


def maps(images: int) -> Maps:
    """Predictions and labels in patches, H×W."""
    rng = np.random.default_rng(0)
    for _ in range(images):
        label, noise = (rng.integers(0, CLASSES, (16, 16), np.uint8).repeat(20, 0).repeat(20, 1) for _ in range(2))
        label[:20] = VOID
        yield np.where(noise < 9, noise, (label + 5) % CLASSES).astype(np.uint16), label


def by_scans(images: int) -> float:
    """mIoU from pixels that are kept, a scan for each pair and for each class."""
    pairs = list(maps(images))
    predicted, true = (np.concatenate([one[at].reshape(-1) for one in pairs]) for at in (0, 1))
    predicted, true = predicted[true != VOID], true[true != VOID]
    stats = np.array([[((predicted == k) & (true == c)).sum() for c in range(CLASSES)] for k in range(CLASSES)])
    mapping = scipy.optimize.linear_sum_assignment(stats, maximize=True)[1]
    matched = mapping[predicted]
    iou = []
    for c in range(CLASSES):
        hit = ((matched == c) & (true == c)).sum()
        iou.append(hit / ((matched == c).sum() + (true == c).sum() - hit))
    return 100 * float(np.mean(iou))


def by_tables(images: int) -> float:
    """The same by this program."""
    tables = [contingency(predicted, label, VOID) for predicted, label in maps(images)]
    painted = Painted([str(at) for at in range(images)], tables, "")
    rows, _, _ = score([painted], StegoClusterPreset(), CLASSES)
    return seed_metrics(rows, "skip")[0]["mIoU"]


def timed(count: Callable[[int], float], images: int) -> tuple[float, float]:
    """Seconds of the counting, without making the maps, and its figure."""
    started = time.perf_counter()
    for _ in maps(images):
        pass
    making = time.perf_counter() - started
    started = time.perf_counter()
    figure = count(images)
    return time.perf_counter() - started - making, figure


def peak(count: Callable[[int], float], images: int) -> float:
    tracemalloc.start()
    count(images)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 2**20


def main() -> None:
    slow, expected = timed(by_scans, SCANNED)
    assert abs(by_tables(SCANNED) - expected) < 1e-9
    fast, _ = timed(by_tables, IMAGES)
    slow *= IMAGES / SCANNED
    print(
        f"{IMAGES} images of {SIDE}×{SIDE}, {CLASSES} classes: by scans {slow:.0f} s (scaled), by tables {fast:.1f} s"
    )
    print(f"ratio {slow / fast:.0f}")
    print(
        f"peak memory of tables: {peak(by_tables, FEW):.0f} MB of {FEW} images, {peak(by_tables, IMAGES):.0f} MB of all"
    )
    print(f"peak memory of scans: {peak(by_scans, SCANNED):.0f} MB of {SCANNED} images")


if __name__ == "__main__":
    main()
