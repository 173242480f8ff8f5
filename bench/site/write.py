"""Write: a site takes the place of the former one at once, and of nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BadEnvironment, WrongName
from bench.files import display, shared_mode

MARKER = ".bench-site"
"""The file that says that a folder is ours to replace."""
OWN = (
    "index.html",
    "models.html",
    "papers.html",
    "assets",
    "benchmarks",
    "models",
    "papers",
    "pictures",
    "runs",
    MARKER,
)
"""What a site has at its top; anything else there belongs to somebody else and is kept."""


@contextmanager
def replacing(target: Path, results: Path) -> Iterator[Path]:
    """A new folder to build a site in; on success it takes the place of `target`, on failure it vanishes.

    Raises WrongName where `target` is something else than a site, or holds the records.
    """
    target = target.expanduser().resolve()
    require_replaceable(target, results)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        built = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise BadEnvironment(
            f"cannot write a site to {display(target)}: {error.strerror or error}",
            "Give another folder with --out, or mend its permissions.",
        ) from error
    try:
        yield built
        (built / MARKER).write_text("Made by `bench report`, which replaces this folder.\n", encoding="utf-8")
        built.chmod(shared_mode(0o777))
        _swap(built, target)
    finally:
        shutil.rmtree(built, ignore_errors=True)


def require_replaceable(target: Path, results: Path) -> None:
    """Refuse to replace what is no site of ours."""
    if target.is_dir():
        if any(target.iterdir()) and not (target / MARKER).is_file():
            raise WrongName(
                f"{display(target)} is a folder that `bench report` did not make",
                "Give a new or an empty one with --out.",
            )
    elif target.exists():
        raise WrongName(f"{display(target)} is a file", "A site is a folder: give another name with --out.")
    if results.resolve().is_relative_to(target):
        raise WrongName(f"{display(target)} holds the records", "Give a folder beside them with --out.")


def _swap(built: Path, target: Path) -> None:
    """Put `built` in `target`'s place. What others have put there (a `.git`, a `CNAME`) moves over."""
    old = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=".old", dir=target.parent))
    former = old / "site"
    try:
        if target.exists():
            target.replace(former)
        try:
            built.replace(target)
        except OSError:
            if former.exists():
                former.replace(target)
            raise
        for entry in former.iterdir() if former.exists() else ():
            if entry.name not in OWN:
                entry.replace(target / entry.name)
    finally:
        shutil.rmtree(old, ignore_errors=True)
