"""All that `bench` says and writes, as one JSON file, to prove that a restructuring changes none of it.

    python tests/tools/snapshot.py BEFORE --program ../old   # runs the cases, writes BEFORE/snapshot.json
    python tests/tools/snapshot.py AFTER
    python tests/tools/snapshot.py --compare BEFORE AFTER    # exit 1 and a line for each difference, else 0

Cases of a group run one after the other in a folder of their own with its own cache and results; groups run side by
side, each process on one thread, so that sums come in one order. Keys of cached samples hold the place, size and time
of their files: both snapshots must be of one `--data` folder, which is generated once and then only read. No module of
`bench` is named here or in `snapshot_cases.py`.

Left out is only what differs from run to run: speeds, seconds and peak memory (`FREE`), the day, the commit, where the
folders lie, what TensorBoard logs, all numbers of `doctor` and `download`, and the sample keys of the group `plain`,
whose images are drawn into its own cache. Of stderr, what a failing command says is kept, and where a case asks for it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from snapshot_cases import CARD, MAKE_DATA, Case, Places, case, groups, reports

FREE = {"peak_memory_mb", "images_per_second", "seconds", "timing", "waiting_share"}
"""Numbers that depend on the machine's speed, wherever they stand in a record or a store's meta.json."""
CREATED, COMMIT = "2030-01-01T00:00:00+00:00", {"commit": "0" * 40, "dirty": False}
TEXT = {".json", ".toml", ".txt", ".md", ".csv", ".html", ".tex", ".svg", ".css", ".js"}
WHOLE = 20_000
"""A text of at most so many characters stands in the snapshot itself, any other one as its hash."""
SERVER = Path(__file__).with_name("snapshot_server.py")


# --- running ---


def environment(at: Places) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BENCH_", "GITHUB_", "PYTHON"))}
    # one thread: sums come in one order, and groups side by side do not contend
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    places = {"PYTHONPATH": str(at.program), "BENCH_CACHE": "cache", "BENCH_RESULTS": "results", "BENCH_OFFLINE": "1"}
    return kept | threads | places | {"COLUMNS": "160", "NO_COLOR": "1"}


class Processes:
    """Runs commands, each in a process of its own, forked from one that has the libraries loaded."""

    def __init__(self, at: Places) -> None:
        words = [sys.executable, str(SERVER)]
        pipe = subprocess.PIPE
        self.server = subprocess.Popen(words, env=environment(at), cwd=at.out, stdin=pipe, stdout=pipe, text=True)

    def run(self, folder: Path, command: tuple[str, ...]) -> tuple[int, str, str]:
        """Run it in `folder`; its exit code, stdout and stderr."""
        assert self.server.stdin and self.server.stdout
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps([str(folder), command]), file=self.server.stdin, flush=True)
        code = int(self.server.stdout.readline())
        out, err = ((folder / f".{name}").read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        return code, out, err

    def close(self) -> None:
        self.server.communicate()


def make_data(at: Places, processes: Processes) -> None:
    """Generate what the cases read; written last, `complete` marks it as whole."""
    if (at.data / "complete").is_file():
        return
    shutil.rmtree(at.data, ignore_errors=True)
    drawn = case("shapes", "run --model random-shapes --protocol retrieval-21 --limit 20")
    for command in (("-c", MAKE_DATA), drawn.command):
        code, _, said = processes.run(at.data, command)
        if code:
            sys.exit(f"the data cannot be generated: {said}")
    (drawn_into,) = (at.data / "cache/datasets").iterdir()
    drawn_into.rename(at.data / "shapes")
    for name in ("cache", "results"):
        shutil.rmtree(at.data / name)
    listing = at.data / "shapes/sets/train.txt"
    listing.write_text("".join(listing.read_text().splitlines(keepends=True)[:160]))
    for ids, target in ((range(40), "photos"), (range(40, 70), "labelled/images")):
        (at.data / target).mkdir(parents=True)
        for i in ids:
            shutil.copyfile(at.data / f"shapes/images/val_{i:05d}.jpg", at.data / target / f"photo_{i}.jpg")
    (at.data / "labelled/labels").mkdir()
    for i in range(40, 70):
        label = at.data / f"shapes/SegmentationClass/val_{i:05d}.png"
        shutil.copyfile(label, at.data / f"labelled/labels/photo_{i}.png")
    (at.data / "my-model.toml").write_text(CARD)
    (at.data / "complete").touch()


def run_group(at: Places, processes: Processes, group: str, cases: list[Case]) -> dict[str, Any]:
    folder, found = at.out / group, {}
    for one in cases:
        started = time.perf_counter()
        code, stdout, stderr = processes.run(folder, one.command)
        print(f"{group}/{one.name}: exit {code}, {time.perf_counter() - started:.1f} s", file=sys.stderr)
        entry: dict[str, Any] = {"exit": code, "stdout": shown(at, stdout, one.digits)}
        if one.stderr or code:
            entry["stderr"] = re.sub(r"\s+", " ", shown(at, stderr, one.digits))
        for kept in one.keep:
            entry.setdefault("files", {}).update(contents(at, folder, sorted(folder.glob(kept))))
        found[f"{group}/{one.name}"] = entry
    return found


def run_groups(at: Places, pool: list[Processes], chosen: dict[str, list[Case]]) -> dict[str, Any]:
    """As many groups at once as the pool has; the cases in the order given."""
    free: queue.SimpleQueue[Processes] = queue.SimpleQueue()
    for processes in pool:
        free.put(processes)

    def run(group: str) -> dict[str, Any]:
        mine = free.get()
        try:
            return run_group(at, mine, group, chosen[group])
        finally:
            free.put(mine)

    with ThreadPoolExecutor(len(pool)) as threads:
        return {name: entry for found in threads.map(run, chosen) for name, entry in found.items()}


def collect_results(at: Places, names: list[str]) -> None:
    """All records and rows in the folder of the group `reports`, records with constants for what is free."""
    for name in names:
        for path in sorted((at.out / name / "results").rglob("*")):
            target = at.out / "reports" / path.relative_to(at.out / name)
            if target.exists() or not path.is_file():  # `plain` has some of the records of `shapes`
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json" and path.name != "examples.json":
                target.write_text(dumped(frozen(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
            else:
                shutil.copyfile(path, target)


# --- what is kept ---


def dumped(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def frozen(value: Any) -> Any:
    """A record, or anything within it, with constants in place of what depends on the time and the machine."""
    if isinstance(value, list):
        return [frozen(item) for item in value]
    if not isinstance(value, dict):
        return value
    fixed: dict[str, Any] = {key: 1.0 for key in FREE & value.keys() if isinstance(value[key], int | float)}
    fixed |= {key: [1.0] * len(value[key]) for key in FREE & value.keys() if isinstance(value[key], list)}
    fixed |= {"created": CREATED} if "created" in value else {}
    fixed |= {"git": COMMIT} if "git" in value else {}
    return {key: fixed[key] if key in fixed else frozen(item) for key, item in value.items()}


def shown(at: Places, text: str, digits: bool = True) -> str:
    """A text as it is compared: JSON without what is free, folders by their role."""
    head, brace, tail = text.partition("\n[") if text.startswith("{") else (text, "", "")
    try:
        text = dumped(frozen(json.loads(head))) + brace + tail
    except ValueError:
        text = re.sub(r"\b\d+(\.\d+)? (s|images/s)(?!\w)", r"# \2", text)
    return at.neutral(text) if digits else re.sub(r"\b[0-9a-f]{7,40}\b|\d[\d.,]*", "#", at.neutral(text))


def without_speed(table: str) -> str:
    """A CSV file without its columns of speeds and seconds."""
    rows = list(csv.reader(table.splitlines()))
    kept = [i for i, name in enumerate(rows[0]) if name not in FREE] if rows else []
    return "".join(",".join(row[i] for i in kept) + "\n" for row in rows)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def arrays(data: bytes, without: set[str]) -> str:
    """A hash of an archive's arrays, but for some: names, types, shapes and values."""
    whole = hashlib.sha256()
    with np.load(io.BytesIO(data)) as held:
        for name in sorted(set(held.files) - without):
            array = held[name]
            whole.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return whole.hexdigest()


def content(at: Places, path: str, data: bytes) -> Iterator[tuple[str, Any]]:
    """What one file holds; of an archive, each of its members."""
    name = Path(path).name
    if data[:4] == b"PK\x03\x04":  # times are in zips, and torch's files are zips as well
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield f"{path}:{member}", digest(archive.read(member))
    elif Path(name).suffix in TEXT:
        text = without_speed(data.decode()) if name == "log.csv" else shown(at, data.decode())
        yield path, text if len(text) <= WHOLE else digest(text.encode())
    elif name.startswith("events.out.tfevents"):  # times and the host are in its name and lines
        yield str(Path(path).with_name("events")), "a log of TensorBoard"
    else:
        yield path, digest(data)


def contents(at: Places, base: Path, kept: list[Path]) -> dict[str, Any]:
    """These files, and those in these folders, by their paths below `base`."""
    every = [file for path in kept for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()]
    found = (content(at, file.relative_to(base).as_posix(), file.read_bytes()) for file in every)
    return dict(pair for pairs in found for pair in pairs)


def records(at: Places, group: str) -> Iterator[tuple[str, Any]]:
    """Records in full, and the hash of each one's rows; the order of keys is that of the file."""
    for path in sorted((at.out / group / "results").rglob("*")):
        name = path.relative_to(at.out).as_posix()
        if path.name.endswith(".rows.npz"):
            yield name, digest(path.read_bytes())
        elif path.suffix == ".json" and path.name != "examples.json":
            text = path.read_text(encoding="utf-8")
            value = json.loads(text)
            as_written = text == dumped(value)
            yield name, {"as written": as_written, "record": json.loads(at.neutral(json.dumps(frozen(value))))}
        elif path.is_file():
            yield from content(at, name, path.read_bytes())


def cache(at: Places, group: str) -> Iterator[tuple[str, Any]]:
    """Stores under their names, which are hashes of recipes, each with a hash of what it holds."""
    own = group == "plain"
    drawn = hashlib.sha256()
    for path in sorted(path for path in (at.out / group / "cache").rglob("*") if path.is_file()):
        name = path.relative_to(at.out).as_posix()
        if "/datasets/" in name:
            drawn.update(name.encode() + path.read_bytes())
        elif path.suffix == ".npz":
            yield name, arrays(path.read_bytes(), {"keys", *FREE} if own else FREE)
        elif path.suffix == ".json":
            yield name, frozen(json.loads(path.read_text(encoding="utf-8")))
        else:
            yield name, "a file"
    yield f"{group}/cache/datasets", drawn.hexdigest()


def data_digest(at: Places) -> str:
    """Where the data lie, and the sizes and times of their files: the cache's keys hang on all of it."""
    whole = hashlib.sha256(f"{at.data} {at.parity} {at.realdata}".encode())
    for path in sorted(at.data.rglob("*")):
        if path.is_file():
            status = path.stat()
            whole.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
    return whole.hexdigest()


def wanted(name: str, only: list[str]) -> bool:
    return not only or any(name == one or name.startswith(f"{one}/") for one in only)


def take(at: Places, only: list[str], jobs: int) -> None:
    at.out.mkdir(parents=True, exist_ok=True)
    pool = [Processes(at) for _ in range(jobs)]
    make_data(at, pool[0])
    every = groups(at) | {"reports": reports(at)}
    chosen = {group: [one for one in cases if wanted(f"{group}/{one.name}", only)] for group, cases in every.items()}
    chosen = {group: cases for group, cases in chosen.items() if cases}
    for group in chosen:
        shutil.rmtree(at.out / group, ignore_errors=True)
    last = {group: chosen.pop(group) for group in ("reports",) if group in chosen}
    found = run_groups(at, pool, chosen)
    collect_results(at, list(chosen))
    found |= run_groups(at, pool, last)
    for processes in pool:
        processes.close()
    snapshot = {
        "data, their places, sizes and times": data_digest(at),
        "cases": found,
        "records": {name: entry for group in chosen for name, entry in records(at, group)},
        "cache": {name: entry for group in chosen for name, entry in cache(at, group)},
    }
    (at.out / "snapshot.json").write_text(dumped(snapshot), encoding="utf-8")
    print(f"{at.out / 'snapshot.json'}: {counted(snapshot)}")


# --- comparing ---


def counted(snapshot: dict[str, Any]) -> str:
    rows = sum(name.endswith(".rows.npz") for name in snapshot["records"])
    made = sum(isinstance(entry, dict) for entry in snapshot["records"].values())
    files = sum(len(entry.get("files", ())) for entry in snapshot["cases"].values())
    return (
        f"{len(snapshot['cases'])} cases with {files} files, {made} records, {rows} rows files, "
        f"{len(snapshot['records']) - made - rows} files beside them, {len(snapshot['cache'])} cache entries"
    )


def differences(where: str, a: Any, b: Any) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        yield from (f"{where} › {key}: only in A" for key in a.keys() - b.keys())
        yield from (f"{where} › {key}: only in B" for key in b.keys() - a.keys())
        both = [key for key in a if key in b]
        if both != [key for key in b if key in a]:
            yield f"{where}: the order of keys, {list(a)} → {list(b)}"
        for key in both:
            yield from differences(f"{where} › {key}", a[key], b[key])
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from differences(f"{where}[{i}]", one, other)
    elif isinstance(a, str) and isinstance(b, str) and "\n" in a + b and a != b:
        lines, others = a.splitlines(), b.splitlines()
        pairs = [(i, x, y) for i, (x, y) in enumerate(zip(lines, others, strict=False)) if x != y]
        yield from (f"{where}, line {i + 1}: {x!r} → {y!r}" for i, x, y in pairs)
        if len(lines) != len(others) or not pairs:
            yield f"{where}: {len(lines)} lines → {len(others)}, or other ends of lines"
    elif type(a) is not type(b) or a != b:
        yield f"{where}: {a!r} → {b!r}"


def compare(first: Path, second: Path, only: list[str]) -> int:
    a, b = (json.loads((folder / "snapshot.json").read_text(encoding="utf-8")) for folder in (first, second))
    for snapshot in (a, b):
        for part in ("cases", "records", "cache"):
            snapshot[part] = {name: entry for name, entry in snapshot[part].items() if wanted(name, only)}
    found = list(differences("", a, b))
    for line in found:
        print(line.removeprefix(" › "))
    print(f"{len(found)} differences" if found else f"alike: {counted(a)}")
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, nargs="?", help="folder of the runs and of snapshot.json")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A", "B"), help="compare two such folders, run nothing"
    )
    parser.add_argument("--program", type=Path, default=Path(), help="the checkout to run [default: here]")
    parser.add_argument("--data", type=Path, help="generated input, made once [default: snapshot-data beside OUT]")
    parser.add_argument("--parity", type=Path, help="[default: shared/parity beside the checkout]")
    parser.add_argument("--realdata", type=Path, help="[default: shared/realdata beside the checkout]")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="GROUP or GROUP/CASE")
    parser.add_argument("--jobs", type=int, default=2, help="groups at once [default: 2]")
    given = parser.parse_args()
    if given.compare:
        first, second = given.compare
        return compare(first, second, given.only)
    if given.out is None:
        parser.error("OUT or --compare A B is needed")
    out, program = given.out.resolve(), given.program.resolve()
    shared = program.parent / "shared"
    at = Places(
        out,
        program,
        (given.data or out.parent / "snapshot-data").resolve(),
        (given.parity or shared / "parity").resolve(),
        (given.realdata or shared / "realdata").resolve(),
    )
    take(at, given.only, given.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
