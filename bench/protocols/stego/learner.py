"""Learner: the steps by which the probes are trained on a frozen code (docs/protocols.md#stego)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.passes.features import upsample

Batch = TypeVar("Batch")


def cluster_loss(code: Tensor, centroids: Tensor) -> Tensor:
    """−mean over the cells of B×D×h×w codes of the largest cosine with K×D centroids."""
    similar = torch.einsum("bdhw,kd->bkhw", F.normalize(code, dim=1), F.normalize(centroids, dim=1))
    return -similar.amax(dim=1).mean()


def linear_loss(code: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Mean cross-entropy of B×D×h×w codes' logits, upsampled to the B×H×W labels; weights are C×D.

    Pixels with a label outside of 0…C−1 count nowhere; without any other the loss is 0.
    """
    return _entropy(code, labels, weight, bias) / _valid(labels, len(weight)).sum().clamp_min(1)


def linear_backward(code: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> float:
    """As `linear_loss`, with its gradient added; image by image, as logits of a whole batch fit no cache."""
    counted = _valid(labels, len(weight)).sum().clamp_min(1)
    total = torch.zeros((), device=code.device)
    for one, wanted in zip(code[:, None], labels[:, None], strict=True):
        loss = _entropy(one, wanted, weight, bias) / counted
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return float(total)


def _entropy(code: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    logits = upsample(F.conv2d(code, weight[..., None, None], bias), tuple(labels.shape[1:]))
    target = torch.where(_valid(labels, len(weight)), labels, -1)
    return F.cross_entropy(logits, target, ignore_index=-1, reduction="sum")


def _valid(labels: Tensor, classes: int) -> Tensor:
    return (labels >= 0) & (labels < classes)


def adam(
    parameters: list[Tensor], batches: Iterable[Batch], backward: Callable[[Batch], float], lr: float
) -> Iterable[float]:
    """Train `parameters` in place, a step for each batch, and give the loss of each step.

    Adam without decay, its other settings as torch has them. `backward` adds the gradient of a batch's loss.
    """
    for one in parameters:
        one.requires_grad_()
    optimiser = torch.optim.Adam(parameters, lr=lr)
    for batch in batches:
        optimiser.zero_grad()
        loss = backward(batch)
        optimiser.step()
        yield loss


def cluster_backward(code: Tensor, centroids: Tensor) -> float:
    """As `cluster_loss`, with its gradient added."""
    loss = cluster_loss(code, centroids)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def fit_cluster(codes: Iterable[Tensor], centroids: Tensor, lr: float) -> Iterable[float]:
    """Train K×D centroids in place on batches of codes B×D×h×w; gives the loss of each step."""
    return adam([centroids], codes, lambda code: cluster_backward(code, centroids), lr)


def fit_linear(batches: Iterable[tuple[Tensor, Tensor]], weight: Tensor, bias: Tensor, lr: float) -> Iterable[float]:
    """Train weights C×D and a bias C in place on batches of codes and labels; gives the loss of each step."""
    return adam([weight, bias], batches, lambda batch: linear_backward(*batch, weight, bias), lr)
