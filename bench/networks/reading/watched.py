"""Watched: the shape of what is read of a network, kept so that a run that finds all else in the cache can tell it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cards.presets import Preset
from bench.networks import known_weights
from bench.networks.reading.reader import Read

if TYPE_CHECKING:
    from torch import Tensor

Layer = tuple[str | None, int | None]
"""The preset's layer and output stride."""


@dataclass(frozen=True)
class ShapeRead:
    """Of one image."""

    features: tuple[int, ...]
    """D, h, w."""
    input: tuple[int, ...]
    """H, W: of the network's input, pixels."""

    @property
    def stride(self) -> tuple[float, float]:
        """Pixels of the input for each cell, down and across."""
        height, width = (side / cells for side, cells in zip(self.input, self.features[1:], strict=True))
        return round(height, 3), round(width, 3)


class Watched:
    """Features of a network; the shape of the first batch's is kept in `seen` and in the cache."""

    def __init__(self, read: Read, key: str, layer: Layer, cache: Path, seen: dict[str, ShapeRead]) -> None:
        self.read, self.key, self.layer, self.cache, self.seen = read, key, layer, cache, seen

    def __call__(self, images: Tensor) -> Any:
        """As `read`."""
        output = self.read(images)
        shape = getattr(output, "shape", ())
        if "shape" not in self.seen and len(shape) == 4:
            self.seen["shape"] = ShapeRead(tuple(shape[1:]), tuple(images.shape[2:]))
            known_weights.keep(self.cache, _receipt(self.key, self.layer, images.shape[2]), asdict(self.seen["shape"]))
        return output


def known_shape(cache: Path, key: str, layer: Layer, preset: Preset) -> ShapeRead | None:
    """What was kept of a network at the preset's input."""
    height = getattr(preset, "input", (getattr(preset, "height", 0),))[0]
    kept = known_weights.find(cache, _receipt(key, layer, height)) or {}
    shape = [kept.get(name) for name in ("features", "input")]
    if any(not isinstance(one, list) or not all(isinstance(side, int) and side > 0 for side in one) for one in shape):
        return None
    return ShapeRead(tuple(shape[0]), tuple(shape[1])) if (len(shape[0]), len(shape[1])) == (3, 2) else None  # type: ignore[arg-type]


def _receipt(key: str, layer: Layer, height: int) -> dict[str, Any]:
    return {"shape of": key, "layer": layer[0], "output stride": layer[1], "height": height}
