"""What the shipped model's figure is worth: `python tests/benchmarks/shapes_comparison.py [CHECKPOINT ...]`.

Prints mIoU on shapes val (percent, five seeds, the standard protocol) of `maskcontrast-shapes` and of what it must
beat: the random network, K-means on colour histograms under the shipped model's own masks, and any checkpoint
given, such as one trained with `--set contrast_weight=0`, on the saliency loss alone. Beside each stands the
difference to the shipped model with its 95 % interval, a paired bootstrap as in `bench compare`.
The ceiling is each predicted mask painted with the class that fills most of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.base.files import cache_folder
from bench.cards import catalogue
from bench.data.decoding import read_image
from bench.data.find_samples import find_samples
from bench.data.preprocessing import resize_image
from bench.networks.find_model import find_model
from bench.passes.cache import ShardStore
from bench.passes.engine import Engine
from bench.passes.observation_pass import observe
from bench.passes.observations import MASK, Observations
from bench.protocols.clustering.scoring import score, score_labels
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.kmeans import cluster
from bench.scoring.metrics import seed_metrics
from bench.scoring.paired import of_confusion

MODEL = "maskcontrast-shapes"
SEEDS = range(1234, 1239)


def look(model, samples, preset) -> tuple[Observations, list[np.ndarray]]:
    """A model's observations, and its masks at the input size."""
    subject = find_model(model, None, cache_folder(), print)
    with tempfile.TemporaryDirectory() as folder:
        store = ShardStore(Path(folder), MASK)
        seen = observe(lambda: subject.network("cpu"), samples, preset, store, Engine("cpu", warn=print))
        return seen, [np.unpackbits(mask).reshape(preset.input) for mask in store.iterate_apart(samples.keys)]


def colour_histograms(samples, masks, preset) -> np.ndarray:
    """Square roots of joint 4×4×4 RGB histograms under the masks, N×64, each of unit length."""
    rows = []
    for sample, mask in zip(samples, masks, strict=True):
        pixels = resize_image(read_image(sample.image)[0], preset.input)[mask > 0]
        counts = np.bincount((pixels.astype(np.int64) // 64) @ np.array([16, 4, 1]), minlength=64)
        rows.append(np.sqrt(counts / max(1, counts.sum())))
    return np.stack(rows).astype(np.float32)


def ceiling(seen: Observations, preset) -> float:
    """mIoU where every mask has the class that fills most of it."""
    inside, _ = seen.histograms("label", 21)
    best = inside.toarray()[:, 1:].argmax(axis=1).astype(np.int32)
    return figure(score_labels(seen, [best], preset.resolved(), 21).rows)


def figure(rows: ConfusionRows) -> float:
    """mIoU in percent, mean over seeds."""
    return float(np.mean([metrics["mIoU"] for metrics in seed_metrics(rows, "zero")]))


def main(checkpoints: list[str]) -> None:
    card = catalogue.dataset("shapes")
    preset = card.protocols.preset("clustering")
    samples = find_samples(card, "val", None, cache_folder())
    cv2.setNumThreads(1)
    found: dict[str, ConfusionRows] = {}
    seen, masks = look(MODEL, samples, preset)
    found[MODEL] = score(seen, preset.resolved(), SEEDS, 21).rows
    points = colour_histograms(samples, masks, preset)
    labels = [cluster(points, preset.resolved(), seed) for seed in SEEDS]
    found["colour histograms, the same masks"] = score_labels(seen, labels, preset.resolved(), 21).rows
    for other in ("random-shapes", *checkpoints):
        found[other] = score(look(other, samples, preset)[0], preset.resolved(), SEEDS, 21).rows
    for name, rows in found.items():
        behind = of_confusion(rows, found[MODEL], "zero", []).metrics["mIoU"]
        print(f"{name:40} {behind.first:6.2f}   behind by {behind.low:6.2f} to {behind.high:6.2f}")
    print(f"{'ceiling with its masks':40} {ceiling(seen, preset):6.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
