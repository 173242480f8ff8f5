"""Names: how what a record or a card calls a thing becomes a file name, an address, or a word for readers.

Names come from files of anybody. File names are made of lower-case ASCII only, and a name that had to be changed for
that carries a hash of what it was: two names never share a page, not even on a file system that ignores case.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from urllib.parse import quote, urlsplit

_LONGEST = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""Names that Windows keeps for devices, whatever their ending."""

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

PROTOCOLS = ("clustering", "clustering-dense", "linear", "linear+crf", "retrieval-21", "retrieval-7", "davis")
"""The order in which protocols are listed; the first that a benchmark has is its first page."""


def slug(*parts: str) -> str:
    """A file name for a thing that these parts name, without an ending; other parts, another name."""
    text = "--".join(parts)
    safe = _safe(text)
    ambiguous = any("--" in part or part[:1] == "-" or part[-1:] == "-" for part in parts)
    plain = text and safe == text and not ambiguous
    return safe if plain and not _RESERVED.match(safe) else hashed(text, *parts)


def hashed(shown: str, *parts: str) -> str:
    """A file name that shows one text and, by a hash, differs wherever any of the parts does."""
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
    safe = _safe(shown)
    return f"{'x-' if _RESERVED.match(safe) else ''}{safe or 'x'}-{digest}"


def _safe(text: str) -> str:
    """What of a text can stand in a file name: at most 80 lower-case letters, digits and single . _ + -."""
    kept = re.sub(r"[^a-z0-9._+-]+", "-", text.lower())
    kept = re.sub(r"\.{2,}", ".", re.sub(r"-{3,}", "--", kept))
    return kept.strip("-.")[:_LONGEST].rstrip("-.")


def metric_slug(metric: str) -> str:
    """The part of a file name that stands for a metric."""
    return metric.lower().replace("_", "-") if metric in METRICS else slug("metric", metric)


def metric_name(metric: str) -> str:
    """A metric as readers know it; an unknown one by its key."""
    return METRICS.get(metric, metric)


def metric_order(metric: str) -> tuple[int, str]:
    """Sort key: the customary metrics first, others by name."""
    known = list(METRICS)
    return (known.index(metric) if metric in METRICS else len(known), metric)


def protocol_order(protocol: str) -> tuple[int, str]:
    """Sort key: the customary protocols first, others by name."""
    return (PROTOCOLS.index(protocol) if protocol in PROTOCOLS else len(PROTOCOLS), protocol)


def arxiv_url(identifier: str) -> str | None:
    """The page of a paper on arXiv; None where the identifier is none."""
    plain = re.fullmatch(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}(v\d+)?", identifier)
    return f"https://arxiv.org/abs/{quote(identifier)}" if plain else None


def web_url(text: object) -> str | None:
    """A text as the target of a link, if it is an http or https address; None if not."""
    if not isinstance(text, str) or any(sign.isspace() for sign in text):
        return None
    try:
        parts = urlsplit(text)
        return text if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        return None


def points(value: float) -> str:
    """A figure in points: with one decimal where it has no more, as papers print it, else with two."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"


def day(text: str) -> date | None:
    """The day of `YYYY-MM-DD…`, the first of the month of `YYYY-MM`; None for anything else."""
    found = re.fullmatch(r"(\d{4})-(\d{2})(?:-(\d{2}))?", text)
    try:
        return date(int(found[1]), int(found[2]), int(found[3] or 1)) if found else None
    except ValueError:
        return None


def date_text(value: object) -> str:
    """The date at the start of a text, as it stands there; empty where there is none."""
    text = value[:10] if isinstance(value, str) else ""
    return text if day(text) else ""
