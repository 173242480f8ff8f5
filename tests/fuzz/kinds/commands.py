"""Command lines, and the environments that they run in."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from random import Random
from typing import Any

import click

from bench.cli import cli
from tests.fuzz import mutators
from tests.fuzz.kind import Done, Kind, command
from tests.fuzz.kinds.data import put_data
from tests.fuzz.world import NAMES, World

LEFT_OUT = ("doctor",)
"""It takes seconds, and starts processes; a few lines below name it."""
GOOD = {
    "model": ("random-shapes", "maskcontrast-shapes", "./model.toml", "./a.pth"),
    "dataset": ("shapes", "./data.toml", "pascal-voc", "davis", "imagenet-s-50"),
    "protocol": ("clustering", "linear", "retrieval-7", "all", "davis", "clustering-dense"),
    "recipe": ("shapes", "maskcontrast-unsup", "./recipe.toml"),
    "set": ("clusters=2", "input=[32,32]", "x", "=", "a=b=c", "seeds=[1]", "input=[1000000000,1]", "clusters=1e999"),
    "data-root": ("data", "shapes=data", "mine=data", "=data", "=", "mine="),
    "form": ("md", "json"),
}  # fmt: skip
ARGUMENTS = ("random-shapes", "shapes", "./data.toml", "data", "bash", "datasets", "results", "sound", "imagenet-s-50")
TEXTS = tuple(text for text in mutators.TEXT_VALUES if text != "/" and not re.search("^/dev/|canary|^~/x", text))
"""A folder of records may be the whole machine: whoever names it waits. No device of this machine is risked, and what
a command line names may be written."""
SLOW = {
    "run": ("--dry-run",),
    "rerun": ("--dataset", "gone"),
    "train": ("--recipe", "gone"),
    "priors": ("--method", "gone", "--split", "val"),
}
"""What keeps a command from hours of work, after all that was drawn."""


class CommandLines(Kind):
    """Options of all commands with values that fit and that do not."""

    name = "command-lines"
    may_write = ("out", "cache", "place")
    arguments: tuple[str, ...] = ()

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        self.put()

    def put(self) -> None:
        self.put_copy()
        self.arguments = ("list", "datasets")

    def damage(self, random: Random) -> str:
        names = [name for name in cli.commands if name not in LEFT_OUT]
        name, data = random.choice((*names, "run", "run")), self._data(random)
        self.arguments = (name, *_drawn(random, cli.commands[name], data), *SLOW.get(name, ()))
        if random.random() < 0.1:
            cut = random.randrange(len(self.arguments) + 1)
            self.arguments = (*self.arguments[:cut], random.choice(TEXTS), *self.arguments[cut:])
        return " ".join(self.arguments)[:300]

    def _data(self, random: Random) -> str:
        """The name of the folder of data: now and then one that people do not expect, linked to from the card's."""
        if random.random() < 0.7:
            return "data"
        data = self.world.place / "data"
        name = random.choice(NAMES)
        data.rename(data.with_name(name))
        data.symlink_to(name)
        return name

    def use(self, random: Random) -> Done:
        return command(*self.arguments)


def _drawn(random: Random, of: click.Command, data: str) -> list[str]:
    words: list[str] = []
    for parameter in of.params:
        if isinstance(parameter, click.Argument):
            words += [_value(random, parameter, data)] * (random.random() < 0.9)
        elif parameter.required or random.random() < 0.2:
            for _ in range(random.choice((1, 1, 2))):
                words.append(random.choice((*parameter.opts, *parameter.secondary_opts)))
                if not getattr(parameter, "is_flag", False):
                    words.append(_value(random, parameter, data))
    return words


def _value(random: Random, parameter: click.Parameter, data: str) -> str:
    """A value for an option or an argument: one that fits, or any text at all."""
    if random.random() < 0.35:
        return random.choice((*TEXTS, os.fsdecode(b"\xff\xfe"), str(10**400), "1e308", "nan"))
    kind = parameter.type
    if isinstance(kind, click.Choice):
        return str(random.choice(list(kind.choices)))
    if isinstance(kind, click.types.IntParamType):
        return str(random.choice((0, 1, 2, 5, 100, 2**31 - 1, 2**63, -1)))
    option = parameter.opts[-1].lstrip("-")
    if isinstance(kind, click.Path):
        return random.choice(("out", data, data, f"{data}/val.txt", "out/new/deep", "results", ".", "gone"))
    return random.choice((*GOOD.get(option, ARGUMENTS), data))


VARIABLES = (
    "BENCH_CACHE", "BENCH_CONFIG", "BENCH_RESULTS", "BENCH_DATA_ROOT", "HOME", "TMPDIR", "COLUMNS", "LINES", "NO_COLOR",
    "FORCE_COLOR", "LANG", "LC_ALL", "TERM", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "GITHUB_ACTIONS",
    "CUDA_VISIBLE_DEVICES", "GITHUB_STEP_SUMMARY", "OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE",
    "PYTHONWARNINGS", "https_proxy", "COMP_WORDS", "COMP_CWORD", "TZ", "PATH", "SOURCE_DATE_EPOCH",
)  # fmt: skip
VALUES = (
    "", " ", "0", "-1", "1", "x", "true", "~nosuchuser/x", "~", "/", "data", "data/val.txt", "/dev/null", "/dev/full",
    "/dev/zero", "\x1b[2J", "a\n::error::b", os.fsdecode(b"\xff\xfe"), "x" * 5000, "9" * 5000, "shapes=data:=:a=b", "C",
    "en_US.UTF-8", "POSIX", "http://[::1", "://", "../canary/x", "é", "\u202e",
)  # fmt: skip
OWN = {
    "BENCH_RESULTS": tuple(value for value in VALUES if value != "/"),
}
COMMANDS = (
    ("list", "datasets"), ("list", "models", "--json"), ("show", "shapes"), ("show", "./data.toml"), ("report",),
    ("check",), ("run", "--dataset", "./data.toml", "--model", "random-shapes", "--dry-run"), ("list", "results"),
    ("--help",), ("download", "pascal-voc", "--list"), ("completion", "bash"), ("report", "--format", "json"),
)  # fmt: skip
STREAMS = (
    "", "{} >&-", "{} 2>&-", "{} >&- 2>&-", "{} <&-", "{} | head -c 1", "{} >/dev/full", "{} 2>/dev/full",
    "PYTHONIOENCODING=cp1252 {}", "PYTHONIOENCODING=ascii {}", "PYTHONWARNINGS=error {}", "PYTHONUTF8=0 LC_ALL=C {}",
    "PYTHONOPTIMIZE=2 {}", "ulimit -n 12; {}",
)  # fmt: skip
A_PROCESS = 0.04
"""Share of the inputs that start a process of their own: what the streams are is nothing that this one can change."""


class Environments(Kind):
    name = "environments"
    may_write = ("out", "cache", "place", "home")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        self.variables: dict[str, str] = {}
        self.arguments, self.streams = COMMANDS[0], ""

    def put(self) -> None:
        self.put_copy()
        self.variables, self.arguments, self.streams = {}, COMMANDS[0], ""

    def damage(self, random: Random) -> str:
        self.arguments = random.choice(COMMANDS)
        if random.random() < A_PROCESS:
            self.streams = random.choice(STREAMS[1:])
        else:
            names = random.sample(VARIABLES, random.choice((1, 1, 2, 4)))
            self.variables = {name: random.choice(OWN.get(name, VALUES)) for name in names}
        return f"{self.variables} {self.streams} {' '.join(self.arguments)}"[:300]

    def use(self, random: Random) -> Done:
        if self.streams:
            return self._in_a_shell()
        with _environment(self.variables):
            return command(*self.arguments)

    def _in_a_shell(self) -> Done:
        line = f"{sys.executable} -m bench {' '.join(self.arguments)}"
        script = "set -o pipefail; " + self.streams.format(line)
        done = subprocess.run(["bash", "-c", script], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        code = 0 if done.returncode == 141 else done.returncode  # the shell's own word for a closed pipe
        return Done(code, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def wrong(self, done: Done, how: str) -> str | None:
        if self.streams and done.code not in (0, *((1,) if "check" in self.arguments else ()), 4):
            return f"exit {done.code}: {done.err[-300:]}"
        return None


@contextmanager
def _environment(variables: dict[str, str]) -> Any:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
