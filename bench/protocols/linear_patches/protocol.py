"""The protocol `linear-patches`, from a plan to its result."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.own_files import drop, load_arrays, save_arrays
from bench.base.packed_arrays import stacked
from bench.data.samples import require_labelled_pixels
from bench.passes.tokens import ImageTokens
from bench.protocols import shared_by_patch, shared_by_pixel, shared_by_token
from bench.protocols.base import Result, Run
from bench.protocols.linear_patches.preset import LinearPatchesPreset
from bench.protocols.prediction_maps import Map
from bench.protocols.shared_by_patch import Bank, BankProtocol, Material, Order
from bench.scoring import logistic
from bench.scoring.id_counts import given_classes
from bench.scoring.logistic import Logistic
from bench.scoring.neighbours import Float32, Scaling
from bench.scoring.patch_labels import majority

_ENTRIES = (
    "strengths",
    "iterations",
    "tolerance",
    "history",
    "standardise",
    "void_order",
    "void_classes",
    "absent",
    "grid",
)
"""Of the preset, what decides the choice of a strength beside the tokens."""
Ids = npt.NDArray[Any]


class LinearPatches(BankProtocol[LinearPatchesPreset]):
    """A logistic regression gives each patch a class."""

    def measure(self, run: Run[LinearPatchesPreset]) -> Result:
        """Choose a strength, fit on the whole bank, and give each patch of the evaluated images a class."""
        features = functools.cache(run.features)
        work = _Work(run, shared_by_patch.material_of(run, features))
        learnt = work.learnt()
        tokens = shared_by_token.tokens_of(run, run.samples, features, "observing")
        fitted, scaling = work.whole(learnt["chosen"])
        order, grid = shared_by_patch.order_of(run), run.preset.grid

        def painter() -> Callable[[ImageTokens], Sequence[Map]]:
            return lambda image: [predicted(image, fitted, scaling, order, grid)]

        label = functools.partial(label_of, order=order, grid=grid)
        recipe = {"bank": work.digest, "strength": learnt["chosen"], "grid": grid}
        painted = shared_by_token.count(run, tokens, painter, label, recipe, "classifying")
        require_labelled_pixels(any(len(table) for one in painted for table in one.counts), run.samples)

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            each = functools.partial(predicted, fitted=fitted, scaling=scaling, order=order, grid="input")
            return shared_by_token.paint_again(tokens, each, chosen, run.card.labels.ignore)

        detail = shared_by_patch.describe(run, work.material, learnt)
        detail["classifier"] = {"on": run.subject.features_are(run.preset.features), "kind": "trained"}
        detail["classifier"] |= {"iterations": fitted.iterations, "converged": fitted.converged}
        rows = given_classes(painted, run.num_classes)
        solver = logistic.describe() | {"in_place_of": "cuML's L-BFGS"}
        return shared_by_pixel.result(run, rows, painted[0], solver, detail=detail, paint=paint)


def predicted(image: ImageTokens, fitted: Logistic, scaling: Scaling | None, order: Order, grid: str) -> Map:
    """Class ids of an image's patches, h×w (`patch`), or of its pixels at the input size (`input`)."""
    ranks = fitted.predict(shared_by_patch.scaled(image.tokens, scaling))[:, None].astype(np.uint16)
    if grid == "patch":
        return order.classes_of(ranks).reshape(image.grid)
    return shared_by_patch.map_of(ranks, image, order)


def label_of(image: ImageTokens, order: Order, grid: str) -> Ids | None:
    """What predictions are counted against: the most frequent class of each patch, h×w, or the label itself."""
    if image.label is None or grid == "input":
        return order.counted(image.label)
    most = majority(shared_by_patch.patches_of(image, order))
    return np.where(order.is_void(most), order.ignore, order.classes_of(most)).astype(np.uint16).reshape(image.grid)


class _Work:
    """What the steps of one run share."""

    def __init__(self, run: Run[LinearPatchesPreset], material: Material) -> None:
        self.run, self.material, self.order = run, material, shared_by_patch.order_of(run)
        preset = run.preset.model_dump(mode="json")
        entries = {key: preset[key] for key in _ENTRIES}
        self.digest = material.digest({"linear-patches": entries, "classes": run.num_classes})

    @functools.cached_property
    def scaling(self) -> Scaling | None:
        """Of the bank's features."""
        return shared_by_patch.scaling_of(self.material, self.run.preset)

    def bank(self, parts: Sequence[shared_by_patch.Part]) -> tuple[Float32, Ids]:
        """All rows of these images' patches, and the class of each."""
        bank = Bank(parts, self.order, self.scaling, self.run.cache, pixels=False)
        return stacked(bank.rows(), len(bank)), bank.majority

    def learnt(self) -> dict[str, Any]:
        """Every strength's mIoU, the chosen one, and the size of the bank, from the cache where it is there."""
        return shared_by_patch.remembered(self.run, "linear-patches", self.digest, self._choose)

    def _choose(self) -> dict[str, Any]:
        train = functools.cache(lambda: self.bank([self.material.train]))
        fitted = {name_of(one): self.fit("train", train, one)[0] for one in self.run.preset.strengths}
        found = self._figures(fitted)
        whole = Bank(self.material.parts, self.order, None, self.run.cache, pixels=False)
        return {"figures": found, "chosen": shared_by_patch.chosen_by_miou(found), "entries": len(whole)}

    def fit(
        self, which: str, bank: Callable[[], tuple[Float32, Ids]], strength: float
    ) -> tuple[Logistic, Scaling | None]:
        """A regression by the preset's entries on `which` bank, and the scaling, from the cache if they are there.

        Each is kept as soon as it is fitted, for a run that is stopped to go on from.
        """
        preset = self.run.preset
        path = self.run.cache / "linear-patches" / f"{self.digest[:24]}-{which}-{name_of(strength)}.npz"
        known = None if self.run.fresh else _read(path)
        if known is None:
            step = self.run.stage(f"fitting, C = {name_of(strength)}")
            fitted = logistic.fit(
                *bank(),
                strength,
                iterations=preset.iterations,
                tolerance=preset.tolerance,
                history=preset.history,
                progress=step,
            )
            known = fitted, self.scaling
            _write(path, *known)
        return known

    def _figures(self, fitted: dict[str, Logistic]) -> dict[str, float]:
        """mIoU of each regression, percent, on the images that settings are chosen on."""
        classes, grid = self.order.classes, self.run.preset.grid
        tables = {name: np.zeros((classes + 1, classes), np.int64) for name in fitted}
        for image in self.material.val.images():
            label = label_of(image, self.order, grid)
            for name, one in fitted.items():
                if label is not None:
                    found = predicted(image, one, self.scaling, self.order, grid)
                    shared_by_patch.add_to_table(tables[name], found, label, self.order.ignore)
        shared_by_patch.require_counted(next(iter(tables.values())))
        values = shared_by_patch.miou(list(tables.values()), self.run.preset.absent)
        return dict(zip(tables, values, strict=True))

    def whole(self, chosen: str) -> tuple[Logistic, Scaling | None]:
        """The regression on the whole bank with the chosen strength, and the scaling."""
        strength = next(one for one in self.run.preset.strengths if name_of(one) == chosen)
        return self.fit("whole", functools.cache(lambda: self.bank(self.material.parts)), strength)


def name_of(strength: float) -> str:
    """As a record has it."""
    return f"{strength:.6g}"


def _write(path: Path, fitted: Logistic, scaling: Scaling | None) -> None:
    scale = np.stack([scaling.mean, scaling.deviation]) if scaling else np.empty((0, fitted.weights.shape[1]))
    told = np.array([fitted.iterations, fitted.converged], np.int64)
    arrays = {"classes": fitted.classes, "weights": fitted.weights, "bias": fitted.bias, "told": told, "scale": scale}
    save_arrays(path, arrays)


def _read(path: Path) -> tuple[Logistic, Scaling | None] | None:
    """What `_write` wrote; None where it is absent or damaged."""
    arrays = load_arrays(path)
    if arrays is None:
        return None
    try:
        weights, scale = arrays["weights"], arrays["scale"]
        sound = weights.ndim == 2 and weights.shape[:1] == arrays["classes"].shape == arrays["bias"].shape
        if not sound or scale.shape[1:] != weights.shape[1:] or len(scale) not in (0, 2) or len(arrays["told"]) != 2:
            raise ValueError
        iterations, converged = arrays["told"].tolist()
    except (KeyError, ValueError, TypeError, IndexError):
        drop(path)
        return None
    fitted = Logistic(arrays["classes"], weights, arrays["bias"], int(iterations), bool(converged))
    return fitted, Scaling(*scale) if len(scale) else None
