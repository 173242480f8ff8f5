"""`python -m tests.kill [--points 100] [--losses 40] [--seed 0] [COMMAND …]`: the long version of the kill test."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.kill.trial import trials

parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
parser.add_argument("--points", type=int, default=100, help="Random points at which a command is killed.")
parser.add_argument("--losses", type=int, default=40, help="States of the disk after a power loss.")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("names", nargs="*", metavar="COMMAND")
chosen = parser.parse_args()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


with tempfile.TemporaryDirectory(prefix="bench-kill-") as folder:
    found, wrong = trials(Path(folder).resolve(), chosen.points, chosen.losses, chosen.seed, tuple(chosen.names), say)
for what, count in sorted(found.items()):
    print(f"{count:4}  {', '.join(what)}")
print(*wrong, sep="\n\n")
sys.exit(bool(wrong))
