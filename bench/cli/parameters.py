"""Kinds of values that options take: paths, and names that may be paths.

What names a place on this machine says so by its kind, so that `bench.cli.configuration` finds all such options.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

import click

from bench.base.errors import BadInput
from bench.base.files import is_endless_file
from bench.base.paths import expand


class Word(click.Choice[str]):
    """One of several words; for another one the nearest is suggested."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What is wrong with a value."""
        near = difflib.get_close_matches(str(value).lower(), map(str, self.choices), n=2, cutoff=0.6)
        guess = f" Did you mean {' or '.join(near)}?" if near else ""
        return f"{super().get_invalid_choice_message(value, ctx)}{guess}"


class Place(click.Path):
    """A path, with `~` written out. With `writes` the command puts a file or folder there; with `appends` it adds to a
    file, and so may write to a pipe or a device."""

    def __init__(
        self,
        *,
        file: bool = True,
        folder: bool = True,
        exists: bool = False,
        writes: bool = False,
        appends: bool = False,
    ) -> None:
        super().__init__(path_type=Path, exists=exists, file_okay=file, dir_okay=folder)
        self.writes = writes or appends
        self._replaces = writes and not appends

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it can be one."""
        path = _expanded(self, value, param, ctx)
        if self._replaces and _is_stream(path):
            self.fail(f"'{path}' is a pipe or a device: name a {'file' if self.file_okay else 'folder'}", param, ctx)
        return super().convert(path, param, ctx)

    def place(self, value: str) -> str | None:
        """The path in a value; None where it has none."""
        return value


class OneOfSeveral(Place):
    """A path of an option that may be given several times. Its variable has one, whatever signs are in it."""

    def split_envvar_value(self, rv: str) -> list[str]:
        """The variable's value as a list."""
        return [rv]


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


def _is_stream(path: Path) -> bool:
    """Whether a file put there would take the place of a pipe or a device, which others use, or of a stream's name."""
    return is_endless_file(path) or re.match(r"/dev/(std(in|out|err)|fd/)|/proc/\w+/fd/", str(path)) is not None


def _expanded(kind: Place | NameOrPath, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
    try:
        return expand(value)
    except BadInput as error:
        kind.fail(error.problem, param, ctx)


class BatchSize(click.IntRange):
    """A number of images, or `auto`."""

    name = "integer or auto"

    def __init__(self) -> None:
        super().__init__(1, 65536)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it can be one."""
        return value if value == "auto" else super().convert(value, param, ctx)
