"""Another package's protocol and model adapter, in one file: `nearest-mean` and `tiny:SEED`.

A mean feature is found for each class on a labelled split; every pixel of the evaluated split then takes the class of
the nearest mean. The file is what a user would write; `tests/test_plugin.py` installs it.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np

from bench.cards.presets import ImagePreset, Presets
from bench.networks.subject import Subject
from bench.passes.classify import Classifiers
from bench.passes.image_pass import pass_over_images, to_device
from bench.protocols import shared_by_pixel
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.registry import Entry, Variant
from bench.scoring.id_counts import given_classes

BANK = "bank"


class NearestMeanPreset(ImagePreset):
    """All that defines the figure."""

    bank: str = "val"
    """The split whose labelled pixels the means are of."""
    grid: int = 1
    """Every n-th row and column of the bank's features is looked at."""

    needs_saliency: ClassVar[bool] = False

    @classmethod
    def fallback(cls, presets: Presets) -> NearestMeanPreset:
        """On every data set of images, as on the first of ours."""
        return cls(input=(64, 64))

    def variant(self, default, classes):
        """A coarser grid has a name of its own."""
        return {"grid": self.grid} if self.grid > 1 else {}


class NearestMean(Protocol[NearestMeanPreset]):
    """The room."""

    def splits(self, preset, evaluated):
        """The labelled one."""
        return {BANK: preset.bank}

    def measure(self, run: Run[NearestMeanPreset]) -> Result:
        """Means of the bank's classes, kept in the cache, as linear classifiers."""
        features = functools.cache(lambda: run.subject.pixels(run.engine.device))
        bank = run.plan.others[BANK]
        found, _ = pass_over_images(
            lambda: functools.partial(_forward, features(), run),
            functools.partial(_sums, step=run.preset.grid, ignore=bank.card.labels.ignore, classes=run.num_classes),
            bank,
            run.preset,
            self._store(run),
            run.on("finding means"),
            fresh=run.fresh,
        )
        sums, counts = (
            found[name].flat.reshape(len(bank), run.num_classes, -1).sum(axis=0) for name in ("sums", "counts")
        )
        means = (sums / np.maximum(counts, 1)).astype(np.float32)
        bias = np.where(counts[:, 0] > 0, -np.square(means).sum(axis=1) / 2, -np.inf).astype(np.float32)
        painters = Classifiers(means[None], bias[None])
        found, _ = shared_by_pixel.paint_all(run, features, painters, {"nearest-mean": 1})
        painted = found[0]["label"]
        rows = given_classes([painted], run.num_classes)
        return shared_by_pixel.result(
            run,
            rows,
            painted,
            {"algorithm": "nearest mean"},
            detail={"means": int((counts > 0).sum())},
            paint=lambda seed, chosen: shared_by_pixel.paint_again(
                run, features, painters, {"nearest-mean": 1}, chosen
            ),
        )

    def cached(self, run):
        """How much of the bank."""
        bank = run.plan.others[BANK]
        return f"{len(self._store(run).known(bank.keys))} of {len(bank)} images of the bank are cached"

    def _store(self, run):
        recipe = run.recipe(run.plan.others[BANK]) | {"nearest-mean": 1, "grid": run.preset.grid}
        return run.store("means", recipe, "nothing")


def _forward(extract, run, batch):
    import torch

    with torch.inference_mode():
        return list(extract(to_device(batch, run.preset, run.engine)).float().cpu().numpy())


def _sums(item, feature, *, step, ignore, classes):
    """Per class the sum of an image's features and how many there are."""
    from bench.data.preprocessing import resize_nearest

    label = resize_nearest(item.label, feature.shape[1:])[::step, ::step].reshape(-1)
    pixels = feature[:, ::step, ::step].reshape(len(feature), -1).T
    sums, counts = np.zeros((classes, pixels.shape[1])), np.zeros((classes, 1))
    known = label != ignore
    np.add.at(sums, label[known], pixels[known])
    np.add.at(counts, label[known], 1)
    digest = np.frombuffer(item.digest, np.uint8)
    return {"sums": sums, "counts": counts, "digest": digest, "nothing": np.empty(0)}


ENTRY = Entry(
    "nearest-mean",
    "every pixel takes the class of the nearest mean feature",
    "bench_nearest_mean:NearestMeanPreset",
    "bench_nearest_mean:NearestMean",
    variants=(Variant("nearest-mean-every-{grid}"),),
)


def tiny(name: str) -> Subject:
    """`tiny:SEED`: one convolution whose weights are drawn from the seed."""
    import torch

    seed = int(name)

    def network(device: str) -> torch.nn.Module:
        torch.manual_seed(seed)
        return torch.nn.Conv2d(3, 8, 3, stride=4, padding=1).to(device).eval()

    return Subject(
        id=f"tiny-{seed}",
        title=f"Tiny {seed}",
        weights_sha256=f"{seed:064x}",
        weights_source=f"tiny:{seed}",
        network=network,
        has_embedding=False,
    )
