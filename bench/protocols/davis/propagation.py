"""Propagation: labels carried from the first frame to the others by the similarity of features.

See docs/protocols.md#davis.

Each feature cell takes a weighted mean of the labels of the most similar cells around it, in the first frame and in
the last few. Nothing older is kept, so memory does not grow with a sequence's length.
"""

from __future__ import annotations

from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.passes.features import unit
from bench.protocols.davis.preset import DavisPreset

_CELLS = 1 << 21
"""Similarities held in memory at once."""
OUTSIDE = -1e4
"""The similarity of what lies outside of the frame: its weight is 0 at any temperature of use."""


class Propagation:
    """The context of one sequence. Features are D×h×w, labels C×h×w shares that sum to 1 in every cell."""

    def __init__(self, features: Tensor, labels: Tensor, preset: DavisPreset) -> None:
        self.preset = preset
        self.height, self.width = features.shape[-2:]
        # a window wider than the frame would only hold more of the outside
        self.rows, self.columns = (min(preset.neighbourhood, side - 1) for side in (self.height, self.width))
        self.first = self._remember(_unit(features), labels.permute(1, 2, 0))
        self.recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=preset.context)

    def step(self, features: Tensor) -> Tensor:
        """The labels C×h×w of the next frame, from its features D×h×w; both then belong to the context."""
        unit = _unit(features)
        step = max(1, _CELLS // (self.width * self._row_window()))
        parts = [self._label(unit, top, min(top + step, self.height)) for top in range(0, self.height, step)]
        labels = torch.cat(parts)
        self.recent.append(self._remember(unit, labels))
        return labels.permute(2, 0, 1)

    def _row_window(self) -> int:
        """How many padded cells one row of cells is compared with."""
        return (2 * self.rows + 1) * (self.width + 2 * self.columns)

    def _remember(self, unit: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and labels, (h + 2·rows)·(w + 2·columns) each, padded with an outside that is like nothing.

        Keys have one more dimension, 0 inside and −10⁴ outside; every cell's query has a 1 there.
        """
        pad = (0, 0, self.columns, self.columns, self.rows, self.rows)
        keys = F.pad(unit, pad)
        outside = F.pad(torch.zeros_like(unit[..., :1]), pad, value=OUTSIDE)
        return torch.cat([keys, outside], dim=-1).contiguous(), F.pad(labels, pad).flatten(0, 1)

    def _label(self, unit: Tensor, top: int, bottom: int) -> Tensor:
        """The labels n×w×C of the rows from `top` to `bottom`, features h×w×D."""
        queries = F.pad(unit[top:bottom], (0, 1), value=1.0)
        found, values = None, None
        for keys, labels in (self.first, *self.recent):
            similar, where = self._nearest(queries, keys, top)
            near = labels[where]
            found = similar if found is None else torch.cat([found, similar], dim=-1)
            values = near if values is None else torch.cat([values, near], dim=-2)
            found, best = found.topk(min(self.preset.top_k, found.shape[-1]), dim=-1)
            values = values.gather(-2, best[..., None].expand(*best.shape, values.shape[-1]))
        assert found is not None and values is not None
        weights = (found / self.preset.temperature).softmax(dim=-1)
        return torch.einsum("nwk,nwkc->nwc", weights, values)

    def _nearest(self, queries: Tensor, keys: Tensor, top: int) -> tuple[Tensor, Tensor]:
        """The most similar cells of one frame, n×w×k: their similarities, and their indices in its padded grid.

        A row of cells is compared with all the rows of its window at once, as one matrix product; of the result a
        cell's own window is a view, since the next cell's lies one further.
        """
        rows, wide = len(queries), self.width + 2 * self.columns
        tall, across, window = 2 * self.rows + 1, 2 * self.columns + 1, self._row_window()
        depth = keys.shape[-1]
        bands = keys.as_strided((rows, window, depth), (wide * depth, depth, 1), top * wide * depth)
        products = torch.bmm(queries, bands.transpose(1, 2))
        own = products.as_strided((rows, self.width, tall, across), (self.width * window, window + 1, wide, 1))
        similar, index = own.flatten(2).topk(min(self.preset.top_k, tall * across), dim=-1)
        y = torch.arange(top, top + rows, device=keys.device)[:, None, None]
        x = torch.arange(self.width, device=keys.device)[None, :, None]
        return similar, (y + index // across) * wide + x + index % across


def _unit(features: Tensor) -> Tensor:
    """D×h×w features as unit vectors, h×w×D float32."""
    return unit(features.float(), dim=0).permute(1, 2, 0).contiguous()


def shares(ids: Tensor, objects: int, size: tuple[int, ...]) -> Tensor:
    """H×W ids → C×h×w, C = objects + 1: the share of each cell's pixels that each id has."""
    one_hot = F.one_hot(ids.clamp(max=objects).long(), objects + 1).permute(2, 0, 1).float()
    return F.interpolate(one_hot[None], size=size, mode="area")[0]


def paint(labels: Tensor, size: tuple[int, ...], *, stretch: bool) -> Tensor:
    """C×h×w shares → H×W ids, uint8: upsampled (bilinear, corners not aligned), then the largest share.

    With `stretch` each id's share first spans 0…1 over the frame.
    """
    fine = F.interpolate(labels[None], size=size, mode="bilinear", align_corners=False)[0]
    if stretch:
        low, high = fine.amin(dim=(1, 2), keepdim=True), fine.amax(dim=(1, 2), keepdim=True)
        # an id that is everywhere alike, or nowhere, has nothing to stretch
        fine = torch.where(high > low, (fine - low) / (high - low).clamp(min=1e-12), fine)
    return fine.argmax(dim=0).to(torch.uint8)
