"""Forward: the features of a batch, by the geometry of its preset (docs/protocols.md#geometry)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cards.presets import GeometryPreset, ImagePreset
from bench.passes.engine import Engine, arithmetic, call
from bench.passes.features import Features, feature_map, fill_up, upsample
from bench.passes.image_pass import Loaded, require_finite, to_device

if TYPE_CHECKING:
    from torch import Tensor


def features_of(batch: Sequence[Loaded], extract: Features, preset: ImagePreset, engine: Engine) -> list[Tensor]:
    """Of each image D×h×w float32, on the engine's device. Images of other sizes than the first go one by one.

    Raises BadInput naming the image where a feature is not finite.
    """
    import torch

    alike = len({item.image.shape for item in batch}) == 1
    with torch.inference_mode():
        parts = [batch] if alike else [[item] for item in batch]
        found = [feature for part in parts for feature in _of_one_size(part, extract, preset, engine)]
        for item, feature in zip(batch, found, strict=True):
            require_finite(item.sample.image, bool(torch.isfinite(feature).all()))
    return found


def _of_one_size(batch: Sequence[Loaded], extract: Features, preset: ImagePreset, engine: Engine) -> list[Tensor]:
    with arithmetic(engine):
        images = padded(to_device(batch, preset, engine), preset)
        found = see(images, extract, preset)
    return list(found.float())


def padded(images: Tensor, preset: ImagePreset) -> Tensor:
    """Normalised images B×3×H×W with the zeros that their placement asks for."""
    if not isinstance(preset, GeometryPreset) or preset.fit == "squash":
        return images
    return fill_up(images, preset.multiple, preset.pad)


def see(images: Tensor, extract: Features, preset: ImagePreset) -> Tensor:
    """B×D×h×w features of B×3×H×W images, the mean over mirror image and scales where the preset asks for them."""
    if not isinstance(preset, GeometryPreset):
        return feature_map(call(extract, images), images)
    grids = [_at_scale(images, scale, extract, preset) for scale in preset.scales]
    if len(grids) == 1:
        return grids[0]
    total = grids[0]
    for grid in grids[1:]:
        total = total + upsample(grid, (total.shape[-2], total.shape[-1]))
    return total / len(grids)


def _at_scale(images: Tensor, scale: float, extract: Features, preset: GeometryPreset) -> Tensor:
    if scale != 1:
        multiple = preset.multiple or 1
        height, width = (max(1, round(side * scale / multiple)) * multiple for side in images.shape[-2:])
        images = upsample(images, (height, width))
    found = feature_map(call(extract, images), images)
    if preset.mirror:
        found = (found + feature_map(call(extract, images.flip(-1)), images).flip(-1)) / 2
    return found
