"""Centres: K-means centres that are found once and kept, so that every split uses the same centres."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.own_files import drop, load_arrays, save_arrays
from bench.base.parallel import Progress
from bench.scoring import kmeans
from bench.scoring.kmeans import Points


def fit_all(
    folder: Path,
    recipe: dict[str, Any],
    keys: Sequence[bytes],
    seeds: Sequence[int],
    points: Callable[[], Points],
    *,
    version: int,
    progress: Progress | None = None,
    gpu: bool = False,
    spherical: bool = False,
    fresh: bool = False,
) -> list[Points]:
    """Per seed the K×D centres of `points()`, as `bench.scoring.kmeans.fit` finds them by `recipe`; kept in `folder`.

    `keys` are those of the samples that the points are of. `points` is called only when a seed's centres are not
    there yet, or with `fresh`; `version` is raised whenever the same call would find others.
    """
    text = json.dumps([recipe, version, gpu], sort_keys=True).encode() + b"".join(keys)
    stem = f"centres-{hashlib.sha256(text).hexdigest()[:16]}"
    read: Points | None = None
    centres = []
    for number, seed in enumerate(seeds, start=1):
        path = folder / f"{stem}-seed-{seed}.npz"
        known = None if fresh else _known(path, recipe["clusters"])
        if known is None:
            read = points() if read is None else read
            known = kmeans.fit(read, recipe, seed, gpu=gpu, spherical=spherical)
            save_arrays(path, {"centres": known})
        centres.append(known)
        if progress:
            progress(number, len(seeds))
    return centres


def _known(path: Path, clusters: int) -> Points | None:
    """Centres that were kept; None where there are none, or none that could be."""
    arrays = load_arrays(path)
    if arrays is None:
        return None
    centres = arrays.get("centres")
    if centres is None or centres.dtype != np.float32 or centres.ndim != 2 or len(centres) != clusters:
        drop(path)
        return None
    return centres
