"""Golden run: `bench.evaluate` of the golden figures' ResNet-18 on their images, made once for all tests.

An image takes this network 2 s. So what the run observed is kept, and the features that it was observed from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import bench
from bench.networks.architectures import FeatureNetwork


@dataclass(frozen=True)
class GoldenRun:
    """What the run left in its folder."""

    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def features(self, images: Tensor) -> Tensor:
        """What the network's `features` gave for these images, B×3×512×512 → B×256×64×64."""
        kept = [torch.from_numpy(np.load(self._path(image))) for image in images]
        return torch.stack(kept).to(memory_format=torch.channels_last)

    def make(self, weights: Path, data: Path) -> None:
        """What is clustered here does not matter: another run finds the observations in the cache."""
        plain = FeatureNetwork.features
        (self.folder / "features").mkdir(parents=True)

        def features(network: FeatureNetwork, images: Tensor) -> Tensor:
            found = plain(network, images)
            for image, feature in zip(images, found, strict=True):
                np.save(self._path(image), feature.numpy())
            return found

        entries = {"clusters": 2, "whiten": 0, "restarts": 1}
        with patch.object(FeatureNetwork, "features", features):
            bench.evaluate(
                weights, "pascal-voc", data_root=data, cache=self.cache, entries=entries, num_seeds=1, device="cpu"
            )

    def _path(self, image: Tensor) -> Path:
        return self.folder / "features" / f"{hashlib.sha256(image.numpy().tobytes()).hexdigest()}.npy"
