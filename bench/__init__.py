"""bench: measures models of unsupervised semantic segmentation, each figure with its recipe.

`bench.evaluate` is the call under `bench run`, `bench.record` reads what it wrote. Importing this package imports
neither torch nor pandas.
"""

from __future__ import annotations

from typing import Any

from bench._version import __version__

__all__ = ["__version__", "evaluate", "record"]


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        from bench.runs.run import evaluate

        return evaluate
    if name == "record":
        from bench.records import record

        return record
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
