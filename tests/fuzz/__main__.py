"""`python -m tests.fuzz`: has the program read thousands of inputs that nobody expects.

10 000 inputs take some ten minutes of two cores (--jobs 2).
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.kinds import KINDS
from tests.fuzz.runner import MOST_SECONDS, fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="Repeatable. [default: all]")
    parser.add_argument("--inputs", type=int, default=10_000, help="In all; each kind gets its share. [default: 10000]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="I", help="This input alone, of one --kind.")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="Keep the inputs that gave a problem here.")
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS, help="What one input may take. [default: 60]")
    parser.add_argument("--jobs", type=int, default=1, help="Processes at a time. [default: 1]")
    parser.add_argument("--verbose", action="store_true", help="A line for each input.")
    options = parser.parse_args()
    kinds = options.kind or list(KINDS)
    if options.only is not None and len(kinds) > 1:
        parser.error("--only is for one --kind")
    first, each = (0, -(-options.inputs // len(kinds))) if options.only is None else (options.only, 1)
    started, failures = time.perf_counter(), 0

    def run(kind: str):
        return fuzz(kind, each, options.seed, first=first, seconds=options.seconds, keep=options.keep)

    with ThreadPoolExecutor(options.jobs) as pool:
        for tally in pool.map(run, kinds):
            print("\n".join([*(tally.every if options.verbose else ()), *tally.lines()]), flush=True)
            failures += len(tally.failures)
    print(
        f"{each * len(kinds)} inputs, seed {options.seed}, {time.perf_counter() - started:.0f} s: {failures} problems"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
