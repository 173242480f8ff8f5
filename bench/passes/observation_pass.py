"""Observe: one streaming forward pass over a split, each image kept as an `Observation`.

See docs/protocols.md#clustering.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput, Warn
from bench.base.sample_columns import Item
from bench.cards.presets import SaliencyPreset
from bench.data.decoding import Label
from bench.data.picture_files import Image8
from bench.data.preprocessing import label_to_input, resize_nearest
from bench.data.samples import Samples
from bench.passes.cache import ShardStore
from bench.passes.engine import Engine
from bench.passes.image_pass import Loaded, pass_over_images
from bench.passes.observations import NO_BANDS, Observation, Observations, stacked
from bench.scoring.boundaries import count_bands

if TYPE_CHECKING:
    from torch import nn

Seen = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], int]
"""Of one image: its prototype (D), its mask on the input grid (H×W), and how many logits are near the threshold."""


def observe(
    network: Callable[[], nn.Module],
    samples: Samples,
    preset: SaliencyPreset,
    store: ShardStore,
    engine: Engine,
    *,
    fresh: bool = False,
) -> Observations:
    """The observations of all samples; only those that `store` lacks are computed.

    `network` is called only when something is left to observe. It must return (embedding B×D×h×w, saliency
    logit B×h×w). What was observed before an error or an interruption stays in the store.
    """
    count = functools.partial(_count, preset=preset, ignore=samples.card.labels.ignore)

    def start() -> Callable[[Sequence[Loaded]], list[Seen]]:
        from bench.passes.prototypes import run_batch

        return functools.partial(run_batch, network(), preset=preset, engine=engine)

    found, meta = pass_over_images(start, count, samples, preset, store, engine, fresh=fresh)
    observations = stacked(samples.ids, found, meta)
    _check_saliency(observations, preset, engine.warn)
    return observations


def _check_saliency(observations: Observations, preset: SaliencyPreset, warn: Warn) -> None:
    empty = int((observations.areas == 0).sum())
    if empty == len(observations):
        raise BadInput(
            f"nothing is salient in any of the {empty} images (no saliency logit exceeds {preset.saliency_threshold})",
            "Check that the saliency head is trained, or change the threshold with --set saliency_threshold=…",
        )
    if empty:
        warn(f"{empty} of {len(observations)} images have no salient pixel; they count, with a zero prototype")


def _count(item: Loaded, seen: Seen, preset: SaliencyPreset, ignore: int) -> Item:
    """Count an image's labels inside and outside its mask, on the label's grid and on the input's."""
    prototype, mask, near = seen
    small = mask.view(np.uint8)
    classes = np.empty(0, np.uint16)
    counts, bands = np.empty((0, 4), np.int32), NO_BANDS
    if item.label is not None:
        at_label = resize_nearest(small, item.label.shape)
        at_input = label_to_input(item.label, preset)
        values = max(256, ignore + 1)  # a label is a class or the ignore id, which is the larger
        grids = ((item.label, at_label), (at_input, small))
        columns = np.concatenate([_inside_outside(label, side, values) for label, side in grids], axis=1)
        columns[ignore] = 0
        classes = np.flatnonzero(columns.any(axis=1)).astype(np.uint16)
        counts = columns[classes].astype(np.int32)
        if preset.counts_boundaries:
            bands = count_bands(item.label, at_label)[classes].astype(np.int32)
    area = int(small.sum())
    return Observation(prototype, area, near, item.size, classes, counts, item.digest, np.packbits(mask), bands).item()


def _inside_outside(label: Label, mask: Image8, values: int) -> npt.NDArray[np.int64]:
    """`values`×2: how often each label value occurs under the mask and outside it."""
    wide: Any = np.uint16 if values <= 1 << 15 else np.uint32
    joint = np.bincount((label.astype(wide) * 2 + mask).reshape(-1), minlength=2 * values)
    return joint.reshape(values, 2)[:, ::-1]
