"""Metric names: the names of metrics for readers, by their keys in records, and their order."""

from __future__ import annotations

METRICS = {
    "mIoU": "mIoU",
    "JF_mean": "J&F",
    "J_mean": "J mean",
    "F_mean": "F mean",
    "pixel_accuracy": "Pixel accuracy",
    "mean_class_accuracy": "Mean class accuracy",
    "boundary_mIoU": "Boundary mIoU",
    "f_measure": "F-measure",
    "image_accuracy": "Image accuracy",
    "nmi": "NMI",
    "ari": "ARI",
    "mIoU_s": "mIoU, small",
    "mIoU_ms": "mIoU, medium small",
    "mIoU_ml": "mIoU, medium large",
    "mIoU_l": "mIoU, large",
    "mIoU_last_epoch": "mIoU, last epoch",
    "mIoU_without_crf": "mIoU, without CRF",
    "J_recall": "J recall",
    "J_decay": "J decay",
    "F_recall": "F recall",
    "F_decay": "F decay",
    "seed_ari": "Agreement of seeds, ARI",
    "seed_nmi": "Agreement of seeds, NMI",
    "salient_share": "Salient pixels",
    "cluster_evenness": "Evenness of clusters",
    "largest_cluster": "Largest cluster",
}
"""Metric key → what readers see; the first that a benchmark has is what it is ranked by."""

FALLING = ("J_decay", "F_decay")
"""Metrics of which less is better."""


def metric_name(metric: str) -> str:
    """A metric as readers know it; an unknown one by its key."""
    return METRICS.get(metric, metric)


def metric_order(metric: str) -> tuple[int, str]:
    """Sort key: the customary metrics first, others by name."""
    known = list(METRICS)
    return (known.index(metric) if metric in METRICS else len(known), metric)
