"""Probes: what a cluster probe or a linear one makes of an image's code (docs/protocols.md#stego).

The reference upsamples the code and probes every pixel. A dot product of an upsampled code is the upsampled dot product
of the code, so only numbers of classes are upsampled here, and the length of every pixel's code where it matters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bench.passes.tokens import ImageTokens

if TYPE_CHECKING:
    from torch import Tensor

Float32 = npt.NDArray[np.float32]
Size = tuple[int, int]
SHARPNESS = 2.0
"""The CRF takes softmax(2·cosine) for the probabilities of clusters."""
_AT_ONCE = 64
"""Channels of a code that are upsampled at once."""


@dataclass(frozen=True)
class Probe:
    """One that was learnt."""

    kind: Literal["cosine", "linear"]
    weight: Float32
    """K×D: centroids, or the weights of the classes."""
    bias: Float32
    """K; zeros for centroids."""

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of what it says."""
        return hashlib.sha256(self.kind.encode() + self.weight.tobytes() + self.bias.tobytes()).hexdigest()

    def ids(self, code: Tensor, size: Size) -> npt.NDArray[np.uint16]:
        """Of a code D×h×w the best cluster or class of every pixel of `size`, H×W; of equal ones the first.

        A pixel's cosines are its dot products over one length, so the largest of both is the same.
        """
        from bench.passes.classify import best_class

        return best_class(dots(code, self._weight(code), self._tensor(self.bias, code))[None], size)

    def scores(self, code: Tensor, size: Size) -> Tensor:
        """Cosines or logits K×H×W."""
        if self.kind == "cosine":
            return cosines(code, self._tensor(self.weight, code), size)
        return logits(code, self._tensor(self.weight, code), self._tensor(self.bias, code), size)

    def probabilities(self, code: Tensor, size: Size) -> Float32:
        """K×H×W: softmax(2·cosine), or the softmax of the logits."""
        sharpness = SHARPNESS if self.kind == "cosine" else 1.0
        found: Float32 = (sharpness * self.scores(code, size)).softmax(dim=0).cpu().numpy()
        return found

    def _weight(self, code: Tensor) -> Tensor:
        from bench.passes.features import unit

        weight = self._tensor(self.weight, code)
        return unit(weight, dim=1) if self.kind == "cosine" else weight

    @staticmethod
    def _tensor(values: Float32, like: Tensor) -> Tensor:
        import torch

        return torch.from_numpy(values).to(like)


def dots(code: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """K×h×w: the dot products of a code D×h×w with weights K×D, and the bias K added."""
    import torch.nn.functional as F

    return F.conv2d(code[None], weight[..., None, None], bias)[0]


def logits(code: Tensor, weight: Tensor, bias: Tensor, size: Size) -> Tensor:
    """C×H×W: a 1×1 convolution of a code D×h×w that is upsampled to `size`, bilinear, corners not aligned."""
    from bench.passes.features import upsample

    return upsample(dots(code, weight, bias)[None], size)[0]


def cosines(code: Tensor, centroids: Tensor, size: Size) -> Tensor:
    """K×H×W: of a code D×h×w that is upsampled to `size` (bilinear) and then normalised, with centroids K×D."""
    from bench.passes.features import unit, upsample

    found = upsample(dots(code, unit(centroids, dim=1), centroids.new_zeros(len(centroids)))[None], size)[0]
    return found / lengths(code, size).clamp_min(1e-12)


def lengths(code: Tensor, size: Size) -> Tensor:
    """H×W: the length of every pixel's vector of a code D×h×w that is upsampled to `size`."""
    import torch

    from bench.passes.features import upsample

    total = code.new_zeros(size)
    for part in torch.split(code, _AT_ONCE):
        total += upsample(part[None], size)[0].square().sum(dim=0)
    return total.sqrt()


def code_of(image: ImageTokens, device: str) -> Tensor:
    """The code of an image, D×h×w float32."""
    import torch

    height, width = image.grid
    kept = torch.from_numpy(np.ascontiguousarray(image.tokens)).to(device).float()
    return kept.T.reshape(-1, height, width)


def probed(probe: Probe, image: ImageTokens, device: str) -> npt.NDArray[np.uint16]:
    """The ids of every pixel at the input size, H×W: those of zeros around it are cut off."""
    return probe.ids(code_of(image, device), image.placed.padded)[image.placed.inside]


def probabilities(probe: Probe, image: ImageTokens, device: str) -> Float32:
    """K×H×W probabilities at the input size."""
    return probe.probabilities(code_of(image, device), image.placed.padded)[(..., *image.placed.inside)]
