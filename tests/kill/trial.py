"""Trial: a command is killed at a step, or its files are damaged. The same again must come to the same, or fail."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.kill.commands import LOG, Command, commands
from tests.kill.faults import POWER_LOSSES, SIGNALS, lose_power
from tests.webserver import WebServer

LEFTOVERS = 16
"""So many temporary files and folders a killed run may leave: one for each of its threads, and some."""


@dataclass
class Bench:
    """Forks commands off a process that has loaded everything (`tests.kill.server`)."""

    base: Path
    process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Bench:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("BENCH_", "GITHUB_"))}
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        own = {"PYTHONPATH": str(ROOT), "HOME": str(self.base)}
        command = [sys.executable, "-m", "tests.kill.server"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=clean | one_thread | own, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._answer() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run(
        self, folder: Path, arguments: tuple[str, ...], at: int = 0, signals: list[int] | None = None, gap: int = 1
    ) -> Done:
        """Run a command in `folder`; where `signals` are given, they are sent from step `at` on."""
        log = self.base / "command.log"
        job = {"folder": str(folder), "arguments": arguments, "log": str(log), "at": at, "signals": signals or []}
        steps = log.with_suffix(".steps")
        steps.unlink(missing_ok=True)
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job | {"gap": gap}) + "\n")
        self.process.stdin.flush()
        code = self._answer()
        count = int(steps.read_text(encoding="utf-8")) if steps.exists() else 0
        return Done(code, log.read_text(encoding="utf-8", errors="replace"), count)

    def _answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    output: str
    steps: int


class Stage:
    """One command: its inputs, how many steps it takes, and what it makes when nothing disturbs it."""

    def __init__(self, bench: Bench, command: Command, web: WebServer) -> None:
        self.bench, self.command = bench, command
        self.template, self.work = bench.base / command.name, bench.base / "work"
        self.template.mkdir()
        command.prepare(self.template, web)
        self.reset()
        self.inputs = {path for path in self.work.rglob("*") if path.is_file()}
        done = bench.run(self.work, command.arguments)
        assert done.code == 0 and done.steps > 20, done
        self.steps, self.expected, self.files = done.steps, command.outcome(self.work), self._files()
        again = bench.run(self.work, command.arguments)
        assert (again.code, command.outcome(self.work)) == (0, self.expected), again

    def reset(self) -> None:
        """The inputs alone, in the same place and with the same times."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.template, self.work)

    def kill(self, name: str, at: int, gap: int) -> str:
        """Kill the command at a step, run it again, and hold what it makes against the undisturbed run."""
        self.reset()
        done = self.bench.run(self.work, self.command.arguments, at, list(SIGNALS[name]), gap)
        first = SIGNALS[name][0]
        told = done.code if done.code in (0, -9) else done.code - 128
        assert told in (0, -9, first), done
        if done.code > 0:
            assert "interrupted; finished work is kept" in done.output or "stopped at once" in done.output, done
            assert "Traceback" not in done.output and "Exception ignored" not in done.output, done
        left = self._temporaries()
        assert len(left) <= (LEFTOVERS if done.code in (-9,) or "at once" in done.output else 0), left
        outcome = self._again()
        return "not reached" if done.code == 0 else outcome

    def lose_power(self, how: str, draw: random.Random, at: int) -> str:
        """Damage the newest files, after a whole run or one that was killed at step `at`, and run the command again."""
        self.reset()
        self.bench.run(self.work, self.command.arguments, at, list(SIGNALS["SIGKILL"]) if at else [])
        lose_power(self.work, self.inputs, how, draw)
        return self._again(lost=LOG)

    def _again(self, lost: str | None = None) -> str:
        done = self.bench.run(self.work, self.command.arguments)
        assert "Traceback" not in done.output and done.code in (0, 3, 4), done
        if done.code:
            assert "error: " in done.output, done
            return "refused"
        found = self.command.outcome(self.work)
        changed = {key for key in found.keys() | self.expected.keys() if found.get(key) != self.expected.get(key)}
        changed -= {key for key in changed if lost and key.startswith(lost) and key not in found}
        assert not changed, (changed, done)
        assert not self._temporaries() and self._files() <= self.files + 4, (self._temporaries(), done)
        return "the same"

    def _temporaries(self) -> list[Path]:
        return [path for path in self.work.rglob(".*.bench-*") if path.suffix in (".tmp", ".old")]

    def _files(self) -> int:
        return sum(path.is_file() for path in self.work.rglob("*"))


def trials(
    base: Path,
    points: int,
    losses: int,
    seed: int,
    names: tuple[str, ...] = (),
    report: Callable[[str], None] | None = None,
) -> tuple[Counter[tuple[str, ...]], list[str]]:
    """Kill commands at `points` random steps in all, and damage the files of others `losses` times.

    Returns how often each came to what, (command, signal or loss, outcome), and what went wrong.
    """
    draw, web, count = random.Random(seed), WebServer(), Counter[tuple[str, ...]]()
    wrong: list[str] = []

    def note(command: str, what: str, trial: Callable[[], str]) -> None:
        try:
            outcome = trial()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other trials go on
            outcome = "WRONG"
            wrong.append(f"{command}, {what}: {type(error).__name__}: {error}")
        count[command, what, outcome] += 1
        if report:
            report(f"{sum(count.values())} {command}, {what}: {wrong[-1] if outcome == 'WRONG' else outcome}")

    chosen = [command for command in commands() if not names or command.name in names]
    with Bench(base) as bench:
        for number, command in enumerate(chosen):
            stage = Stage(bench, command, web)
            for signal in _dealt(list(SIGNALS), points, number, len(chosen)):
                at, gap = draw.randint(1, stage.steps), draw.randint(1, 4)
                note(command.name, signal, partial(stage.kill, signal, at, gap))
            damaged = [one for one in chosen if one.power_loss]
            if command.power_loss:
                for how in _dealt(list(POWER_LOSSES), losses, damaged.index(command), len(damaged)):
                    at = draw.choice((0, 0, draw.randint(1, stage.steps)))
                    note(command.name, how, partial(stage.lose_power, how, draw, at))
            shutil.rmtree(stage.template)
    web.shutdown()
    web.server_close()
    return count, wrong


def _dealt(kinds: list[str], total: int, number: int, of: int) -> list[str]:
    """The share of command `number` among `of` in `total` trials; all commands together go round the kinds."""
    return [kinds[(i * of + number) % len(kinds)] for i in range(total // of + (number < total % of))]
