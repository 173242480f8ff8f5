"""Dense clustering: clusters painted on every pixel, matched to the classes (docs/protocols.md#clustering-dense)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.protocols.clustering_dense.preset import DensePreset
from bench.scoring.cluster_rows import ClusterRows, SeedClusters, agreement
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.id_counts import Painted, matched_classes
from bench.scoring.matching import Mapping
from bench.scoring.metrics import ari, nmi

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Scored:
    """What a scoring hands over."""

    rows: ConfusionRows | ClusterRows
    mappings: tuple[Mapping, ...] = ()
    """Per seed: cluster → class, or −1; none without labels."""
    extra: dict[str, list[float]] = field(default_factory=dict)
    """Further metrics, a value per seed."""


def score(painted: Sequence[Painted], preset: DensePreset, num_classes: int) -> Scored:
    """Rows of what each seed's clusters painted, the background being a class like any other."""
    rows, mappings = matched_classes(painted, preset.matching, num_classes, preset.clusters)
    tables = [one.table(num_classes)[1] for one in painted]
    return Scored(rows, mappings, {"nmi": [nmi(t) for t in tables], "ari": [ari(t) for t in tables]})


def group_pixels(painted: Sequence[Painted], drawn: Iterator[Sequence[Ints]], clusters: int) -> Scored:
    """Without labels, from what each seed's clusters painted; the seeds are compared on the `drawn` pixels."""
    rows = []
    for one in painted:
        table = one.rows()
        rows.append(SeedClusters(table.image, table.predicted, table.count))
    totals = np.bincount(rows[0].image, rows[0].pixels, minlength=len(painted[0].ids)).astype(np.int64)
    found = agreement(drawn, len(painted), clusters)
    return Scored(ClusterRows(painted[0].ids, clusters, tuple(rows), totals), (), found)
