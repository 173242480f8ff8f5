"""Prototypes: from a batch to prototypes and masks, for clustering and retrieval (docs/protocols.md#clustering)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.base.errors import BadInput
from bench.cards.presets import SaliencyPreset
from bench.passes.engine import Engine, arithmetic, call
from bench.passes.features import unit
from bench.passes.image_pass import Loaded, require_finite, to_device
from bench.passes.observation_pass import Seen

NEAR = 1e-4
"""Logits this close to the threshold may fall on either side of it by rounding."""


def run_batch(network: nn.Module, batch: Sequence[Loaded], preset: SaliencyPreset, engine: Engine) -> list[Seen]:
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
        "Return (embedding B×D×h×w, saliency logit B×h×w); --protocol clustering-dense and linear take an "
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
    prototypes = unit(torch.einsum("bdhw,bhw->bd", embedding, weight), dim=1)
    return prototypes, masks, ((full - threshold).abs() < NEAR).sum((1, 2))


def upsampling(source: int, target: int, like: Tensor) -> Tensor:
    """The target×source matrix of bilinear upsampling along one axis, as torch's own interpolation does it."""
    identity = torch.eye(source, device=like.device, dtype=like.dtype)
    return F.interpolate(identity[None], size=target, mode="linear", align_corners=False)[0].T.contiguous()
