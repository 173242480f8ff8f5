"""Machine: processor, memory, and the content of the cache."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from bench.base.errors import BenchError
from bench.base.files import require_writable
from bench.doctor.findings import Finding

PARTS = {
    "observations": "observations of images (clustering, retrieval)",
    "classified": "predictions of classifiers (linear, clustering-dense)",
    "pixels": "drawn pixels and their centres (clustering-dense)",
    "linear": "trained linear classifiers",
    "tracked": "predicted masks (davis)",
    "foreground": "foregrounds of images (saliency, discovery)",
    "saliency": "counts of foregrounds (saliency)",
    "datasets": "data sets, downloaded and generated",
    "networks": "what is known of weights without opening them",
    "timings": "how long networks take here (reproduce)",
    "weights": "downloaded weights",
    "downloads": "archives, and pinned hashes (pins.json)",
}
"""Folders of the cache. All can be removed; what is needed again is computed or fetched again."""
LITTLE = 500 * 10**6
"""Free bytes below which a run is likely to fail."""


def processor() -> dict[str, Any]:
    """Cores of the machine, those that this process may use, and memory in bytes (None where nobody can say)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {
        "name": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": allowed,
        "memory_bytes": None,
        "available_bytes": None,
    }
    try:
        import psutil

        memory = psutil.virtual_memory()
        found |= {"memory_bytes": memory.total, "available_bytes": memory.available}
    except ImportError:
        pass
    return found


def cache(folder: Path) -> dict[str, Any]:
    """Where the cache is, the bytes free there, and what its parts hold."""
    parts = []
    if folder.is_dir():
        for path in sorted(path for path in folder.iterdir() if path.is_dir()):
            size, files = _measure(path)
            parts.append({"name": path.name, "bytes": size, "files": files, "holds": PARTS.get(path.name, "")})
    return {"folder": str(folder), "free_bytes": shutil.disk_usage(_existing(folder)).free, "parts": parts}


def _measure(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files below a folder; links are not followed, what vanishes meanwhile is left out."""
    size = files = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
                        files += 1
        except OSError:
            continue
    return size, files


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def writable(folder: Path, what: str, flag: str) -> Finding | None:
    """Whether files can be written there. Nothing is created but a file that vanishes at once."""
    where = _existing(folder)
    try:
        require_writable(where, what, flag)
    except BenchError as error:
        return Finding(error.problem.replace(str(where), str(folder), 1), error.remedy)
    return None


def space_problem(folder: Path, free: int) -> Finding | None:
    """Whether the disk is all but full."""
    if free >= LITTLE:
        return None
    return Finding(
        f"{free / 1e6:.0f} MB are free for the cache at {folder}",
        "Free space, give a folder on another disk with --cache, or remove folders of the cache.",
    )
