"""Observe: one streaming forward pass over a split, each image kept as an `Observation` (spec §3, 1-3)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.base.errors import BadInput, Warn
from bench.base.sample_columns import Item
from bench.cards.presets import SaliencyPreset
from bench.data.decoding import Image8, Label
from bench.data.preprocessing import label_to_input, resize_nearest
from bench.data.samples import Samples
from bench.passes.engine import Engine, arithmetic, call
from bench.passes.image_pass import Loaded, pass_over_images, require_finite, to_device
from bench.passes.observations import NO_BANDS, Observation, Observations, stacked
from bench.passes.shards import ShardStore
from bench.scoring.boundaries import count_bands

NEAR = 1e-4
"""Logits this close to the threshold may fall on either side of it by rounding."""


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
        return functools.partial(_run_batch, network(), preset=preset, engine=engine)

    found, meta = pass_over_images(start, count, samples, preset, store, engine, fresh=fresh)
    observations = stacked(samples.ids, found, meta)
    _check_saliency(observations, preset, engine.warn)
    return observations


def _check_saliency(observations: Observations, preset: SaliencyPreset, warn: Warn) -> None:
    empty = int((observations.areas == 0).sum())
    if empty == len(observations):
        raise BadInput(
            f"nothing is salient in any of the {empty} images (no saliency logit exceeds {preset.saliency_threshold})",
            "Is the saliency head trained? The threshold can be changed with --set saliency_threshold=…",
        )
    if empty:
        warn(f"{empty} of {len(observations)} images have no salient pixel; they stay in, with a zero prototype")


Seen = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], int]
"""Of one image: its prototype (D), its mask on the input grid (H×W), and how many logits are near the threshold."""


def _run_batch(network: nn.Module, batch: Sequence[Loaded], preset: SaliencyPreset, engine: Engine) -> list[Seen]:
    """Prototype, mask and near-threshold count of each image."""
    with torch.inference_mode(), arithmetic(engine):
        embedding, logit = check_output(call(network, to_device(batch, preset, engine)), len(batch))
    with torch.inference_mode():
        prototypes, masks, near = summarise(embedding.float(), logit.float(), preset.input, preset.saliency_threshold)
    for item, finite in zip(batch, torch.isfinite(prototypes).all(dim=1).tolist(), strict=True):
        require_finite(item.sample.image, finite)
    return list(zip(prototypes.cpu().numpy(), masks.cpu().numpy(), near.tolist(), strict=True))


def check_output(output: Any, images: int) -> tuple[Tensor, Tensor]:
    """The network's (embedding B×D×h×w, logit B×h×w). Raises BadInput if it returned anything else."""
    if isinstance(output, (tuple, list)) and len(output) == 2:
        embedding, logit = output
        if isinstance(embedding, Tensor) and isinstance(logit, Tensor):
            if logit.ndim == 4 and logit.shape[1] == 1:
                logit = logit[:, 0]
            if embedding.ndim == 4 and logit.ndim == 3 and len(embedding) == len(logit) == images:
                return embedding, logit
    shapes = [
        tuple(o.shape) if isinstance(o, Tensor) else type(o).__name__
        for o in (output if isinstance(output, (tuple, list)) else [output])
    ]
    raise BadInput(
        f"the network returned {shapes}",
        "Expected are (embedding B×D×h×w, saliency logit B×h×w); --protocol clustering-dense and linear take an "
        "embedding alone.",
    )


def summarise(
    embedding: Tensor, logit: Tensor, size: tuple[int, int], threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes B×D, salient masks B×H×W (bool) and near-threshold counts B, from maps of any resolution.

    The prototype is the sum over salient pixels of upsampled embedding × upsampled logit. Upsampling is
    linear, <up(E), S> = <E, upᵀ(S)>, so the one-channel S is brought down instead of the D-channel E up:
    the same sum without a D×H×W tensor per image.
    """
    full = (
        logit
        if logit.shape[-2:] == size
        else F.interpolate(logit[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    )
    masks = full > threshold
    weight = full * masks
    height, width = embedding.shape[-2:]
    if (height, width) != size:
        rows, columns = upsampling(height, size[0], full), upsampling(width, size[1], full)
        weight = rows.T @ weight @ columns
    prototypes = F.normalize(torch.einsum("bdhw,bhw->bd", embedding, weight), dim=1)
    return prototypes, masks, ((full - threshold).abs() < NEAR).sum((1, 2))


def upsampling(source: int, target: int, like: Tensor) -> Tensor:
    """The target×source matrix of bilinear upsampling along one axis, as torch's own interpolation does it."""
    identity = torch.eye(source, device=like.device, dtype=like.dtype)
    return F.interpolate(identity[None], size=target, mode="linear", align_corners=False)[0].T.contiguous()


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
        if getattr(preset, "figures", None) == "imagenet-s":
            bands = count_bands(item.label, at_label)[classes].astype(np.int32)
    area = int(small.sum())
    return Observation(prototype, area, near, item.size, classes, counts, item.digest, np.packbits(mask), bands).item()


def _inside_outside(label: Label, mask: Image8, values: int) -> npt.NDArray[np.int64]:
    """`values`×2: how often each label value occurs under the mask and outside it."""
    wide: Any = np.uint16 if values <= 1 << 15 else np.uint32
    joint = np.bincount((label.astype(wide) * 2 + mask).reshape(-1), minlength=2 * values)
    return joint.reshape(values, 2)[:, ::-1]
