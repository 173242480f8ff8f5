"""The environment of a run, for its record: versions, machine, the checkout's state, memory and time."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from bench._version import __version__
from bench.base.errors import BadEnvironment
from bench.base.folders import checkout

T = TypeVar("T")
_PACKAGES = (
    "torch",
    "torchvision",
    "faiss-gpu",
    "faiss-cpu",
    "scikit-learn",
    "scipy",
    "numpy",
    "pandas",
    "opencv-python-headless",
    "pillow",
)


def environment() -> dict[str, Any]:
    """Python, packages, processor, and the state of the checkout, if it is one."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "bench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "packages": versions,
        "image_resizing": _as_in_a_loader(image_resizing),
        "git": _git_state(),
    }


def torch_version() -> str:
    """What `torch.__version__` says, without the seconds that importing torch takes."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "unknown"
    found = re.search(r"^__version__ = '([^']+)'", Path(spec.origin).with_name("version.py").read_text(), re.MULTILINE)
    return found[1] if found else metadata.version("torch")


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether the processor multiplies bfloat16 by instructions of its own, as Linux says; None where nobody says.

    The names of the flags are those of Linux: arch/x86/include/asm/cpufeatures.h, arch/arm64/kernel/cpuinfo.c.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(lines[0].split()) if lines else None


def whole_number(variable: str) -> int:
    """The value of a variable of the environment, 0 where it is not set. Raises BadEnvironment for what is none."""
    try:
        return int(os.environ.get(variable) or 0)
    except ValueError as error:
        raise BadEnvironment(
            f"${variable} is '{os.environ[variable]}', which is not a whole number", "Correct or unset the variable."
        ) from error


def _as_in_a_loader(ask: Callable[[], T]) -> T:
    """What a new thread answers: OpenCV can be told to leave IPP out, but only one thread at a time."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result()


def image_resizing() -> dict[str, Any]:
    """How OpenCV resizes images in this thread: its version, IPP's, the instructions, a hash of what comes out.

    `ipp` is IPP's version, None where it is not used (Arm, or switched off). `bits` is of a small picture resized:
    machines with the same `bits` take the same way, for `instructions` do not tell all of them apart.
    """
    import cv2
    import numpy as np

    squares = np.arange(97 * 131 * 3, dtype=np.int64) ** 2
    picture = (squares * 7919 // 13 % 256).astype(np.uint8).reshape(97, 131, 3)
    resized = cv2.resize(picture, (512, 512), interpolation=cv2.INTER_CUBIC)
    found = re.match(r"ippIP (.+) (\d\S*) \(", cv2.ipp.getIppVersion()) if cv2.ipp.useIPP() else None
    own = [name for name in cv2.getCPUFeaturesLine().split() if not name.endswith("?")]  # from old to new
    return {
        "library": "opencv",
        "version": cv2.__version__,
        "ipp": found[2] if found else None,
        "instructions": found[1] if found else own[-1].lstrip("*") if own else "none",
        "bits": hashlib.sha256(resized.tobytes()).hexdigest()[:8],
    }


def _git_state() -> dict[str, Any] | None:
    root = checkout()
    if root is None or not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        # records of earlier runs do not make the program another one
        changed = git("status", "--porcelain", "--", ":!results")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, in MB (10^6 bytes)."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset / 1e6)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
