"""CPU seconds of the commands that read records, on 1000 of them: `python tests/benchmarks/thousand_records.py`.

The records are copies of a shipped one under other names, their rows beside them. The floor is the same command on a
single record, which is the program's start.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "tests" / "records" / "random-resnet18" / "shapes-val" / "clustering.json"
COMMANDS = (
    ("report",),
    ("report", "--format", "csv"),
    ("check",),
    ("check", "--against", "earlier"),
    ("list", "results"),
)


def make(folder: Path, count: int, created: str) -> None:
    """Write `count` records below a folder."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) | {"created": created}
    for i in range(count):
        name = f"model-{i:04}"
        below = folder / name / "shapes-val"
        below.mkdir(parents=True)
        own = record | {"model": record["model"] | {"id": name}}
        (below / "clustering.json").write_text(json.dumps(own, indent=1), encoding="utf-8")
        shutil.copy(RECORD.with_name("clustering.rows.npz"), below)


def seconds(command: tuple[str, ...], folder: Path) -> float:
    """User and system time of the process, the best of three."""
    best = float("inf")
    for _ in range(3):
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        arguments = [sys.executable, "-m", "bench", *command, "--results", "now"]
        subprocess.run(arguments, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
        best = min(best, sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before)
    return best


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        for count in (1, 1000):
            make(Path(name) / str(count) / "now", count, "2031")
            make(Path(name) / str(count) / "earlier", count, "2030")
        for command in COMMANDS:
            one, many = (seconds(command, Path(name) / count) for count in ("1", "1000"))
            print(f"bench {' '.join(command):28} 1 record {one:5.2f} s, 1000 records {many:5.2f} s")


if __name__ == "__main__":
    main()
