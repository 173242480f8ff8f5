"""Watched: the shape of what is read of a network, kept so that a run that finds all else in the cache can tell it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import Warn
from bench.cards.presets import ImagePreset, Preset
from bench.networks import known_weights
from bench.networks.reading.reader import Read

if TYPE_CHECKING:
    from torch import Tensor

Receipt = dict[str, Any]
"""What the shape is kept under: all that decides it, as plain JSON values."""


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


_STEADY, _STEADY_IN_HALF = 0.01, 0.1
"""How far the features of one image may lie apart in two batches, of the largest: more is no rounding, of float32 or of
half precision."""

_FLOAT32 = 4
"""Bytes of a number."""


class Watched:
    """Features of a network; the shape of the first batch's is kept in `seen` and in the cache.

    `warn` is told of a network that gives an image of the first batch other features when it sees it alone.
    """

    def __init__(
        self, read: Read, receipt: Receipt, cache: Path, seen: dict[str, ShapeRead], warn: Warn | None = None
    ) -> None:
        self.read, self.receipt, self.cache, self.seen, self.warn = read, receipt, cache, seen, warn

    def __call__(self, images: Tensor) -> Any:
        """As `read`."""
        output = self.read(images)
        shape = getattr(output, "shape", ())
        if len(shape) == 4:
            if "shape" not in self.seen:
                self.seen["shape"] = ShapeRead(tuple(shape[1:]), tuple(images.shape[2:]))
                known_weights.keep(self.cache, self.receipt, asdict(self.seen["shape"]))
            if self.warn is not None and bool(images.any()):  # the network sees nothing where memory is measured
                self._look_again(images, output, self.warn)
                self.warn = None
        return output

    def _look_again(self, images: Tensor, output: Tensor, warn: Warn) -> None:
        import torch

        try:
            alone = self.read(images[:1])
        except Exception:  # noqa: BLE001  # a network of one batch size fails by itself on the last batch
            return
        if getattr(alone, "shape", None) != output[:1].shape:
            return
        largest = float(output[:1].abs().max())
        apart = float((alone.float() - output[:1].float()).abs().max())
        half = output.element_size() < _FLOAT32 or torch.is_autocast_enabled(images.device.type)
        if apart > (_STEADY_IN_HALF if half else _STEADY) * largest:
            warn(
                "the network gives an image other features when it sees it again, alone (they differ by "
                f"{apart / largest:.0%} of the largest): the figure depends on the batch size, or on chance"
            )


def known_shape(cache: Path, receipt: Receipt) -> ShapeRead | None:
    """What was kept of a network under this receipt."""
    kept = known_weights.find(cache, receipt) or {}
    shape = [kept.get(name) for name in ("features", "input")]
    if any(not isinstance(one, list) or not all(isinstance(side, int) and side > 0 for side in one) for one in shape):
        return None
    return ShapeRead(tuple(shape[0]), tuple(shape[1])) if (len(shape[0]), len(shape[1])) == (3, 2) else None  # type: ignore[arg-type]


def receipt(key: str, protocol: str, preset: Preset, data: tuple[str, str]) -> Receipt:
    """What the shape of a network's features in a run is kept under; `data` are data set and split.

    Each protocol reads what it does of a network, and frames of video have any width.
    """
    read = {name: getattr(preset, name, None) for name in ("features", "output_stride", "input", "height", "multiple")}
    # what came later has a part only where a preset has it: what was kept before stays known
    read |= {name: getattr(preset, name) for name in ("longer_side", "mask") if name in type(preset).model_fields}
    of = [] if isinstance(preset, ImagePreset) else [*data]
    return {"shape of": key, "protocol": protocol, "read": read, "data": of}
