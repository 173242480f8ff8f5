"""Time and memory of looking at large folders: `python tests/benchmarks/init_dataset.py`.

Folders of 2000 and 40000 tiny pairs of image and mask, in folders of their own and side by side, are generated and
deleted; each is looked at in a process of its own, every mask opened.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

_CHILD = """
import sys, time
from pathlib import Path
from bench.discover.card import discover
from bench.base.environment import peak_memory_mb
started = time.perf_counter()
found = discover(Path(sys.argv[1]), every=True)
print(time.perf_counter() - started, peak_memory_mb(), found.survey.usable)
"""
SHAPE = (48, 64)
LAYOUTS = {"in folders of their own": ("images", "labels"), "side by side": ("data", "data")}


def encoded(array: np.ndarray, form: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(array).save(data, form)
    return data.getvalue()


def write_pairs(folder: Path, pairs: int, homes: tuple[str, str]) -> None:
    generator = np.random.default_rng(0)
    image = encoded(generator.integers(0, 256, (*SHAPE, 3), dtype=np.uint8), "JPEG")
    mask = encoded(generator.integers(0, 9, SHAPE, dtype=np.uint8), "PNG")
    for i in range(pairs):
        for home, ending, data in zip(homes, ("jpg", "png"), (image, mask), strict=True):
            path = folder / home / f"{i // 1000:03d}" / f"{i:06d}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def look(pairs: int, homes: tuple[str, str]) -> tuple[float, float]:
    """Seconds, and megabytes at the peak."""
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(Path(folder), pairs, homes)
        done = subprocess.run([sys.executable, "-c", _CHILD, folder], check=True, capture_output=True, text=True)
    seconds, megabytes, usable = map(float, done.stdout.split())
    assert usable == pairs
    return seconds, megabytes


def main() -> None:
    for layout, homes in LAYOUTS.items():
        (few_seconds, few), (many_seconds, many) = look(2000, homes), look(40000, homes)
        print(
            f"{layout}: 2000 pairs {few_seconds:.1f} s, {few:.0f} MB; 40000 pairs {many_seconds:.1f} s, {many:.0f} MB; "
            f"{40000 / many_seconds:.0f} pairs/s, {(many - few) * 1000 / 38000:.1f} kB per further pair"
        )


if __name__ == "__main__":
    main()
