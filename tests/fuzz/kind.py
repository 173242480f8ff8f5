"""Kind: what one kind of input consists of, and how what became of an input is judged."""

import contextlib
import io
import re
import shutil
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import click

import bench.cli
from tests.fuzz import mutators
from tests.fuzz.world import World, put_special, rename

CODES = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Done:
    """What the program gave back."""

    code: int
    out: str
    err: str
    value: Any = None
    """What a function returned; None for a command, and where it failed."""
    trace: str = ""
    """Where a bug of the program was raised."""

    @property
    def ok(self) -> bool:
        return self.code == 0


class Kind(ABC):
    """One kind of input; made once a process, with the sound input that all others are made of."""

    name: ClassVar[str]
    may_write: ClassVar[tuple[str, ...]] = ("out", "cache")
    codes: ClassVar[tuple[int, ...]] = (0,)
    """What the program may return for the sound input."""

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    def put(self) -> None:
        """Put the sound input into the world's place."""

    @abstractmethod
    def damage(self, random: Random) -> str:
        """Make another of the input that was put; returns how."""

    @abstractmethod
    def use(self, random: Random) -> Done:
        """Have the program read it."""

    def wrong(self, done: Done, how: str) -> str | None:
        """What this kind knows to be wrong with an outcome that is otherwise in order."""
        return None

    # what most kinds need

    def put_copy(self) -> None:
        shutil.copytree(self.world.sound, self.world.place, dirs_exist_ok=True, symlinks=True)

    def damage_file(
        self, random: Random, path: Path, ways: tuple[mutators.Mutator, ...] = mutators.BYTES, *, special: float = 0.05
    ) -> str:
        """Change a file's bytes, or now and then put something in its place that is no regular file."""
        if random.random() < special:
            return f"{path.name}: " + (put_special if random.random() < 0.7 else rename)(random, path)
        how, data = mutators.changed(random, path.read_bytes(), ways)
        path.write_bytes(data)
        return f"{path.name}: {how}"


# --- running the program ---


_TRACES: list[str] = []
_explain = bench.cli.explain


def _noting(error: Exception, debug: bool) -> int:
    """`explain`, which keeps where a bug was raised: the user is not shown it."""
    code = _explain(error, debug)
    if code == 70:
        _TRACES.append("".join(traceback.format_exception(error)))
    return code


bench.cli.explain = _noting
# what click takes out for a file, it leaves in for a terminal
click.utils.should_strip_ansi = lambda stream=None, color=None: False


def command(*arguments: object) -> Done:
    """`bench …`, as a user calls it, in this process."""
    return _captured(lambda: bench.cli.main([str(argument) for argument in arguments]))


def call(function: Callable[[], Any]) -> Done:
    """A function of the program; its errors are told as the command line tells them."""
    return _captured(function)


def _captured(function: Callable[[], Any]) -> Done:
    _TRACES.clear()
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    code, value = 0, None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            value = function()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        except Exception as error:  # noqa: BLE001 - the edge of the program
            code = bench.cli.explain(error, debug=False)
    said = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))
    return Done(code, *said, value, _TRACES[-1] if _TRACES else "")


# --- judging ---

_OWN = re.compile(r"::(error|warning|notice) title=bench check")
"""The commands to GitHub that the program means."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def problem_of(done: Done, kind: Kind, how: str) -> str | None:
    """What is wrong with an outcome, whatever the input was; None if nothing is."""
    if done.code == 70:
        return f"exit 70\n{done.err.strip()}\n{_end(done.trace)}"
    if "Traceback (most recent call last)" in done.err:
        return f"a traceback\n{_end(done.err)}"
    if done.code not in CODES:
        return f"exit {done.code}\n{done.err[-400:]}"
    if "out of memory" in done.err:
        return f"out of memory\n{done.err[-400:]}"
    if done.code > 1 and not (done.err + done.out).strip():
        return f"exit {done.code} without a word"
    for name, text in (("stdout", done.out.replace("\r\n", "\n")), ("stderr", done.err)):
        if found := _CONTROL.search(text):
            return f"{name} has the control character {found[0]!r}: {text[max(0, found.start() - 60) :][:120]!r}"
        if line := next((line for line in text.split("\n") if line.startswith("::") and not _OWN.match(line)), None):
            return f"{name} has a line that is a command to GitHub: {line[:100]!r}"
    if not how and done.code not in kind.codes:
        return f"the sound input gives exit {done.code}\n{done.err[-400:]}"
    return said_in_files(kind.world.out) or kind.wrong(done, how)


_TEXTS = (".html", ".md", ".json", ".csv", ".tex", ".js")


def said_in_files(folder: Path) -> str | None:
    """What pages and tables that were written must not have: control characters."""
    texts = [path for path in sorted(folder.rglob("*")) if path.suffix in _TEXTS and path.is_file()]
    for path in texts:
        if found := _CONTROL.search(path.read_text(encoding="utf-8")):
            return f"{path.name} has the control character {found[0]!r}"
    return None


def _end(trace: str, lines: int = 7) -> str:
    return "\n".join(line[:200] for line in trace.strip().splitlines()[-lines:])
