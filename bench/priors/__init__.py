"""Priors: the object masks with which contrastive pre-training starts.

See docs/pre-training.md#object-masks.

For training, `open_priors(folder, samples)` finds the samples that have a mask, and `read_mask(path, size)` reads one.
"""

from __future__ import annotations

from bench.priors.masks import read_mask
from bench.priors.reader import Priors, open_priors

__all__ = ["Priors", "open_priors", "read_mask"]
