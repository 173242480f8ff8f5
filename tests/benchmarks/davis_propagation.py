"""Label propagation against the dense way: `python tests/benchmarks/davis_propagation.py`.

The dense way compares every cell with every cell of the context, masks what is out of reach and sorts what is left,
one context frame after the other. Ours compares rows with the rows in their reach. One step at 480p: 60×107 cells, 32
dimensions, a context of 8 frames. Peak memory is that of the process, printed once more after a hundred steps.
"""

import resource
import time

import numpy as np
import torch
import torch.nn.functional as F

from bench.protocols.davis.preset import DavisPreset
from bench.protocols.davis.propagation import Propagation

GRID, DIMENSIONS, LABELS, ROUNDS = (60, 107), 32, 3, 3


def reach(preset: DavisPreset) -> torch.Tensor:
    """Cells × cells: which are near enough."""
    y, x = (axis.reshape(-1) for axis in torch.meshgrid(*map(torch.arange, GRID), indexing="ij"))
    return ((y[:, None] - y).abs() <= preset.neighbourhood) & ((x[:, None] - x).abs() <= preset.neighbourhood)


def dense(context: list, features: torch.Tensor, near: torch.Tensor, preset: DavisPreset) -> torch.Tensor:
    queries = F.normalize(features, dim=0).flatten(1).T
    found, values = [], []
    for keys, labels in context:
        similar = (queries @ F.normalize(keys, dim=0).flatten(1)).masked_fill_(~near, -1e4)
        best, where = similar.topk(preset.top_k)
        found.append(best)
        values.append(labels.flatten(1).T[where])
    best, which = torch.cat(found, dim=1).topk(preset.top_k)
    chosen = torch.cat(values, dim=1).gather(1, which[..., None].expand(-1, -1, LABELS))
    return torch.einsum("nk,nkc->cn", (best / preset.temperature).softmax(1), chosen).reshape(LABELS, *GRID)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.inference_mode()
def main() -> None:
    preset = DavisPreset()
    generator = torch.Generator().manual_seed(0)
    frames = [torch.randn(DIMENSIONS, *GRID, generator=generator) for _ in range(preset.context + 1)]
    first = torch.rand(LABELS, *GRID, generator=generator).softmax(0)
    fast, context = Propagation(frames[0], first, preset), [(frames[0], first)]
    for features in frames[1:]:
        context.append((features, fast.step(features)))
    target = torch.randn(DIMENSIONS, *GRID, generator=generator)
    ours, after = [], []
    for number in range(ROUNDS):
        start = time.perf_counter()
        labels = fast.step(target)
        ours.append(time.perf_counter() - start)
        if not number:
            after = labels
    early = peak()
    for _ in range(100):
        fast.step(target)
    print(f"peak memory after {ROUNDS} steps {early:.0f} MB, after a hundred more {peak():.0f} MB")
    near, plain = reach(preset), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        expected = dense(context, target, near, preset)
        plain.append(time.perf_counter() - start)
    assert torch.allclose(after, expected, atol=1e-4)
    slow, quick = np.median(plain), np.median(ours)
    print(f"one step: {1000 * slow:.0f} ms densely, {1000 * quick:.0f} ms ours, {slow / quick:.1f}x")


if __name__ == "__main__":
    main()
