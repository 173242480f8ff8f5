"""Probe: imports heavy libraries in another process, because a broken library can end its process."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SECONDS = 120
"""No import takes so long unless it hangs."""


@dataclass
class Probed:
    """What came of the imports."""

    failures: dict[str, str] = field(default_factory=dict)
    """Module → why it does not import."""
    devices: dict[str, Any] = field(default_factory=dict)
    """Library → what it sees: `torch`, `faiss`, `cv2`."""


def probe(modules: Sequence[str]) -> Probed:
    """Import these modules, and ask torch and faiss for their devices, in a new process with this one's path.

    Where an import ends that process, a further one takes the modules after it.
    """
    found, left = Probed(), list(modules)
    while left:
        told, ending = _run(left)
        current = left[0]
        for line in told:
            current = line["module"]
            if "error" in line:
                left.remove(current)
                if line["error"]:
                    found.failures[current] = line["error"]
                if line["sees"]:
                    found.devices[current] = line["sees"]
        if left:
            dead = current if current in left else left[0]
            left.remove(dead)
            found.failures[dead] = ending
    return found


def _run(modules: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """What a child that imports these modules said, line by line, and how it ended."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - a text is wanted
    command = [sys.executable, "-P", "-c", "from bench.doctor.probe import main; main()", *modules]
    try:
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, timeout=SECONDS, check=False
        )
        output, ending = done.stdout, _ending(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as error:
        output, ending = error.stdout or b"", f"the import did not end within {SECONDS} s"
    told = []
    for line in output.decode(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            told.append(json.loads(line))
    return [line for line in told if isinstance(line, dict) and line.get("module") in modules], ending


def _ending(code: int, stderr: bytes) -> str:
    if code < 0:
        return f"the import ends Python with {signal.Signals(-code).name}"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the import ends Python with code {code}"


def main() -> None:
    """The child: a line before and after each import, for the one that ends the process names itself so."""
    for module in sys.argv[1:]:
        _tell({"module": module})
        error, sees = "", {}
        try:
            library = importlib.import_module(module)
            look = {"torch": _torch, "faiss": _faiss, "cv2": _cv2}.get(module)
            sees = look(library) if look else {}
        except BaseException as failure:  # noqa: BLE001 - whatever a broken library raises is the finding
            error = f"{type(failure).__name__}: {failure}".splitlines()[0]
        _tell({"module": module, "error": error, "sees": sees})


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201 - this is how the child answers


def _torch(torch: Any) -> dict[str, Any]:
    gpus = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            gpus.append({"name": about.name, "memory_bytes": about.total_memory})
    mps = getattr(torch.backends, "mps", None)
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "mps": bool(mps is not None and mps.is_available()),
    }


def _cv2(cv2: Any) -> dict[str, Any]:
    from bench.base.environment import image_resizing

    return image_resizing()


def _faiss(faiss: Any) -> dict[str, Any]:
    faiss.Kmeans  # noqa: B018 - an empty folder of this name imports as well
    count = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    return {"version": faiss.__version__, "threads": faiss.omp_get_max_threads(), "gpus": count}
