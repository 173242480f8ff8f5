"""Kinds of values that options take: paths, and names that may be paths.

What names a place on this machine says so by its kind, so that `bench.cli.configuration` finds all such options.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from bench.base.errors import BadInput
from bench.base.paths import expand


class Place(click.Path):
    """A path, with `~` written out. With `writes` the command writes there."""

    def __init__(self, *, file: bool = True, folder: bool = True, exists: bool = False, writes: bool = False) -> None:
        super().__init__(path_type=Path, exists=exists, file_okay=file, dir_okay=folder)
        self.writes = writes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it can be one."""
        return super().convert(_expanded(self, value, param, ctx), param, ctx)

    def place(self, value: str) -> str | None:
        """The path in a value; None where it has none."""
        return value


class DataRoot(Place):
    """`[ID=]PATH`: where data are read. It stays text; several of them in a variable are separated as in $PATH."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it can be one."""
        text = os.fspath(value)
        _expanded(self, text.partition("=")[2] or text, param, ctx)
        return text

    def place(self, value: str) -> str | None:
        """Data may lie anywhere: nothing is written to them."""
        return None


class NameOrPath(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """An id, or the path of a card or a checkpoint. It stays text."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it can be one."""
        if self.place(str(value)) is not None:
            _expanded(self, str(value), param, ctx)
        return str(value)

    def place(self, value: str) -> str | None:
        """The path in a value; None for an id."""
        return value if "/" in value or os.sep in value or value.startswith("~") else None


class Prose(click.ParamType):  # type: ignore[type-arg]
    """Text that goes into a record."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it can be one."""
        try:
            str(value).encode()
        except UnicodeEncodeError:
            self.fail(f"'{value}' is no text in UTF-8", param, ctx)
        return str(value)


class Deliberate(click.Option):
    """An option that lifts a protection: somebody else's configuration cannot set it."""


def _expanded(kind: Place | NameOrPath, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
    try:
        return expand(value)
    except BadInput as error:
        kind.fail(error.problem, param, ctx)
