"""The errors that a user sees: one line names the problem, one line names the remedy.

Every expected failure is a `BenchError`; its `exit_code` is what `bench` returns to the shell:
2 a wrong name or option, 3 bad input, 4 the environment, 70 a bug in bench.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from bench.base.escaping import printable

Warn = Callable[[str], None]
"""Takes the text of a warning; the record keeps it too."""


class BenchError(Exception):
    """A failure with a remedy. `str()` gives both, on two lines, and nothing in it acts on a terminal."""

    exit_code = 70

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        problem, remedy = printable(self.problem), printable(self.remedy)
        return f"{problem}\n  {remedy}" if remedy else problem


class WrongName(BenchError):
    """An unknown model, data set, protocol or preset entry, or an option that does not fit."""

    exit_code = 2


class BadInput(BenchError):
    """Data or weights that cannot give a figure: missing, damaged, out of range, not finite."""

    exit_code = 3


class BadEnvironment(BenchError):
    """Disk, permissions, memory, a missing extra, the network."""

    exit_code = 4


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str, also: Iterable[str] = ()) -> WrongName:
    """The error for an unknown `name`, with the nearest known names and the command that lists all.

    Names in `also` may be suggested too; the command does not list them.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [*names, *also], n=3, cutoff=0.4)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    what = "the only one" if len(names) == 1 else f"all {len(names)}"
    return WrongName(f"unknown {kind} '{name}'", f"{guess}`{listing}` shows {what}.")
