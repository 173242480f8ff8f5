"""The two losses: pixels against prototypes, and the saliency logit against the mask.

See docs/pre-training.md#the-method.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CLASS_WEIGHT_OFFSET = 1.02
"""A class with share p of the query pixels weighs 1 / log(1.02 + p)."""


def prototypes(embedding: Tensor, masks: Tensor) -> Tensor:
    """One unit vector per image: the sum over its mask of the pixels' unit embeddings, normalised.

    `embedding` is B×D×h×w float32, `masks` B×h×w bool or float; returns B×D. An empty mask gives zeros.
    """
    return F.normalize(torch.einsum("bdhw,bhw->bd", F.normalize(embedding, dim=1), masks.float()), dim=1)


def query_pixels(embedding: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The unit embeddings of the pixels inside the masks, P×D, and the number of the image of each, P int64.

    Pixels come image by image, row by row. `embedding` is B×D×h×w float32, `masks` B×h×w bool.
    """
    image, row, column = masks.nonzero(as_tuple=True)
    return F.normalize(embedding[image, :, row, column], dim=1), image


def contrast_logits(pixels: Tensor, positives: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """P×(B+K) similarities over the temperature: first with the batch's B prototypes, then with the queue's K.

    `pixels` is P×D, `positives` B×D, `queue` D×K. The target of a pixel is its own image's column.
    """
    return torch.cat([pixels @ positives.T, pixels @ queue], dim=1) / temperature


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """1 / log(1.02 + p) for each of `classes`, p being its share of `targets` (0 where it does not occur)."""
    share = torch.bincount(targets, minlength=classes) / max(1, len(targets))
    return 1 / torch.log(CLASS_WEIGHT_OFFSET + share)


def contrastive_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, the mean weighted by `class_weights`; 0 where there is no pixel to contrast."""
    if not len(targets):
        return logits.sum()  # not a constant: under `torchrun` every parameter needs a gradient
    return F.cross_entropy(logits, targets, weight=class_weights(targets, logits.shape[1]))


def saliency_loss(logit: Tensor, masks: Tensor) -> Tensor:
    """Class-balanced binary cross-entropy of B×H×W logits against B×H×W masks, over the whole batch.

    With w the share of background pixels: (w × sum over foreground + (1 − w) × sum over background) / pixels.
    0 where all masks are foreground, or all background.
    """
    target = masks.to(logit.dtype)
    background = 1 - target.mean()
    weight = target * background + (1 - target) * (1 - background)
    return (weight * F.binary_cross_entropy_with_logits(logit, target, reduction="none")).mean()
