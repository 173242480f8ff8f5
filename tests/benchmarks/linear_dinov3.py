"""`linear-dinov3` against the plain way of doing the same: `python tests/benchmarks/linear_dinov3.py`.

Three parts, each on the same work, with the same result:

- figures of label and prediction maps: a mask per class and picture, against one histogram of pairs per picture;
- figures of such a run once more, with 2000 bootstrap resamples, which need no picture any more;
- classifying pictures: window by window, with batch norm and convolution and all classes at once, against windows of
  several pictures in batches, the two folded into one.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.cards.presets import WindowsPreset
from bench.data.preprocessing import normalise
from bench.passes import windows
from bench.passes.engine import Engine, choose_device
from bench.passes.features import upsample
from bench.passes.image_pass import Loaded
from bench.protocols.linear_dinov3.learner import Head
from bench.protocols.linear_dinov3.training import fold
from bench.scoring.class_areas import Areas, figures, summed
from bench.scoring.id_counts import Painted, contingency, given_classes
from bench.scoring.metrics import seed_metrics

SIZE = (512, 683)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def maps(pictures: int, classes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, classes, (pictures, 2, 16, 16), np.uint8)
    large = np.repeat(np.repeat(coarse, SIZE[0] // 16, axis=2), SIZE[1] // 16 + 1, axis=3)[..., : SIZE[0], : SIZE[1]]
    agree = rng.random((pictures, 1, *SIZE)) < 0.7
    return [(np.where(same, label, predicted)[0], label) for same, (predicted, label) in zip(agree, large, strict=True)]


def by_class(predicted: np.ndarray, label: np.ndarray, classes: int) -> Areas:
    kept = label != 255
    counts = np.zeros((3, classes), np.int64)
    for index in range(classes):
        a, b = (predicted == index) & kept, (label == index) & kept
        counts[:, index] = (a & b).sum(), a.sum(), b.sum()
    return Areas(*counts)


def score(pictures: int, classes: int) -> None:
    drawn = maps(pictures, classes)
    plain, slow = timed(lambda: figures(summed((by_class(*pair, classes) for pair in drawn), classes)))
    tables, fast = timed(lambda: [contingency(*pair, 255) for pair in drawn])
    rows = given_classes([Painted([str(i) for i in range(pictures)], tables, "")], classes)
    found, again = timed(lambda: seed_metrics(rows, "skip")[0])
    assert abs(found["mIoU"] - plain["mIoU"]) < 1e-9
    _, resampled = timed(lambda: rows.metrics("skip"))
    print(f"figures of {pictures} pictures of {SIZE[0]}×{SIZE[1]}, {classes} classes")
    print(f"  a mask per class and picture:          {slow:9.3f} s")
    print(f"  one histogram of pairs per picture:    {fast + again:9.3f} s, {slow / (fast + again):8,.1f}x")
    print(f"  once more, from rows:                  {again:9.4f} s, {slow / again:8,.0f}x")
    resamples = 2000 * slow
    print(f"  2000 resamples, from pictures (scaled): {resamples:8.0f} s")
    print(f"  2000 resamples, from rows:             {resampled:9.3f} s, {resamples / resampled:8,.0f}x")


def plainly(
    items: Sequence[Loaded], extract: nn.Module, head: Head, preset: WindowsPreset, device: str
) -> list[Tensor]:
    found = []
    for item in items:
        picture = normalise(torch.from_numpy(item.image)[None].to(device), preset)[0]
        logits = windows.slide(picture, preset.window, preset.window_stride, lambda part: head(extract(part)), 16)
        found.append(upsample(logits[None], item.size)[0].argmax(0).cpu())
    return found


def classify(pictures: int, classes: int, device: str) -> None:
    torch.manual_seed(0)
    preset = WindowsPreset(multiple=16)
    layers = [nn.Conv2d(3, 192, 16, 16), *(nn.Conv2d(192, 192, 1) for _ in range(12))]
    extract = nn.Sequential(*layers).to(device).eval()
    head = Head(192, classes, batch_norm=True)
    arrays = {name: tensor.detach().numpy() for name, tensor in head.named().items()}
    weight, bias = (
        torch.from_numpy(a).to(device) for a in fold(arrays | {"weight": arrays["weight"].reshape(classes, -1)})
    )
    head = head.to(device).eval()
    rng, sample = np.random.default_rng(1), SimpleNamespace(image=Path("none"))
    items = [Loaded(sample, rng.integers(0, 256, (*SIZE, 3), np.uint8), None, SIZE, b"") for _ in range(pictures)]  # type: ignore[arg-type]
    engine = Engine(device, batch_size=8)

    def batched() -> list[Tensor]:
        found = []
        for start in range(0, pictures, engine.batch_size):
            views = windows.views_of(items[start : start + engine.batch_size], extract, preset, engine)
            found += [windows.best_classes(own, weight, bias, SIZE).cpu() for own in views]
        return found

    with torch.inference_mode():
        plainly(items[:1], extract, head, preset, device)
        plain, slow = timed(lambda: plainly(items, extract, head, preset, device))
        ours, fast = timed(batched)
    other = sum(int((a != b).sum()) for a, b in zip(plain, ours, strict=True))
    print(f"classifying {pictures} pictures in windows of 512, {classes} classes, a small network on {device}")
    print(f"  one by one:                            {slow:9.3f} s")
    print(f"  folded, in batches:                    {fast:9.3f} s, {slow / fast:8.2f}x; {other} pixels differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=int, default=20)
    options = parser.parse_args()
    for classes in (21, 150):
        score(options.pictures, classes)
        classify(options.pictures // 2, classes, choose_device(options.device))


if __name__ == "__main__":
    main()
