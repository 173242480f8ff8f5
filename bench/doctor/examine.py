"""Examine: all findings together, as the JSON that `bench doctor --json` prints."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import _version
from bench.base.errors import BenchError
from bench.base.folders import PACKAGE, checkout
from bench.doctor import advisories, machine, packages
from bench.doctor.findings import Finding
from bench.doctor.probe import Probed, probe

if TYPE_CHECKING:
    from bench.doctor.inventory import Roots

SETTINGS = ("BENCH_RESULTS", "BENCH_CACHE", "BENCH_DATA_ROOT", "BENCH_OFFLINE", "BENCH_CONFIG")
"""The environment variables that mean something to `bench`."""
_OTHERS = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "https_proxy", "http_proxy", "no_proxy", "all_proxy")


def examine(
    cache: Path | None,
    results: Path,
    roots: Roots,
    settings: list[dict[str, str]],
    known_problems: Sequence[Finding] = (),
) -> dict[str, Any]:
    """What this machine has. `settings` are those in force, as the command line found them, and so `known_problems`.

    `cache` is None where nobody can say where it is, for want of a package.

    `ok` says whether `bench run` without options would work; what is in its way is in `problems`, what else is odd in
    `notes`.
    """
    problems: list[Finding] = [*known_problems]
    notes: list[Finding] = []
    known = _needs(problems)
    probed = probe(list(dict.fromkeys(p.module for p in known.packages if p.extra is None))) if known else Probed()
    if known:
        problems += filter(None, [packages.python_problem(known.python)])
        problems += packages.problems(known.packages, probed.failures)
        notes += packages.notes(known.packages, probed.failures) + advisories.notes(packages.installed)
    for folder, what, flag in ((cache, "cache", "--cache"), (results, "records", "--results")):
        problems += filter(None, [machine.writable(folder, what, flag)] if folder else [])
    holds = machine.cache(cache) if cache else None
    if cache and holds:
        problems += filter(None, [machine.space_problem(cache, holds["free_bytes"])])
    inventory = _inventory(cache, roots, problems, notes)
    notes += _odd_variables() + _gpu_notes(probed.devices)
    return {
        "ok": not problems,
        "problems": [asdict(finding) for finding in problems],
        "notes": [asdict(finding) for finding in notes],
        "versions": _versions(known, probed),
        "devices": {"processor": machine.processor()} | probed.devices,
        "cache": holds,
        "settings": settings + _variables(),
        "extras": _extras(known, probed.devices.get("torch")),
        **inventory,
    }


def _needs(problems: list[Finding]) -> packages.Needs | None:
    """What is required; None where that cannot be told, which is a problem."""
    try:
        return packages.needs(checkout())
    except ImportError as error:  # PackageNotFoundError is one as well
        what = f"the requirements of bench cannot be read: {error}"
        problems.append(Finding(what, f"pip install packaging {packages.NAME}"))
        return None


def _versions(known: packages.Needs | None, probed: Probed) -> dict[str, Any]:
    return {
        "bench": _version.__version__,
        "from": str(checkout() or PACKAGE),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": [
            {
                "name": p.name,
                "needs": p.needs,
                "installed": p.installed,
                "imports": p.module not in probed.failures,
                "optional": p.optional,
            }
            for p in (known.packages if known else ())
            if p.extra is None
        ],
    }


def _extras(known: packages.Needs | None, torch: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Which extras are whole, what they are for, and how to get them.

    Where torch is a build without CUDA, an extra's packages are named instead: pip would bring CUDA along with `bench`.
    """
    if known is None:
        return []
    found = []
    for name in known.extras():
        own = [p for p in known.packages if p.extra == name]
        missing = [p.name for p in own if p.installed is None or not p.fits]
        wanted = [p.requirement for p in own] if torch and not torch["cuda"] else [f"{packages.NAME}[{name}]"]
        command = shlex.join(["pip", "install", *wanted])
        found.append(
            {"name": name, "there": not missing, "missing": missing, "for": packages.USES.get(name, ""), "how": command}
        )
    return found


def _inventory(cache: Path | None, roots: Roots, problems: list[Finding], notes: list[Finding]) -> dict[str, Any]:
    """Models and data sets; none where the cards cannot be read, which is a problem."""
    empty: dict[str, Any] = {"models": [], "datasets": []}
    if cache is None:
        return empty
    try:
        from bench.doctor import inventory

        found = {"models": inventory.models(cache), "datasets": inventory.datasets(cache, roots)}
        problems += inventory.problems(found["models"], found["datasets"])
        notes += inventory.notes(found["datasets"], roots)
    except BenchError as error:
        problems.append(Finding(error.problem, error.remedy))
        return empty
    except ImportError as error:
        problems.append(Finding(f"the cards cannot be read: {error}", "Correct the packages named above."))
        return empty
    return found


def _variables() -> list[dict[str, str]]:
    """Variables of the environment, not the program's own, that change what it does. A proxy may hold a password."""
    set_ = [name for name in _OTHERS if os.environ.get(name)]
    return [
        {"name": name, "value": "set" if name.endswith("_proxy") else os.environ[name], "source": "environment"}
        for name in set_
    ]


def _odd_variables() -> list[Finding]:
    """Variables that look like settings and are none."""
    odd = [n for n in sorted(os.environ) if n.startswith("BENCH_") and n not in SETTINGS and "_TEST_" not in n]
    return [
        Finding(f"${name} is set, but is not a setting of bench", f"The settings are {', '.join(SETTINGS)}.")
        for name in odd
    ]


def _gpu_notes(devices: Mapping[str, Any], which: Callable[[str], str | None] = shutil.which) -> list[Finding]:
    """GPUs that are there and will not be used."""
    torch, faiss = devices.get("torch"), devices.get("faiss")
    notes = []
    if torch and not torch["gpus"] and which("nvidia-smi"):
        reason = f"built for CUDA {torch['cuda']}" if torch["cuda"] else "built without CUDA"
        notes.append(Finding(f"there is an NVIDIA driver, but torch ({reason}) sees no GPU", "Runs use the CPU."))
    if torch and torch["gpus"] and faiss and not faiss["gpus"]:
        remedy = "Install faiss-gpu" + (" in place of faiss-cpu." if packages.installed("faiss-cpu") else ".")
        notes.append(Finding("torch sees a GPU, faiss does not: K-means runs on the CPU", remedy))
    return notes
