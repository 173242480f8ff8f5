"""Metric names: the names of metrics for readers, by their keys in records, and their order."""

from __future__ import annotations

METRICS = {
    "mIoU": "mIoU",
    "JF_mean": "J&F",
    "J_mean": "J mean",
    "F_mean": "F mean",
    "max_f": "max F",
    "corloc": "CorLoc",
    "iou": "IoU of the foreground",
    "accuracy": "Accuracy",
    "pixel_accuracy": "Pixel accuracy",
    "mean_class_accuracy": "Mean class accuracy",
    "boundary_mIoU": "Boundary mIoU",
    "f_measure": "F-measure",
    "image_accuracy": "Image accuracy",
    "mDice": "mDice",
    "mFscore": "mFscore",
    "nmi": "NMI",
    "ari": "ARI",
    "mIoU_s": "mIoU, small",
    "mIoU_ms": "mIoU, medium small",
    "mIoU_ml": "mIoU, medium large",
    "mIoU_l": "mIoU, large",
    "boundary_mIoU_s": "Boundary mIoU, small",
    "boundary_mIoU_ms": "Boundary mIoU, medium small",
    "boundary_mIoU_ml": "Boundary mIoU, medium large",
    "boundary_mIoU_l": "Boundary mIoU, large",
    "mIoU_last_epoch": "mIoU, last epoch",
    "mIoU_without_crf": "mIoU, without CRF",
    "mIoU_without_matching": "mIoU, without matching",
    "mIoU_matched": "mIoU, matched",
    "J_recall": "J recall",
    "J_decay": "J decay",
    "F_recall": "F recall",
    "F_decay": "F decay",
    "f_half": "F at .5",
    "mean_f": "mean F",
    "adaptive_f": "adaptive F",
    "mae": "Mean absolute error",
    "box_iou": "IoU of the box",
    "seed_ari": "Agreement of seeds, ARI",
    "seed_nmi": "Agreement of seeds, NMI",
    "salient_share": "Salient pixels",
    "cluster_evenness": "Evenness of clusters",
    "largest_cluster": "Largest cluster",
}
"""Metric key → what readers see; the first that a benchmark has is what it is ranked by."""

MEANINGS = {
    "mIoU": "mean over classes of TP / (TP + FP + FN), counted in pixels",
    "JF_mean": "mean of J mean and F mean",
    "J_mean": "IoU of an object's mask, mean over its frames",
    "F_mean": "F-measure of the mask's boundary, within 0.008 of the image's diagonal, mean over frames",
    "max_f": "F of the foreground at the best threshold: β² and which mean comes first are the definition's",
    "corloc": "share of the images whose one predicted box has an IoU of at least 0.5 with any annotated box",
    "iou": "IoU of the foreground where the prediction exceeds 0.5, mean over images",
    "accuracy": "share of an image's pixels that are right where the prediction exceeds 0.5, mean over images",
    "pixel_accuracy": "share of the labelled pixels that have the right class, over all classes",
    "mean_class_accuracy": "mean over the classes that have labelled pixels of the share that is right",
    "boundary_mIoU": "as mIoU, of the pixels along boundaries, in a band of 3 % of the image's diagonal",
    "f_measure": "F-measure of all objects against the background, with β² = 0.3, mean over images",
    "image_accuracy": "share of the images whose largest predicted object is of a class that they have",
    "mDice": "mean over classes of 2 TP / (2 TP + FP + FN), counted in pixels",
    "mFscore": "as mDice, but a class that is never right is left out of the mean",
    "nmi": "normalised mutual information of clusters and classes over pixels, by the mean of the two entropies",
    "ari": "adjusted Rand index of clusters and classes over pixels; 0 is chance",
    "mIoU_s": "mIoU of objects of up to 5 % of their image's labelled pixels, with their background",
    "mIoU_ms": "mIoU of objects of over 5 up to 25 % of their image's labelled pixels, with their background",
    "mIoU_ml": "mIoU of objects of over 25 up to 50 % of their image's labelled pixels, with their background",
    "mIoU_l": "mIoU of objects of over 50 % of their image's labelled pixels, with their background",
    "mIoU_last_epoch": "mIoU of the classifier after its last epoch, without CRF",
    "mIoU_without_crf": "mIoU of the same classifier before the CRF",
    "mIoU_without_matching": "mIoU of the predicted classes as they are, without a matching of them to classes",
    "mIoU_matched": "mIoU after a one-to-one matching of predicted classes to classes by the largest sum of IoU",
    "J_recall": "share of an object's frames with J above 0.5",
    "J_decay": "J of the first quarter of an object's frames minus that of the last",
    "F_recall": "share of an object's frames with F above 0.5",
    "F_decay": "F of the first quarter of an object's frames minus that of the last",
    "f_half": "F of the foreground where the prediction exceeds 0.5, mean over images (SelfMask's f_measure)",
    "mean_f": "F of the foreground, mean over 256 thresholds and over images (pysodmetrics)",
    "adaptive_f": "F of the foreground at twice the prediction's mean, mean over images (SelfMask's f_mean)",
    "mae": "mean of |prediction − annotation|, of 0 to 100, over an image's pixels, then over images",
    "box_iou": "IoU of the predicted box with the annotated box that it fits best, mean over images",
    "seed_ari": "adjusted Rand index of one seed's clusters with every other seed's, mean; needs no labels",
    "seed_nmi": "normalised mutual information of one seed's clusters with every other seed's, mean; needs no labels",
    "salient_share": "share of all pixels at the input size that are salient",
    "cluster_evenness": "entropy of the clusters' sizes over that of equal ones: 100 where all are of one size",
    "largest_cluster": "share of the largest cluster",
}
"""Metric key → what it is, in a line (docs/protocols.md#metrics); of the figures of ImageNet-S those by size too."""
_BY_SIZE = "boundary_"
"""Before the name of mIoU by size, that of the boundaries."""

FALLING = ("J_decay", "F_decay", "mae")
"""Metrics of which less is better."""


def metric_name(metric: str) -> str:
    """A metric as readers know it; an unknown one by its key."""
    return METRICS.get(metric, metric)


def metric_meaning(metric: str) -> str:
    """What a metric is, in a line."""
    if metric in MEANINGS:
        return MEANINGS[metric]
    if metric.startswith(_BY_SIZE) and metric.removeprefix(_BY_SIZE) in MEANINGS:
        return f"along boundaries: {MEANINGS[metric.removeprefix(_BY_SIZE)]}"
    return "a metric that this version does not know"


def metric_order(metric: str) -> tuple[int, str]:
    """Sort key: the customary metrics first, others by name."""
    known = list(METRICS)
    return (known.index(metric) if metric in METRICS else len(known), metric)
