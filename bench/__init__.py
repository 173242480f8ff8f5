"""bench: evaluates models of unsupervised semantic segmentation. Each figure says how it was made.

`bench.evaluate` does what `bench run` does, and `bench.record` reads the records that it writes. Importing this package
imports neither torch nor pandas.
"""

from __future__ import annotations

from typing import Any

from bench._version import __version__

__all__ = ["__version__", "evaluate", "record"]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        from bench.runs.run import evaluate

        return evaluate
    if name == "record":
        from bench.records import record

        return record
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
