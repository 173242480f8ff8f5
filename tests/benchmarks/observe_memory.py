"""Peak memory of observing 100 and 1000 images: `python tests/benchmarks/observe_memory.py`.

Each count runs in a process of its own on the built-in data set. Both should be equal but for the
observations themselves (0.6 kB an image, and some kB of lists, paths and Python objects).
"""

import subprocess
import sys

_CHILD = """
import sys
import bench
record = bench.evaluate("random-shapes", split="train", limit=int(sys.argv[1]), num_seeds=1, workers=2, fresh=True)
print(record["cost"]["peak_memory_mb"])
"""


def peak(images: int) -> float:
    done = subprocess.run([sys.executable, "-c", _CHILD, str(images)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    peak(20)  # writes the data set, which must not count
    few, many = peak(100), peak(1000)
    print(
        f"100 images: {few:.0f} MB, 1000 images: {many:.0f} MB, ratio {many / few:.3f}, "
        f"{(many - few) * 1000 / 900:.1f} kB per further image"
    )


if __name__ == "__main__":
    main()
