"""Sources: where the files of a library's network are, for `bench download`; nothing is fetched here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HubFiles:
    """Files of a repository of the Hugging Face hub."""

    repository: str
    """Its owner and name: `timm/vit_small_patch14_dinov2.lvd142m`."""
    revision: str | None
    """A commit, a branch or a tag; None: `main`, as it was when it was first fetched."""
    choose: Callable[[Sequence[str]], Sequence[str]]
    """Of all the names of its files those that are wanted. Raises BadInput where what is needed is not among them."""
    licence: str


@dataclass(frozen=True)
class WebFile:
    """A file at an address."""

    url: str
    page: str
    """Where a person finds it with a browser."""
    path: Path
    licence: str
    sha256: str | None = None
    """Published: the whole hash, or how it begins."""
    unpacked: Path | None = None
    """For an archive: the folder that its content becomes."""


Source = HubFiles | WebFile
Fetch = Callable[[WebFile], None]
"""Brings a file to its path."""
