"""Places: the folders of cards, published figures and records. Imports only the standard library."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The checkout's root when `bench` runs from one (setup.cfg lies beside it), else None."""
    return PACKAGE.parent if is_checkout(PACKAGE.parent) else None


def is_checkout(root: Path) -> bool:
    """Whether a folder is a checkout of this project."""
    return (root / "setup.cfg").is_file() and all((root / name).is_dir() for name in ("bench", "models", "datasets"))


def folder(name: str) -> Path:
    """The catalogue's folder `models`, `datasets` or `results`: the checkout's, else the wheel's."""
    return (checkout() or PACKAGE) / name


LOCAL = "local"
"""The folder in a checkout's `results/` that git ignores: a run must not change the records that travel with it."""


def default_records() -> Path:
    """Where records are read: the checkout's `results/`, else `./results`."""
    root = checkout()
    return root / "results" if root else Path("results")


def default_results() -> Path:
    """Where records go: `results/local/` of a checkout, whichever copy runs there; elsewhere `./results`."""
    records = default_records()
    return records / LOCAL if is_checkout(records.parent) else records
