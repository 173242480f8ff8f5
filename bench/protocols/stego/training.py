"""Training: a probe from the code of training images, which the frozen network sees once (docs/protocols.md#stego).

The reference trains its probes beside its head, on pictures that the head sees. Here the network is there already: the
images that the steps draw are seen once, and what is learnt of their kept code is kept as well.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.own_files import drop, load_arrays, save_arrays
from bench.base.temporaries import temporary_folder
from bench.cards.presets import nearest_multiple
from bench.data.samples import Samples
from bench.passes.features import Features
from bench.passes.tokens import Tokens
from bench.protocols.base import Run
from bench.protocols.shared_by_pixel import drawn_places
from bench.protocols.shared_by_token import tokens_of
from bench.protocols.stego.preset import StegoClusterPreset, StegoKmeansPreset, StegoLinearPreset, StegoPreset
from bench.protocols.stego.probes import Float32, Probe
from bench.scoring import cached_centres
from bench.scoring.kmeans import use_gpu

if TYPE_CHECKING:
    from torch import Tensor

TRAINER_VERSION = 1
"""Raised whenever training would give other probes."""
Trained = TypeVar("Trained", StegoClusterPreset, StegoLinearPreset)
_FORMS = {"weight": (2, "float32"), "bias": (1, "float32"), "losses": (1, "float32")}
"""Dimensions and dtype of the arrays of a kept probe."""


@dataclass(frozen=True)
class Learnt:
    """A probe and how its training went."""

    probe: Probe
    losses: Float32
    """Of every step; none where there were no steps."""


# --- training images ---


def train_run(run: Run[Any]) -> Run[Any]:
    """The run with the geometry of training images: a square in the middle, seen once, and resized as the others."""
    preset: StegoPreset = run.preset
    structure = run.subject.structure
    side = nearest_multiple(preset.train_input, structure.patch if structure and structure.patch else 1)
    square = preset.model_copy(update={"input": (side, side), "fit": "crop", "mirror": False})
    return replace(run, plan=replace(run.plan, preset=square))


def draws(images: int, steps: int, batch: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Which images each step sees: permutation after permutation of all of them, cut into batches."""
    generator = np.random.default_rng([seed, images])
    left = np.empty(0, np.int64)
    for _ in range(steps):
        while len(left) < batch:
            left = np.concatenate([left, generator.permutation(images)])
        yield left[:batch]
        left = left[batch:]


def seen_by(run: Run[Trained], samples: Samples) -> Samples:
    """The training images that some step of some seed draws."""
    preset, images = run.preset, len(samples)
    if preset.steps * preset.batch >= images:
        return samples
    drawn = [batch for seed in run.plan.seeds for batch in draws(images, preset.steps, preset.batch, seed)]
    return samples.only(np.unique(np.concatenate(drawn)).tolist())


# --- probes that take steps ---


def train(
    run: Run[Trained], samples: Samples, kind: str, features: Callable[[], Features], classes: int
) -> list[Learnt]:
    """A probe for each seed, `cosine` or `linear`; what was learnt earlier is taken from the cache."""
    folder = probe_folder(run, samples, kind)
    known = {seed: None if run.fresh else _known(folder / _name(seed), kind) for seed in run.plan.seeds}
    if any(learnt is None for learnt in known.values()):
        own = train_run(run)
        tokens = tokens_of(own, seen_by(run, samples), features, "training images", run.preset.stored)
        with codes_of(tokens, run.cache / "stego", labels=kind == "linear") as codes:
            for seed in [seed for seed, learnt in known.items() if learnt is None]:
                known[seed] = _learn(run, samples, kind, codes, seed, classes)
                _keep(folder / _name(seed), known[seed])
    return [learnt for learnt in known.values() if learnt is not None]


def probe_folder(run: Run[Trained], samples: Samples, kind: str) -> Path:
    """Where probes of this kind that are trained in this way on these images are kept."""
    preset = run.preset
    entries = {key: getattr(preset, key) for key in ("steps", "batch", "lr", "stored")}
    entries |= {"clusters": run.num_classes + getattr(preset, "extra_clusters", 0)}
    return run.learnt_folder("stego", [train_run(run).recipe(samples), entries, kind, TRAINER_VERSION], samples)


def cached(run: Run[Trained], samples: Samples, kind: str) -> int:
    """How many of the seeds' probes are kept."""
    folder = probe_folder(run, samples, kind)
    return sum(_known(folder / _name(seed), kind) is not None for seed in run.plan.seeds)


@dataclass(frozen=True)
class Codes:
    """The code of training images, in memory that the disk can take back."""

    ids: Sequence[str]
    code: npt.NDArray[np.floating[Any]]
    """N×cells×D."""
    grid: tuple[int, int]
    labels: npt.NDArray[np.uint16] | None
    """N×H×W."""

    def batch(self, places: npt.NDArray[np.int64], device: str) -> tuple[Tensor, Tensor | None]:
        """Codes B×D×h×w float32 and labels B×H×W of the images at these places."""
        import torch

        code = torch.from_numpy(self.code[places]).to(device).float().transpose(1, 2)
        labels = None if self.labels is None else torch.from_numpy(self.labels[places].astype(np.int64)).to(device)
        return code.reshape(len(places), -1, *self.grid).contiguous(), labels


@contextmanager
def codes_of(tokens: Tokens, cache: Path, *, labels: bool) -> Iterator[Codes]:
    """The code of all images as one array on the disk, below `cache` and for a while, so that steps can draw from it.

    Raises BadInput for an image without a label where `labels` are wanted.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = temporary_folder(cache / "codes")
    try:
        code, found = None, None
        for at, image in enumerate(tokens):
            if code is None:
                code = _on_disk(folder / "code", (len(tokens.samples), *image.tokens.shape), image.tokens.dtype)
                grid = image.grid
            code[at] = image.tokens
            if not labels:
                continue
            if image.label is None:
                raise BadInput(
                    f"{image.id} of {tokens.samples.split} has no label", "Choose another split with --set train=…."
                )
            if found is None:
                found = _on_disk(folder / "labels", (len(tokens.samples), *image.label.shape), np.dtype(np.uint16))
            found[at] = image.label
        assert code is not None
        yield Codes(tokens.samples.ids, code, grid, found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on_disk(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def initial(kind: str, rows: int, width: int, seed: int) -> tuple[Float32, Float32]:
    """The weights rows×width and biases before the first step: centroids from N(0, 1); a convolution as torch draws
    one, uniformly within ±1/√width."""
    generator = np.random.default_rng([seed])
    if kind == "cosine":
        return generator.standard_normal((rows, width)).astype(np.float32), np.zeros(rows, np.float32)
    bound = 1 / math.sqrt(width)
    weight, bias = generator.uniform(-bound, bound, (rows, width)), generator.uniform(-bound, bound, rows)
    return weight.astype(np.float32), bias.astype(np.float32)


def _learn(run: Run[Trained], samples: Samples, kind: str, codes: Codes, seed: int, classes: int) -> Learnt:
    import torch

    from bench.passes.features import require_variety
    from bench.protocols.stego.learner import fit_cluster, fit_linear

    preset, device = run.preset, run.engine.device
    place = {name: at for at, name in enumerate(codes.ids)}
    at = np.array([place.get(name, -1) for name in samples.ids], np.int64)
    drawn = functools.partial(draws, len(samples), preset.steps, preset.batch, seed)
    first = codes.batch(at[next(drawn())], device)[0]
    require_variety(first, 1, f"the first {preset.batch} training images")
    rows = classes + getattr(preset, "extra_clusters", 0)
    weight, bias = (torch.from_numpy(one).to(device) for one in initial(kind, rows, codes.code.shape[2], seed))
    if kind == "cosine":
        steps = fit_cluster((codes.batch(at[places], device)[0] for places in drawn()), weight, preset.lr)
    else:
        batches = (codes.batch(at[places], device) for places in drawn())
        steps = fit_linear(((code, labels) for code, labels in batches if labels is not None), weight, bias, preset.lr)
    losses = []
    tell = run.stage(f"training the probe, seed {seed}")
    for loss in steps:
        losses.append(loss)
        if not math.isfinite(loss):
            raise BadInput(
                f"the loss is no longer finite in step {len(losses)}, at learning rate {preset.lr:g}",
                "Check that the network's file is whole, or try a lower rate (--set lr=0.001).",
            )
        if tell:
            tell(len(losses), preset.steps)
    learnt = (one.detach().cpu().numpy() for one in (weight, bias))
    return Learnt(Probe(kind, *learnt), np.array(losses, np.float32))  # type: ignore[arg-type]


def _name(seed: int) -> str:
    return f"seed-{seed}.npz"


def _keep(path: Path, learnt: Learnt | None) -> None:
    assert learnt is not None
    save_arrays(path, {"weight": learnt.probe.weight, "bias": learnt.probe.bias, "losses": learnt.losses})


def _known(path: Path, kind: str) -> Learnt | None:
    """A probe that was kept; None where there is none, or none that could be."""
    arrays = load_arrays(path)
    if arrays is None:
        return None
    sound = arrays.keys() == _FORMS.keys() and all(
        (arrays[name].ndim, arrays[name].dtype.name) == form for name, form in _FORMS.items()
    )
    if not sound or len(arrays["weight"]) != len(arrays["bias"]):
        drop(path)
        return None
    return Learnt(Probe(kind, arrays["weight"], arrays["bias"]), arrays["losses"])  # type: ignore[arg-type]


# --- K-means in place of steps ---


def cluster(run: Run[StegoKmeansPreset], samples: Samples, features: Callable[[], Features]) -> list[Learnt]:
    """Centres of K-means on normalised cells of the training images, a probe for each seed."""
    own = train_run(run)
    tokens = tokens_of(own, samples, features, "training images", run.preset.stored)
    clusters = run.num_classes + run.preset.extra_clusters
    entries = {key: getattr(run.preset, key) for key in ("init", "iterations", "restarts", "pixels", "pixel_seed")}
    centres = cached_centres.fit_all(
        tokens.kept.folder,
        entries | {"clusters": clusters},
        samples.keys,
        run.plan.seeds,
        lambda: drawn_cells(tokens, run.preset),
        version=TRAINER_VERSION,
        progress=run.stage("clustering"),
        gpu=use_gpu(run.engine.device),
        spherical=True,
        fresh=run.fresh,
    )
    none = np.empty(0, np.float32)
    return [Learnt(Probe("cosine", own, np.zeros(clusters, np.float32)), none) for own in centres]


def drawn_cells(tokens: Tokens, preset: StegoKmeansPreset) -> Float32:
    """Some cells of each image, n×D, L2-normalised: drawn by the image's id, whatever the order."""
    parts = []
    for image in tokens:
        chosen = drawn_places(image.id, len(image.tokens), preset.pixels, preset.pixel_seed)
        parts.append(image.tokens[chosen].astype(np.float32))
    cells = np.concatenate(parts)
    return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)
