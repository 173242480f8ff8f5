"""How long commands take that compute little, each as a ratio to importing the libraries that scoring needs.

    python tests/benchmarks/start_up.py [--runs 5]

Processor time of whole processes, the median of several runs; the reference is measured in between them, so that a
machine that changes its speed moves both.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = [sys.executable, "-c", "import numpy, scipy, pandas, faiss"]
BENCH = [sys.executable, "-m", "bench"]
ONE = ["run", "--model", "maskcontrast-shapes"]
COMMANDS = {
    "bench --help": ["--help"],
    "bench list models": ["list", "models"],
    "bench report": ["report"],
    "bench check": ["check"],
    "bench run, all cached, other seeds": [*ONE, "--seed", "{seed}"],
    "bench doctor": ["doctor"],
}


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Processor time, user and system, of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"BENCH_CACHE": f"{folder}/cache", "BENCH_RESULTS": f"{folder}/results"}
        subprocess.run([*BENCH, *ONE], env=environment, cwd=ROOT, capture_output=True, check=True)
        for name, words in COMMANDS.items():
            own, reference = [], []
            for number in range(runs):
                reference.append(seconds(REFERENCE, environment))
                line = [word.format(seed=2000 + 10 * number) for word in words]
                own.append(seconds([*BENCH, *line], environment))
            base = statistics.median(reference)
            print(f"{name:36} {statistics.median(own) / base:6.2f}   ({statistics.median(own):.2f} s / {base:.2f} s)")


if __name__ == "__main__":
    main()
