"""Names: from the names in records and cards to file names, addresses, and words for readers.

Anybody can write these names. File names have only lower-case ASCII. A name that was changed for this gets a hash of
the original: two names never share a page, not even on a file system that ignores case.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from urllib.parse import quote, urlsplit

from bench.scoring.metric_names import METRICS

_LONGEST = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
"""Names that Windows keeps for devices, whatever their ending."""


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
