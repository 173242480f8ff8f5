"""The query network, the momentum network that follows it, and the queue of earlier prototypes.

See docs/pre-training.md#the-method.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.networks.architectures import MaskContrastNetwork
from bench.pretrain import distributed
from bench.pretrain.losses import contrast_logits, contrastive_loss, prototypes, query_pixels, saliency_loss


class Losses(NamedTuple):
    """What one step gives, each a scalar of this rank's own batch."""

    total: Tensor
    contrastive: Tensor
    saliency: Tensor
    accuracy: Tensor
    """The share of query pixels that are nearest to their own image's prototype."""


class MomentumContrast(nn.Module):
    """The module that is trained. Its state, under the prefix `module.`, is the authors' file format."""

    queue: Tensor
    queue_ptr: Tensor

    def __init__(
        self,
        network: MaskContrastNetwork,
        *,
        queue: int = 128,
        momentum: float = 0.999,
        temperature: float = 0.5,
        contrast_stride: int = 1,
        contrast_weight: float = 1.0,
        saliency_weight: float = 1.0,
        frozen: Sequence[str] = (),
    ) -> None:
        """`frozen` names parts of the backbone that are not trained; `queue` is the number K of negatives.

        `contrast_stride` thins the pixels that are contrasted to every n-th row and column of a view; 1, all
        of them, is the published recipe.
        """
        super().__init__()
        self.momentum = momentum
        self.temperature = temperature
        self.contrast_stride = contrast_stride
        self.contrast_weight = contrast_weight
        self.saliency_weight = saliency_weight
        self.frozen = tuple(frozen)
        self.model_q = network.requires_grad_(True)
        for part in self._frozen_parts(network):
            part.requires_grad_(False)
        self.model_k = copy.deepcopy(network).requires_grad_(False)
        dimensions = network.architecture.embedding
        self.register_buffer("queue", F.normalize(torch.randn(dimensions, queue), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))
        self.train()

    def _frozen_parts(self, network: MaskContrastNetwork) -> list[nn.Module]:
        return [network.backbone.get_submodule(name) for name in self.frozen]

    def train(self, mode: bool = True) -> MomentumContrast:
        """As `nn.Module.train`, but batch norms of frozen parts stay in eval mode, in both networks."""
        super().train(mode)
        for network in (self.model_q, self.model_k):
            for part in self._frozen_parts(network):
                part.eval()
        return self

    def forward(self, query: Tensor, key: Tensor, query_masks: Tensor, key_masks: Tensor) -> Losses:
        """Losses of one batch of two views, B×3×S×S float32 with masks B×S×S bool; moves f_k and the queue.

        In-batch prototypes, class weights and the saliency loss's balance are this rank's own.
        """
        embedding, logit = self.model_q(query)
        saliency = saliency_loss(_enlarge(logit[:, None].float(), query.shape[-2:])[:, 0], query_masks)
        with torch.no_grad():
            self._follow()
            positives = self._key_prototypes(key, key_masks)
        thin = self._thin(query_masks)
        pixels, targets = query_pixels(_enlarge(embedding.float(), thin.shape[-2:]), thin)
        logits = contrast_logits(pixels, positives, self.queue.clone(), self.temperature)
        contrastive = contrastive_loss(logits, targets)
        self._enqueue(positives)
        total = self.contrast_weight * contrastive + self.saliency_weight * saliency
        accuracy = (logits.detach().argmax(1) == targets).float().mean().nan_to_num()  # 0 of no pixels
        return Losses(total, contrastive.detach(), saliency.detach(), accuracy)

    def _thin(self, masks: Tensor) -> Tensor:
        """The masks on the grid of contrasted pixels."""
        step = self.contrast_stride
        return masks[:, step // 2 :: step, step // 2 :: step]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the parameters of f_k towards those of f_q. Batch-norm buffers of f_k run on their own."""
        followers = [parameter.data for parameter in self.model_k.parameters()]
        leaders = [parameter.data for parameter in self.model_q.parameters()]
        torch._foreach_lerp_(followers, leaders, 1 - self.momentum)

    @torch.no_grad()
    def _key_prototypes(self, images: Tensor, masks: Tensor) -> Tensor:
        """B×D prototypes by f_k; the batch is shuffled over all ranks, so that BN statistics give nothing away."""
        shared = distributed.gather(images)
        order = distributed.permutation(len(shared), images.device)
        embedding, _ = self.model_k(distributed.own_part(shared[order]))
        embedding = distributed.own_part(distributed.gather(embedding.float())[order.argsort()])
        thin = self._thin(masks)
        return prototypes(_enlarge(embedding, thin.shape[-2:]), thin)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """Put the prototypes of all ranks into the queue in place of the oldest."""
        keys = distributed.gather(keys)
        start = int(self.queue_ptr)
        self.queue[:, start : start + len(keys)] = keys.T
        self.queue_ptr[0] = (start + len(keys)) % self.queue.shape[1]


def _enlarge(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear upsampling of B×C×h×w maps, as the network's output is defined (docs/protocols.md#network)."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
