"""What rounding does to clusters of few images: `python tests/benchmarks/few_images.py [CHANGES]`.

Prototypes of `maskcontrast-shapes` on the first images of shapes val, by the standard protocol but for the number of
components: the preset's 32, and as many as the rule leaves (docs/protocols.md#few-images). They are changed by what
rounding might change: noise of standard deviation 1e-7 on every entry, 20 times or so often as asked, and one BLAS
thread against two. Printed are the largest change of mIoU in points (of one seed, and of the mean over five), and the
share of images that change their cluster, those being matched one to one. Takes half a minute.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.base.files import cache_folder
from bench.cards import catalogue
from bench.data.find_samples import find_samples
from bench.networks.find_model import find_model
from bench.passes.cache import ShardStore
from bench.passes.engine import Engine, Precision
from bench.passes.observation_pass import observe
from bench.passes.observations import MASK, Observations
from bench.protocols.clustering.scoring import score_labels
from bench.scoring.kmeans import cluster
from bench.scoring.metrics import seed_metrics
from bench.scoring.whitening import most_components, whiten

SEEDS = range(1234, 1239)
IMAGES = (24, 33, 60, 100, 200)
NOISE = 1e-7


def look(
    images: int, model: str = "maskcontrast-shapes", precision: Precision = "float32"
) -> tuple[Observations, dict[str, object], int]:
    """The observations of the first images of shapes val, the preset, and the number of classes."""
    card = catalogue.dataset("shapes")
    preset = card.protocols.preset("clustering")
    samples = find_samples(card, "val", None, cache_folder()).first(images)
    subject = find_model(model, None, cache_folder(), print)
    with tempfile.TemporaryDirectory() as folder:
        store = ShardStore(Path(folder), MASK)
        engine = Engine("cpu", precision, batch_size=4, warn=print)
        seen = observe(lambda: subject.network("cpu"), samples, preset, store, engine, fresh=True)
    return seen, preset.resolved(), len(card.classes)


def first(seen: Observations, images: int) -> Observations:
    """Those of the first images."""
    end = seen.offsets[images]
    return replace(
        seen,
        ids=seen.ids[:images], prototypes=seen.prototypes[:images], areas=seen.areas[:images], near=seen.near[:images],
        sizes=seen.sizes[:images], offsets=seen.offsets[: images + 1], classes=seen.classes[:end],
        counts=seen.counts[:end],
    )  # fmt: skip


def moved(a: np.ndarray, b: np.ndarray) -> float:
    """The share of images, in percent, whose cluster is another, clusters being matched one to one."""
    table = np.zeros((max(a.max(), b.max()) + 1,) * 2, np.int64)
    np.add.at(table, (a, b), 1)
    return 100 * (1 - table[linear_sum_assignment(-table)].sum() / len(a))


def main(changes: int) -> None:
    seen, preset, classes = look(max(IMAGES))
    print(f"{'images':>6} {'components':>10}  {'changed by':<12} {'mIoU, a seed':>12} {'mean of 5':>9} {'moved':>7}")
    for images in IMAGES:
        some = first(seen, images)
        own = int(preset["whiten"])
        for components in dict.fromkeys((own, min(own, most_components(images)))):

            def found(points: np.ndarray, components: int = components, some: Observations = some):
                whitened = whiten(points, components, lambda message: None)
                labels = [cluster(whitened, preset, seed) for seed in SEEDS]
                rows = score_labels(some, labels, preset, classes).rows
                return labels, np.array([each["mIoU"] for each in seed_metrics(rows, "zero")])

            with threadpool_limits(1):
                labels, figures = found(some.prototypes)
            others = {"noise": []}
            for number in range(changes):
                noise = np.random.default_rng(number).normal(0, NOISE, some.prototypes.shape)
                others["noise"].append(found((some.prototypes + noise).astype(np.float32)))
            with threadpool_limits(2):
                others["two threads"] = [found(some.prototypes)]
            for what, made in others.items():
                seeds = np.array([figure - figures for _, figure in made])
                share = np.mean([moved(a, b) for other, _ in made for a, b in zip(labels, other, strict=True)])
                print(
                    f"{images:6} {components:10}  {what:<12} {np.abs(seeds).max():12.2f} "
                    f"{np.abs(seeds.mean(axis=1)).max():9.2f} {share:11.1f} %"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
