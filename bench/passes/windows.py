"""Windows: a picture seen window by window, and class scores of all windows brought together (sliding window).

See docs/protocols.md#sliding-window. Logits are linear in the features, so what is kept of a picture are the features
of its windows: logits are made of them a few classes at a time, and never lie in memory for all classes at once.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bench.cards.presets import WindowsPreset
from bench.passes.engine import Engine, arithmetic, call
from bench.passes.features import Features, best_of, feature_map, fill_up, upsample
from bench.passes.image_pass import Loaded, require_finite, to_device

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]
_AT_ONCE = 1 << 25
"""Scores in memory at once: of 128 classes at 512×512. Of 920 classes a picture would take 1 GB and more."""


class Box(NamedTuple):
    """A window in a picture, pixels; `bottom` and `right` are the first beyond it."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class View:
    """One view of a picture: at one scale, mirrored or not."""

    grids: Sequence[Tensor]
    """Of each window its features, D×h×w float32."""
    boxes: Sequence[Box]
    size: Size
    """Of the picture in this view, pixels."""
    mirrored: bool = False

    def logits(self, weight: Tensor, bias: Tensor) -> Tensor:
        """k×H×W at the view's size, mirrored back, of k classes: `weight` k×D, `bias` k."""
        import torch.nn.functional as F

        grids = (F.conv2d(grid[None], weight[..., None, None], bias)[0] for grid in self.grids)
        merged = merge(grids, self.boxes, self.size)
        return merged.flip(-1) if self.mirrored else merged


# --- the grid of windows, and what is made of their logits ---


def starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side: max(⌈(side − window) / stride⌉, 0) + 1 of them, the last moved back to the end.

    A side that is shorter than a window has one, at 0. Source: mmsegmentation 1.2.2 (docs/protocols.md#sliding-window).
    """
    count = max(-((window - side) // stride), 0) + 1
    return [max(min(number * stride, side - window), 0) for number in range(count)]


def boxes(size: Size, window: int | None, stride: int) -> list[Box]:
    """The windows over a picture of this size, row by row; one over all of it where `window` is None."""
    height, width = size
    if window is None:
        return [Box(0, 0, height, width)]
    return [
        Box(top, left, min(top + window, height), min(left + window, width))
        for top in starts(height, window, stride)
        for left in starts(width, window, stride)
    ]


def merge(grids: Iterable[Tensor], boxes: Sequence[Box], size: Size) -> Tensor:
    """C×H×W: each window's logits C×h×w upsampled to its box, bilinear, corners not aligned; the mean in overlaps."""
    import torch

    total = count = None
    for grid, box in zip(grids, boxes, strict=True):
        logits = upsample(grid[None], (box.bottom - box.top, box.right - box.left))[0]
        if len(boxes) == 1:
            return logits
        if total is None or count is None:
            total = torch.zeros((len(logits), *size), dtype=logits.dtype, device=logits.device)
            count = torch.zeros(size, dtype=logits.dtype, device=logits.device)
        total[:, box.top : box.bottom, box.left : box.right] += logits
        count[box.top : box.bottom, box.left : box.right] += 1
    assert total is not None and count is not None
    return total / count


def slide(
    image: Tensor, window: int | None, stride: int, classify: Callable[[Tensor], Tensor], multiple: int | None = None
) -> Tensor:
    """C×H×W logits of a normalised picture 3×H×W, the mean over its windows.

    `classify` makes B×C×h×w logits of B×3×H×W windows; each is filled up with zeros to the multiple before, and its
    logits are upsampled to the window without them.
    """
    size = (image.shape[-2], image.shape[-1])
    found = boxes(size, window, stride)
    windows = (image[None, :, box.top : box.bottom, box.left : box.right] for box in found)
    return merge((classify(fill_up(one, multiple))[0] for one in windows), found, size)


# --- a batch of pictures through the network ---


def views_of(batch: Sequence[Loaded], extract: Features, preset: WindowsPreset, engine: Engine) -> list[list[View]]:
    """The views of each picture. Windows of one shape, of whatever picture, go through the network together.

    Raises BadInput naming the picture where a feature is not finite.
    """
    import torch

    found: list[list[View]] = [[] for _ in batch]
    with torch.inference_mode(), arithmetic(engine):
        for scale in preset.scales:
            for mirrored in (False, True)[: 1 + preset.mirror]:
                pictures = [_picture(item, scale, preset, engine, mirrored=mirrored) for item in batch]
                for views, view in zip(found, _seen(pictures, extract, preset, engine, mirrored=mirrored), strict=True):
                    views.append(view)
        for item, views in zip(batch, found, strict=True):
            finite = all(bool(torch.isfinite(grid).all()) for view in views for grid in view.grids)
            require_finite(item.sample.image, finite)
    return found


def _picture(item: Loaded, scale: float, preset: WindowsPreset, engine: Engine, *, mirrored: bool) -> Tensor:
    """A picture, normalised, 3×H×W, at this scale (torch, bilinear)."""
    picture = to_device([item], preset, engine)
    if scale != 1:
        picture = upsample(picture, tuple(max(1, round(side * scale)) for side in picture.shape[-2:]))
    return picture[0].flip(-1) if mirrored else picture[0]


def _seen(
    pictures: Sequence[Tensor], extract: Features, preset: WindowsPreset, engine: Engine, *, mirrored: bool
) -> list[View]:
    sizes = [(picture.shape[-2], picture.shape[-1]) for picture in pictures]
    found = [boxes(size, preset.window, preset.window_stride) for size in sizes]
    windows = [
        picture[:, box.top : box.bottom, box.left : box.right]
        for picture, own in zip(pictures, found, strict=True)
        for box in own
    ]
    grids = iter(_grids(windows, extract, preset, engine))
    return [View([next(grids) for _ in own], own, size, mirrored) for own, size in zip(found, sizes, strict=True)]


def _grids(windows: Sequence[Tensor], extract: Features, preset: WindowsPreset, engine: Engine) -> list[Tensor]:
    """D×h×w float32 of each 3×H×W window, `engine.batch_size` of one shape at once."""
    import torch

    alike: dict[tuple[int, ...], list[int]] = {}
    for number, window in enumerate(windows):
        alike.setdefault(tuple(window.shape), []).append(number)
    found: dict[int, Tensor] = {}
    for numbers in alike.values():
        for start in range(0, len(numbers), engine.batch_size):
            some = numbers[start : start + engine.batch_size]
            images = fill_up(torch.stack([windows[number] for number in some]), preset.multiple, preset.pad)
            found.update(zip(some, feature_map(call(extract, images), images).float(), strict=True))
    return [found[number] for number in range(len(windows))]


# --- from views to a class for every pixel ---


def best_classes(views: Sequence[View], weight: Tensor, bias: Tensor, size: Size, mean: str = "logits") -> Tensor:
    """H×W int64 at `size`: the class that scores highest there by a linear classifier, C×D and C.

    A view's logits are resized to `size` (bilinear, corners not aligned); over several views the `mean` is of logits or
    of probabilities.
    """
    at_once = max(1, _AT_ONCE // (size[0] * size[1]))
    parts = [slice(start, start + at_once) for start in range(0, len(weight), at_once)]

    def logits(view: View, part: slice) -> Tensor:
        return _at(view, weight[part], bias[part], size)

    if mean == "logits" or len(views) == 1:
        return best_of(_total(logits(view, part) for view in views) for part in parts)
    totals = [_log_total(logits(view, part) for part in parts) for view in views]
    return best_of(
        _total((logits(view, part) - total).exp() for view, total in zip(views, totals, strict=True)) for part in parts
    )


def probabilities(views: Sequence[View], weight: Tensor, bias: Tensor, size: Size, mean: str = "logits") -> Tensor:
    """C×H×W at `size`, of all classes: what `best_classes` takes the largest of, as probabilities."""
    logits = (_at(view, weight, bias, size) for view in views)
    if mean == "logits":
        return (_total(logits) / len(views)).softmax(dim=0)
    return _total(one.softmax(dim=0) for one in logits) / len(views)


def _total(parts: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, parts)


def _at(view: View, weight: Tensor, bias: Tensor, size: Size) -> Tensor:
    return upsample(view.logits(weight, bias)[None], size)[0]


def _log_total(parts: Iterator[Tensor]) -> Tensor:
    """H×W: the logarithm of the sum of exponentials over all classes, from k×H×W logits of a few at a time."""
    import torch

    total = next(parts).logsumexp(dim=0)
    for part in parts:
        total = torch.logaddexp(total, part.logsumexp(dim=0))
    return total
