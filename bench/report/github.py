"""GitHub: a check as annotations, and as a step's summary in Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bench.base.errors import BadEnvironment
from bench.base.escaping import markdown_cell, one_line, without_controls
from bench.report.check import COMPARED, Movement, Outcome
from bench.report.formats import render

Kind = Literal["error", "warning", "notice"]

MOST = 10
"""GitHub shows ten errors, ten warnings and ten notices of a step, the first ones."""
SHOWN = 300
"""Lines of the summary's table; GitHub takes 1 MiB of a step."""


def command(kind: Kind, title: str, message: str) -> str:
    """One annotation as a workflow command.

    A message's `%` and line ends are escaped, and a title's `:` and `,` as well; control characters go.
    """
    lines = [one_line(without_controls(line)) for line in message.split("\n")]
    text = "\n".join(lines).replace("%", "%25").replace("\n", "%0A")
    name = one_line(without_controls(title)).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={name}::{text}"


def annotations_of(outcomes: Sequence[Outcome], skipped: Sequence[str], passed: bool, line: str) -> list[str]:
    """Failures as errors, files that were skipped and runs that were not comparable as warnings, the verdict last."""
    failures = [outcome for outcome in outcomes if outcome.fails]
    errors = [command("error", f"bench check: {o.status}", "\n".join(_lines(o))) for o in failures]
    warnings = [command("warning", "bench check: file skipped", problem) for problem in skipped]
    warnings += [
        command("warning", f"bench check: {o.status}", _lines(o)[0])
        for o in outcomes
        if o.status == "not comparable" and not o.fails and o.measured
    ]
    end = command("notice", "bench check: passed", line) if passed else command("error", "bench check: failed", line)
    return [*_at_most(errors, MOST - 1, "error"), *_at_most(warnings, MOST, "warning"), end]


def _at_most(commands: list[str], most: int, kind: Kind) -> list[str]:
    if len(commands) <= most:
        return commands
    more = f"and {len(commands) - most + 1} more, see the log"
    return [*commands[: most - 1], command(kind, "bench check", more)]


def _lines(outcome: Outcome) -> list[str]:
    return [f"{outcome.what}: {outcome.detail}", *map(moved, outcome.movement), *outcome.clusters]


def moved(movement: Movement) -> str:
    """A class's movement in a line; its value alone where there is no earlier one."""
    after = "–" if movement.after is None else f"{movement.after:.1f}"
    return f"{movement.name} {after}" if movement.before is None else f"{movement.name} {movement.before:.1f} → {after}"


def summary(outcomes: Sequence[Outcome], skipped: Sequence[str], passed: bool, line: str) -> str:
    """The check as Markdown: verdict, the classes of every figure that failed, and all that was or was not compared."""
    listed = [o for o in outcomes if o.fails or o.status in COMPARED or o.measured]
    return render(
        "check.md.j2",
        markdown_cell,
        passed=passed,
        line=line,
        skipped=list(skipped)[:SHOWN],
        failures=[o for o in outcomes if o.fails and (o.movement or o.clusters)][: SHOWN // 10],
        outcomes=listed[:SHOWN],
        left_out=len(outcomes) - len(listed[:SHOWN]),
    )


def append(path: Path, text: str) -> None:
    """Add to a summary file; other steps may have written to it. Raises BadEnvironment where it cannot be written."""
    try:
        with open(path, "a", encoding="utf-8", opener=_at_once) as stream:
            stream.write(text)
    except OSError as error:
        problem = f"cannot write the summary to {path}: {error.strerror or error}"
        raise BadEnvironment(problem, "Give a file in an existing folder with --summary.") from error


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody reads is an error and not a wait without end."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    os.set_blocking(handle, True)
    return handle
