"""Worker: has the program read the inputs of one kind, one after the other, and tells what became of each.

A line of JSON is printed before and after each input, so that whoever started this process knows at which input it
ended, if it ended itself or was ended.
"""

import argparse
import faulthandler
import json
import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.world import World, keep, touched

GIB = 1 << 30
MOST_MEMORY = 2 * GIB
"""What reading a small file may take, bytes."""
MOST_WRITTEN = GIB


def main() -> None:
    options = _options()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # for whatever prints past the program's own streams
    world = World(options.root)
    world.settle()
    _refuse_network()
    from tests.fuzz.kinds import load

    kind = load(options.kind)(world)
    _bound()

    def tell(**entries: Any) -> None:
        channel.write(json.dumps(entries) + "\n")
        channel.flush()

    for number in range(options.first, options.first + options.inputs):
        tell(number=number)
        with _time_limit(options.seconds):
            outcome = attempt(kind, world, number, Random(f"{options.seed}|{options.kind}|{number}"))
        if outcome["problem"] and options.keep:
            keep(world.place, options.keep / f"{options.kind}-{options.seed}-{number}")
        tell(number=number, **outcome)


def attempt(kind: Any, world: World, number: int, random: Random) -> dict[str, Any]:
    """Make input `number` (0 is the sound one) and have it read; what became of it, as plain JSON values."""
    from tests.fuzz.kind import problem_of

    world.clear()
    kind.put()
    how = kind.damage(random) if number else ""
    before = world.seen(kind.may_write)
    base = _memory(reset=True)
    started = time.perf_counter()
    done = kind.use(random)
    seconds = time.perf_counter() - started
    grown = _memory() - base
    problem = problem_of(done, kind, how) or touched(before, world.seen(kind.may_write))
    if grown > MOST_MEMORY:
        problem = f"took {grown / GIB:.1f} GiB"
    return {
        "how": how or "sound",
        "code": done.code,
        "problem": problem,
        "said": (done.err.strip() or done.out.strip())[:300],
        "seconds": seconds,
        "grown": grown,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("root", type=Path)
    for name, kind in (("seed", int), ("first", int), ("inputs", int), ("seconds", float), ("keep", Path)):
        parser.add_argument(f"--{name}", type=kind)
    return parser.parse_args()


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End this process, and say where it was, if what is done inside of this takes longer."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _refuse_network() -> None:
    def refuse(self: socket.socket, address: Any) -> None:
        raise ConnectionRefusedError(111, "no network here")

    socket.socket.connect = refuse  # type: ignore[method-assign]


def _bound() -> None:
    """Nothing that an input does may harm this machine."""
    used = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    most = used + MOST_MEMORY + GIB
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _memory(*, reset: bool = False) -> int:
    """The most memory that this process has held since the last reset, bytes."""
    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


if __name__ == "__main__":
    main()
