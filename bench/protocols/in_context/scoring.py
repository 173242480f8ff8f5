"""In-context labels: from a patch's neighbours to a map of classes, and from maps to rows.

See docs/protocols.md#in-context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used

from bench.data.decoding import Label
from bench.data.placement import Placement
from bench.protocols.in_context.preset import InContextPreset
from bench.protocols.in_context.search import Float32, Places
from bench.protocols.prediction_maps import Map
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.id_counts import Painted, given_classes, matched_classes
from bench.scoring.matching import Mapping
from bench.scoring.metrics import seed_metrics

MATCHED, UNMATCHED = "mIoU_matched", "mIoU_without_matching"
"""The figure beside the main one, by what the main one is not."""


@dataclass(frozen=True)
class Scored:
    """What a scoring hands over."""

    rows: ConfusionRows
    mappings: tuple[Mapping, ...] = ()
    """Per seed: predicted class → class; none without matching."""
    extra: dict[str, list[float]] = field(default_factory=dict)
    """The mIoU with or without matching that the rows do not give, percent, a value per seed."""


def vote_weights(cosines: Float32, beta: float) -> npt.NDArray[np.float64]:
    """N×k weights of N×k neighbours: the softmax over the k of cosine / beta."""
    # against the nearest one: the same shares, and no overflow
    scaled = np.exp((cosines.astype(np.float64) - cosines.max(axis=1, keepdims=True)) / beta)
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def label_hat(cosines: Float32, places: Places, shares: scipy.sparse.csr_array, beta: float) -> Float32:
    """N×C labels of N patches: the weighted mean of the labels of their k neighbours.

    `cosines` and `places` are N×k, as a search gives them; `shares` are M×C, the share of each class in each row of the
    bank.
    """
    patches, neighbours = places.shape
    ends = np.arange(0, patches * neighbours + 1, neighbours)
    weights = vote_weights(cosines, beta).reshape(-1)
    votes = scipy.sparse.csr_array((weights, places.reshape(-1), ends), shape=(patches, shares.shape[0]))
    return (votes @ shares).toarray().astype(np.float32)


def class_scores(hat: Float32, grid: tuple[int, int], placed: Placement) -> Float32:
    """C×H×W at the input size, of N×C labels of the h×w patches of a grid, N = h·w: bilinear, corners not aligned.

    They sum to 1 over the classes: probabilities, from which a CRF may start.
    """
    import torch

    from bench.passes.features import upsample

    planes = torch.from_numpy(np.ascontiguousarray(hat.T)).reshape(1, -1, *grid)
    return upsample(planes, placed.padded)[0].numpy()[(..., *placed.inside)]


def most_likely(hat: Float32, grid: tuple[int, int], placed: Placement) -> Map:
    """H×W classes at the input size: those of the largest `class_scores`, the lowest at a tie.

    A class of which no neighbour has a share is nowhere the largest, so only the others are brought to the input size.
    """
    present = np.flatnonzero((hat > 0).any(axis=0))
    best = class_scores(hat[:, present], grid, placed).argmax(axis=0)
    return present[best].astype(np.uint16)


def counted_label(label: Label, ignored: int | None, ignore: int) -> Label:
    """A label with the pixels of the class `ignored` as void, which is `ignore`."""
    return label if ignored is None else np.where(label == ignored, ignore, label).astype(label.dtype)


def score(painted: Sequence[Painted], preset: InContextPreset, num_classes: int) -> Scored:
    """Rows of predicted classes, one `Painted` per seed: matched to the classes where the preset asks for it.

    The classes matched are all of the data set's, also those that nobody predicted.
    """
    plain = given_classes(painted, num_classes)
    matched, mappings = matched_classes(painted, "one-to-one", num_classes, num_classes)
    if preset.matching == "none":
        return Scored(plain, (), {MATCHED: _figures(matched, preset)})
    return Scored(matched, mappings, {UNMATCHED: _figures(plain, preset)})


def _figures(rows: ConfusionRows, preset: InContextPreset) -> list[float]:
    return [one["mIoU"] for one in seed_metrics(rows, preset.absent)]
