"""The votes of `knn` against the ways that come to mind first: `python tests/benchmarks/knn.py`.

On the same neighbours: `torch.mode` over each position, a mode by counting every class, and Python's Counter on a few
patches. Then mIoU from per-image tables against a loop over classes with masks of all pixels. Ratios are printed.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch

from bench.protocols.knn.scoring import voted
from bench.protocols.shared_by_patch import add_to_table, miou
from bench.scoring.neighbours import search


def seconds(work: Callable[[], object], times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4, help="evaluated, of 14×14 patches of 16×16 pixels")
    parser.add_argument("--bank", type=int, default=20_000, help="patches in the bank")
    parser.add_argument("--classes", type=int, default=150)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    classes, patches = options.classes, 196 * options.images
    main_class = rng.integers(0, classes, options.bank)
    edge = rng.integers(0, 257, options.bank)[:, None] > np.arange(256)  # a patch is of one class, or of two
    bank = np.where(edge, main_class[:, None], rng.integers(0, classes, options.bank)[:, None]).astype(np.uint8)
    features = rng.standard_normal((classes, 384))[main_class] + rng.standard_normal((options.bank, 384))
    queries = features[rng.integers(0, options.bank, patches)] + rng.standard_normal((patches, 384))
    rows, queries = features.astype(np.float32), queries.astype(np.float32)
    _, nearest = search(queries, [rows], 30, "cosine")
    labels = bank[nearest]

    ours = seconds(lambda: voted(labels))
    print(f"votes of 30 neighbours on {patches} patches of 256 pixels, {classes} classes: {ours:.3f} s")
    tensor = torch.from_numpy(labels)
    print(f"  torch.mode            {seconds(lambda: tensor.mode(dim=1), 1) / ours:8.1f} × as long")
    print(f"  a pass for each class {seconds(lambda: per_class(labels, classes), 1) / ours:8.1f} × as long")
    few = labels[:8]
    print(f"  Counter, a pixel each {seconds(lambda: counters(few), 1) * patches / 8 / ours:8.1f} × as long")

    found, truth = voted(labels), bank[rng.integers(0, options.bank, patches)]
    own = seconds(lambda: tables(found, truth, classes))
    print(f"mIoU of {found.size} pixels: {own:.4f} s")
    print(f"  a mask for each class {seconds(lambda: masks(found, truth, classes), 1) / own:8.1f} × as long")


def per_class(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.stack([(labels == one).sum(axis=1) for one in range(classes)]).argmax(axis=0)


def counters(labels: np.ndarray) -> list[int]:
    columns = labels.transpose(0, 2, 1).reshape(-1, labels.shape[1]).tolist()
    return [Counter(column).most_common(1)[0][0] for column in columns]


def tables(found: np.ndarray, truth: np.ndarray, classes: int) -> float:
    table = np.zeros((classes + 1, classes), np.int64)
    for one, label in zip(found.reshape(-1, 196, 256), truth.reshape(-1, 196, 256), strict=True):
        add_to_table(table, one, label, 255)
    return miou([table], "skip")[0]


def masks(found: np.ndarray, truth: np.ndarray, classes: int) -> float:
    ious = []
    for one in range(classes):
        mine, theirs = found == one, truth == one
        if (union := (mine | theirs).sum()) > 0:
            ious.append((mine & theirs).sum() / union)
    return 100 * float(np.mean(ious))


if __name__ == "__main__":
    main()
