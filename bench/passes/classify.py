"""Classify: one pass in which classifiers on a frozen network predict every pixel of a split's images.

See docs/protocols.md#linear.

Like an observation, what is kept of an image is small: how often each predicted class met each label, for every
classifier, on the label's grid and on the input's. One pass serves every epoch of a training.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from bench.base.errors import WrongName
from bench.base.packed_arrays import Ragged
from bench.base.sample_columns import Item
from bench.cards.presets import GeometryPreset, ImagePreset, WindowsPreset
from bench.data.decoding import read_image_of
from bench.data.placement import Placement, place
from bench.data.preprocessing import label_to_input, resize_nearest
from bench.data.samples import Samples
from bench.passes import windows
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.passes.engine import Engine
from bench.passes.features import Features, best_of, upsample
from bench.passes.forward import features_of
from bench.passes.image_pass import Loaded, pass_over_images
from bench.passes.observations import manifest_of
from bench.scoring.id_counts import Counts, Painted, contingency

if TYPE_CHECKING:
    from torch import Tensor

CLASSIFIER_VERSION = 1
"""Raised whenever this pass would give other numbers or files."""
MAP = "map"
MAP_BYTES = 5000
"""Of an encoded map, about: for estimates."""
Grid = Literal["label", "input"]
GRIDS: tuple[Grid, ...] = ("label", "input")
_COLUMNS = {
    "label": Column("int64", (4,)),
    "input": Column("int64", (4,)),
    "size": Column("int32", (2,), rows=1),
    "digest": DIGEST,
    MAP: Column("uint8"),
}
Classes = npt.NDArray[np.uint16]
Refine = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.float32]], Classes]
"""An image H×W×3 and class probabilities C×H×W of the same size → H×W classes."""
Paint = Callable[..., npt.NDArray[Any]]
"""Features of an image, a classifier's C×D and C, the image, the preset → a map or scores."""
UNSEEN = 65535
"""In a map: a pixel that was cut off the network's input. It is counted nowhere."""


@dataclass(frozen=True)
class Classifiers:
    """E linear classifiers on the same features."""

    weights: npt.NDArray[np.float32]
    """E×C×D."""
    biases: npt.NDArray[np.float32]
    """E×C."""

    def __len__(self) -> int:
        return len(self.weights)

    def only(self, one: int) -> Classifiers:
        """One of them, alone."""
        return Classifiers(self.weights[one : one + 1], self.biases[one : one + 1])

    def digest(self) -> str:
        """SHA-256, hexadecimal, of their values."""
        return hashlib.sha256(self.weights.tobytes() + self.biases.tobytes()).hexdigest()


def store(cache: Path, recipe: dict[str, Any]) -> ShardStore:
    """Where a pass under `recipe` (plain JSON values) keeps what it found."""
    return ShardStore.for_recipe(cache, "classified", recipe | {"classify": CLASSIFIER_VERSION}, MAP, _COLUMNS)


def classify(
    features: Callable[[], Features],
    classifiers: Classifiers,
    samples: Samples,
    preset: ImagePreset,
    kept: ShardStore,
    engine: Engine,
    *,
    refiner: Refine | None = None,
    refine_on: Grid = "label",
    fresh: bool = False,
) -> list[dict[str, Painted]]:
    """What each classifier painted, counted on each of `GRIDS`; only images that `kept` lacks are computed.

    A single classifier's map is kept as well, as a PNG of class ids at the image's own size, apart in the store.
    With `refiner` it is what that makes of an image and its class probabilities on the grid `refine_on`, which is then
    the only one counted on; where a `WindowsPreset` has images seen window by window, it is the label's. `features` is
    called only when something is left to do. Without labels every pixel counts as one of class 0.
    """
    ignore = samples.card.labels.ignore if samples.labelled else None
    count = functools.partial(_count, preset=preset, ignore=ignore, refiner=refiner, refine_on=refine_on)

    def start() -> Callable[[Sequence[Loaded]], list[list[npt.NDArray[Any]]]]:
        paint: Paint = functools.partial(_probabilities, grid=refine_on) if refiner else _arg_max
        if isinstance(preset, WindowsPreset):
            paint = _windows_probabilities if refiner else _windows_arg_max
        return functools.partial(
            _forward, extract=features(), paint=paint, classifiers=classifiers, preset=preset, engine=engine
        )

    found, meta = pass_over_images(start, count, samples, preset, kept, engine, fresh=fresh)
    manifest = manifest_of(samples.ids, (digest.tobytes() for digest in found["digest"]))

    def painted(candidate: int, grid: str) -> Painted:
        own = found[grid].where(found[grid].flat[:, 0] == candidate)
        return Painted(samples.ids, Ragged(own.flat[:, 1:], own.ends), manifest, meta)

    return [{grid: painted(candidate, grid) for grid in GRIDS} for candidate in range(len(classifiers))]


def _forward(
    batch: Sequence[Loaded],
    extract: Features,
    paint: Paint,
    classifiers: Classifiers,
    preset: ImagePreset,
    engine: Engine,
) -> list[list[npt.NDArray[Any]]]:
    """Per image, what `paint` makes of its features and each classifier."""
    import torch

    seen: Sequence[Any] = _see(batch, extract, preset, engine)
    with torch.inference_mode():
        weights = torch.from_numpy(classifiers.weights).to(engine.device)
        biases = torch.from_numpy(classifiers.biases).to(engine.device)
        return [
            [paint(features, weight, bias, item, preset) for weight, bias in zip(weights, biases, strict=True)]
            for item, features in zip(batch, seen, strict=True)
        ]


def _see(batch: Sequence[Loaded], extract: Features, preset: ImagePreset, engine: Engine) -> Sequence[Any]:
    """Of each image its features D×h×w, or its views where it is seen window by window."""
    if isinstance(preset, WindowsPreset):
        return windows.views_of(batch, extract, preset, engine)
    return features_of(batch, extract, preset, engine)


_AT_ONCE = 128
"""Classes upsampled at once: of 920 at 512×512 a single image would take 1 GB."""


def best_class(logits: Tensor, size: tuple[int, int]) -> Classes:
    """The class of the largest of 1×C×h×w logits at every pixel of another size; of equal ones the first."""
    return _best(logits, lambda some: upsample(some, size)[0])


def _best(logits: Tensor, shown: Callable[[Tensor], Tensor]) -> Classes:
    """H×W: the best class of what `shown` makes of 1×C×h×w logits, C×H×W, some of the classes at a time."""
    some = (logits[:, start : start + _AT_ONCE] for start in range(0, logits.shape[1], _AT_ONCE))
    return _as_classes(best_of(map(shown, some)))


def _arg_max(feature: Tensor, weight: Tensor, bias: Tensor, item: Loaded, preset: ImagePreset) -> Classes:
    """The best class of every pixel at the input size."""
    placed = place(item.size, preset)
    return _best(_logits(feature, weight, bias), lambda some: _at_input(some, placed)[0])


def _windows_arg_max(
    views: Sequence[windows.View], weight: Tensor, bias: Tensor, item: Loaded, preset: WindowsPreset
) -> Classes:
    """The best class of every pixel at the image's own size."""
    return _as_classes(windows.best_classes(views, weight, bias, item.size, preset.views_mean))


def _windows_probabilities(
    views: Sequence[windows.View], weight: Tensor, bias: Tensor, item: Loaded, preset: WindowsPreset
) -> npt.NDArray[np.float32]:
    """C×H×W at the image's own size."""
    return windows.probabilities(views, weight, bias, item.size, preset.views_mean).cpu().numpy()


def _probabilities(
    feature: Tensor, weight: Tensor, bias: Tensor, item: Loaded, preset: ImagePreset, grid: Grid = "label"
) -> npt.NDArray[np.float32]:
    """C×H×W of the logits at the input size; resampled once more at the image's own (docs/protocols.md#linear)."""
    placed = place(item.size, preset)
    resampled = _at_input(_logits(feature, weight, bias), placed)
    if grid == "label":
        if placed.input != placed.resized:
            raise WrongName(
                "a part of each image is cut off, so its classes cannot be refined at its own size",
                "Use a `fit` that cuts nothing, or no refinement.",
            )
        resampled = upsample(resampled, item.size)
    return resampled[0].softmax(dim=0).cpu().numpy()


def _logits(feature: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """1×C×h×w, at the features' resolution."""
    import torch.nn.functional as F

    return F.conv2d(feature[None], weight[..., None, None], bias)


def _at_input(logits: Tensor, placed: Placement) -> Tensor:
    """B×C×h×w logits of what the network saw, at the input size, without what it was filled up with."""
    return upsample(logits, placed.padded)[(..., *placed.inside)]


def _as_classes(best: Tensor) -> Classes:
    import torch

    return best.to(torch.int32).cpu().numpy().astype(np.uint16)


def _count(
    item: Loaded,
    painted: Sequence[npt.NDArray[Any]],
    preset: ImagePreset,
    ignore: int | None,
    refiner: Refine | None,
    refine_on: Grid = "label",
) -> Item:
    """One image's tables on both grids, and its map if there is one classifier. `ignore` is None without labels."""
    tables: dict[str, list[npt.NDArray[np.int64]]] = {grid: [] for grid in GRIDS}
    own = np.empty((0, 0), np.uint16)
    for candidate, output in enumerate(painted):
        found = refiner(_picture(item, refine_on), output) if refiner else output
        own = _at_own_size(item, found, preset)
        label = np.zeros(item.size, np.uint8) if ignore is None else item.label
        if label is None:
            continue
        for grid in _counted_on(preset, refiner, refine_on):
            predicted, true = (own, label) if grid == "label" else (found, label_to_input(label, preset))
            table = _table(predicted, true, ignore)
            tables[grid].append(np.insert(table, 0, candidate, axis=1))
    stacked = {grid: np.concatenate(parts) if parts else np.empty((0, 4), np.int64) for grid, parts in tables.items()}
    image_map = encode_map(own) if len(painted) == 1 else np.empty(0, np.uint8)
    return stacked | {
        "size": np.array([item.size], np.int32),
        "digest": np.frombuffer(item.digest, np.uint8),
        MAP: image_map,
    }


def _counted_on(preset: ImagePreset, refiner: Refine | None, refine_on: Grid) -> Sequence[Grid]:
    if isinstance(preset, WindowsPreset):
        return ("label",)
    return GRIDS if refiner is None else (refine_on,)


def _table(predicted: Classes, label: npt.NDArray[Any], ignore: int | None) -> Counts:
    seen = predicted != UNSEEN
    if not seen.all():
        predicted, label = predicted[seen], label[seen]
    return contingency(predicted, label, -1 if ignore is None else ignore)


def _at_own_size(item: Loaded, found: Classes, preset: ImagePreset) -> Classes:
    """A classifier's map at the image's own size, from the map that was found."""
    if found.shape == item.size:
        return found
    if isinstance(preset, GeometryPreset) and preset.fit != "squash":
        return place(item.size, preset).to_own(found, UNSEEN)
    return resize_nearest(found, item.size)


def _picture(item: Loaded, grid: Grid) -> npt.NDArray[np.uint8]:
    """An image at its own size, or as the network's input shows it, H×W×3."""
    if grid == "label":
        return read_image_of(item.sample)[0]
    return np.clip(np.rint(item.image), 0, 255).astype(np.uint8)


def encode_map(classes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A map of class ids or greys, H×W uint8 or uint16, as the bytes of a PNG."""
    return cv2.imencode(".png", classes)[1].reshape(-1)


def decode_map(data: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """What `encode_map` encoded."""
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]
