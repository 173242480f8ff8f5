"""What `bench --help` costs beyond starting Python: `python tests/benchmarks/start_up.py`."""

import statistics
import subprocess
import sys
import time

REPEATS = 15


def seconds(*arguments: str) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    bare, help_ = seconds("-c", "pass"), seconds("-m", "bench", "--help")
    print(
        f"python -c pass {bare:.3f} s, bench --help {help_:.3f} s: {help_ - bare:.3f} s more, ratio {help_ / bare:.1f}"
    )


if __name__ == "__main__":
    main()
