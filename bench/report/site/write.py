"""Write: a site replaces the earlier one in one step, and replaces nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.base.errors import BadEnvironment, WrongName
from bench.base.files import atomic_folder, display
from bench.base.paths import expand
from bench.records.folders import Results, as_folders

MARKER = ".bench-site"
"""The file that says that a folder is ours to replace."""
OWN = (
    "index.html",
    "models.html",
    "papers.html",
    "protocols.html",
    "matrix.html",
    "assets",
    "benchmarks",
    "models",
    "papers",
    "pictures",
    "protocols",
    "runs",
    MARKER,
)
"""What a site has at its top; anything else there (a `.git`, a `CNAME`) belongs to somebody else and is kept."""


@contextmanager
def replacing(target: Path, results: Results) -> Iterator[Path]:
    """A new folder to build a site in; on success it takes the place of `target`, on failure it vanishes.

    Raises WrongName where `target` is something else than a site or holds the records, BadEnvironment where it cannot
    be written.
    """
    target = expand(target).resolve()
    require_replaceable(target, results)
    try:
        with atomic_folder(target) as built:
            yield built
            (built / MARKER).write_text("Made by `bench report`, which replaces this folder.\n", encoding="utf-8")
            for entry in target.iterdir() if target.is_dir() else ():
                if entry.name not in OWN:
                    _copy(entry, built / entry.name)
    except OSError as error:
        raise BadEnvironment(
            f"cannot write a site to {display(target)}: {error.strerror or error}",
            "Give another folder with --out, or correct its permissions, or free disk space.",
        ) from error


def require_replaceable(target: Path, results: Results) -> None:
    """Raise WrongName for what is no site of ours, and for a folder that holds the records."""
    if target.is_dir():
        if any(target.iterdir()) and not (target / MARKER).is_file():
            raise WrongName(
                f"{display(target)} is a folder that `bench report` did not make",
                "Give a new or an empty folder with --out.",
            )
    elif target.exists():
        raise WrongName(f"{display(target)} is a file", "Give a folder with --out; a site is a folder.")
    if any(folder.resolve().is_relative_to(target) for folder in as_folders(results)):
        raise WrongName(f"{display(target)} holds the records", "Give another folder with --out.")


def _copy(entry: Path, target: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, target, symlinks=True)
    else:
        shutil.copy2(entry, target, follow_symlinks=False)
