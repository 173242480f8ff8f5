"""Priors: object mask proposals, the pixel-grouping prior that contrastive pre-training starts from.

See docs/pre-training.md#object-masks.

For a trainer: `open_priors(folder, samples)` says which samples have a mask, `read_mask(path, size)` reads
one.
"""

from __future__ import annotations

from bench.priors.masks import read_mask
from bench.priors.reader import Priors, open_priors

__all__ = ["Priors", "open_priors", "read_mask"]
