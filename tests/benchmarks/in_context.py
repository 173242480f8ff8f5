"""Scoring of `in-context` against the straightforward way: `python tests/benchmarks/in_context.py`.

The straightforward way keeps all pixels of the split in lists, joins them, scans them once per pair of predicted class
and class (21 × 21 passes) for the IoU table, matches, and scans them once more per class. It is measured on a few
images and scaled to 1449, as each scan is linear. Ours counts image by image, with and without matching. Peaks are what
numpy holds beside the maps themselves, at two numbers of images; then that of a search beside its bank.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import scipy

from bench.protocols.in_context import scoring, search
from bench.protocols.in_context.preset import InContextPreset
from bench.scoring.id_counts import Painted, contingency

IMAGES, SCANNED, CLASSES, SIDE = 1449, 24, 21, 512
WIDTH, NEIGHBOURS, QUERIES = 384, 30, 1024
BANKS = (100_000, 400_000)
Pair = tuple[np.ndarray, np.ndarray]


def maps(images: int) -> Iterator[Pair]:
    """Predictions and labels in blocks of 32 pixels, with void, one image at a time."""
    rng = np.random.default_rng(0)
    for _ in range(images):
        cells = rng.choice(rng.integers(0, CLASSES, 4), (SIDE // 32, SIDE // 32))
        label = np.kron(cells, np.ones((32, 32), np.uint8)).astype(np.uint8)
        predicted = np.roll(label, 7, axis=1).astype(np.uint16)
        label[rng.random(label.shape) < 0.05] = 255
        yield predicted, label


def in_lists(pairs: Iterator[Pair]) -> float:
    """mIoU after the matching, of pixels that are kept in lists."""
    predictions, labels = [], []
    for predicted, label in pairs:
        predictions.append(predicted.reshape(-1))
        labels.append(label.reshape(-1))
    predicted, label = np.concatenate(predictions), np.concatenate(labels)
    kept = label != 255
    predicted, label = predicted[kept], label[kept]
    table = np.zeros((CLASSES, CLASSES))
    for class_ in range(CLASSES):
        of_class = label == class_
        for found in range(CLASSES):
            of_found = predicted == found
            union = np.sum(of_class | of_found)
            table[class_, found] = np.sum(of_class & of_found) / union if union else 0
    classes, ids = scipy.optimize.linear_sum_assignment(1 - table)
    mapping = np.zeros(CLASSES, np.int64)
    mapping[ids] = classes
    matched = mapping[predicted]
    iou = []
    for class_ in range(CLASSES):
        union = np.sum((label == class_) | (matched == class_))
        iou.append(np.sum((label == class_) & (matched == class_)) / union if union else 0)
    return 100 * float(np.mean(iou))


def counted(pairs: Iterator[Pair]) -> float:
    """The same, with the figure without matching beside it, by the program."""
    tables = [contingency(predicted, label, 255) for predicted, label in pairs]
    painted = Painted([str(number) for number in range(len(tables))], tables, "")
    scored = scoring.score([painted], InContextPreset(), CLASSES)
    return scored.rows.figures({"absent": "zero"})["mIoU"][0]


def seconds(way: Callable[[Iterator[Pair]], float], images: int) -> tuple[float, float]:
    kept = list(maps(images))
    started = time.perf_counter()
    figure = way(iter(kept))
    return time.perf_counter() - started, figure


def peak(work: Callable[[], object]) -> float:
    """Megabytes that numpy holds at once while `work` runs, beyond what there was."""
    tracemalloc.start()
    work()
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held / 1e6


def search_peaks() -> None:
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((QUERIES, WIDTH)).astype(np.float32)
    for rows in BANKS:
        bank = rng.standard_normal((rows, WIDTH), np.float32).astype(np.float16)
        beside = peak(lambda bank=bank: search.nearest(bank, queries, NEIGHBOURS))
        print(
            f"bank of {rows} patches as float16: {bank.nbytes / 1e6:.0f} MB, and {beside:.0f} MB beside it in a search"
        )


def main() -> None:
    theirs, figure = seconds(in_lists, SCANNED)
    ours, same = seconds(counted, SCANNED)
    assert abs(figure - same) < 1e-9, (figure, same)
    scale = IMAGES / SCANNED
    print(f"{IMAGES} images of {SIDE}×{SIDE}: in lists {theirs * scale:.0f} s, here {ours * scale:.1f} s")
    print(f"ratio: {theirs / ours:.0f}×")
    for images in (SCANNED, 4 * SCANNED):
        lists, tables = (peak(lambda way=way, images=images: way(maps(images))) for way in (in_lists, counted))
        print(f"peak at {images} images: in lists {lists:.0f} MB, here {tables:.1f} MB")
    search_peaks()


if __name__ == "__main__":
    main()
