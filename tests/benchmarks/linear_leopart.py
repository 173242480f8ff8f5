"""A step of Leopart's head on upsampled logits against upsampled features: `python tests/benchmarks/linear_leopart.py`.

The reference brings features (D values a cell) to 100×100 and then applies the head; the head is affine, so bringing
its output (C values a cell) there is the same. Time of a step and bytes that are made, as ratios.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from bench.passes.features import upsample
from bench.passes.memory import bytes_of
from bench.protocols.linear.learner import accumulate_gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=int, default=384)
    options = parser.parse_args()
    torch.manual_seed(0)
    features = torch.randn(options.batch, options.width, 28, 28)
    labels = np.random.default_rng(0).integers(0, 21, (options.batch, 100, 100)).astype(np.uint8)
    target, head = torch.from_numpy(labels).long(), torch.nn.Conv2d(options.width, 21, 1)

    def ours() -> None:
        accumulate_gradient(head, features, labels, 255)

    def theirs() -> None:
        F.cross_entropy(head(upsample(features, (100, 100))), target, ignore_index=255).backward()

    mine, other = timed(ours), timed(theirs)
    print(f"a step on {options.batch} images: {mine:.3f} s; on upsampled features {other / mine:.1f} × as long")
    small = bytes_of(lambda one: upsample(head(one), (100, 100)), features)
    large = bytes_of(lambda one: head(upsample(one, (100, 100))), features)
    print(f"bytes alive in a forward: {large / small:.1f} × as many")


def timed(work: Callable[[], None]) -> float:
    work()
    start = time.perf_counter()
    for _ in range(3):
        work()
    return (time.perf_counter() - start) / 3


if __name__ == "__main__":
    main()
