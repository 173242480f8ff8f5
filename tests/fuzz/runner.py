"""Runner: starts workers, one at a time, and starts another where one ended at an input."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.world import keep as copy_input

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 60.0
"""What the program may take for one input."""


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    kind: str
    seed: int
    codes: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    """Number of the input → how it was made, and what was wrong."""
    slowest: float = 0.0
    largest: int = 0
    """Bytes that one input took."""
    every: list[str] = field(default_factory=list)
    """A line for each input."""

    def add(self, line: dict) -> None:
        self.codes[str(line["code"])] += 1
        self.slowest = max(self.slowest, line["seconds"])
        self.largest = max(self.largest, line["grown"])
        said = " ".join(line["said"].split())
        self.every.append(f"    {line['number']:>6} exit {line['code']} {line['how'][:100]!r}: {said!r}")
        if line["problem"]:
            self.failures[line["number"]] = f"{line['how']}\n{line['problem']}"

    def lines(self) -> list[str]:
        """For people."""
        codes = ", ".join(f"{count} exit {code}" for code, count in sorted(self.codes.items()))
        lines = [
            f"{self.kind:<16}{sum(self.codes.values()):>6} inputs: {codes}; slowest {self.slowest:.1f} s, "
            f"largest {self.largest / 2**20:.0f} MiB; {len(self.failures)} problems"
        ]
        for number, what in sorted(self.failures.items()):
            lines += [f"  --kind {self.kind} --seed {self.seed} --only {number}: " + what.replace("\n", "\n      ")]
        return lines


def fuzz(
    kind: str, inputs: int, seed: int, *, first: int = 0, seconds: float = MOST_SECONDS, keep: Path | None = None
) -> Tally:
    """Have the program read `inputs` inputs of a kind, from number `first` on."""
    tally = Tally(kind, seed)
    end = first + inputs
    while first < end:
        root = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            first = _work(tally, root, first, end, seconds, keep)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    return tally


def _work(tally: Tally, root: Path, first: int, end: int, seconds: float, keep: Path | None) -> int:
    """Let one worker go as far as it gets; returns the number of the next input."""
    options = {"seed": tally.seed, "first": first, "inputs": end - first, "seconds": seconds}
    if keep:
        options["keep"] = keep.absolute()
    arguments = [f"--{name}={value}" for name, value in options.items()]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "GITHUB_"))}
    clean |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with (root / "stderr").open("w+", encoding="utf-8", errors="replace") as said:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", tally.kind, str(root / "world"), *arguments],
            cwd=ROOT, env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True,
        )  # fmt: skip
        begun = None
        assert worker.stdout is not None
        for line in map(json.loads, worker.stdout):
            begun = line["number"]
            if "code" in line:
                tally.add(line)
                begun, first = None, line["number"] + 1
        code = worker.wait()
        said.seek(0)
        words = said.read()
    if begun is None:
        if code:
            raise RuntimeError(f"the worker of {tally.kind} ended with {code} between inputs:\n{words[-3000:]}")
        return first
    how = "no end after" if "Timeout (" in words else f"the process ended with {code} within"
    if keep:
        copy_input(root / "world" / "place", keep / f"{tally.kind}-{tally.seed}-{begun}")
    tally.codes["none"] += 1
    tally.failures[begun] = f"{how} {seconds:.0f} s\n{words[-2500:]}"
    return begun + 1
