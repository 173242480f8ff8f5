"""The floors of `bench/`, and which folder imports which: read from the imports, nothing is run.

    python tests/tools/floors.py        # the folders, from the top floor down, with what each imports

`tests/test_floors.py` holds the code to the rule.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FLOORS = (
    ("base",),
    ("cards", "protocols.registry"),
    ("data", "networks", "scoring"),
    ("records", "passes"),
    ("report", "protocols"),
    ("runs",),
    ("discover", "doctor", "download", "pretrain", "priors", "reproduce", "submission"),
    ("cli",),
)
"""Rooms, the lowest floor first. A room may import the rooms of the floors below its own, and none beside it."""

NOT_BELOW = {
    "report": {"data", "networks", "passes"},
    "records": {"data", "networks"},
    "passes": {"records"},
    "protocols": {"records"},
    "runs": {"report"},
}
"""Rooms that a room must not import although they are on a lower floor: reports read records, and no data."""

BESIDE = {("pretrain", "priors"), ("protocols.registry", "cards"), ("cards", "protocols.registry")}
"""Imports within a floor that are meant: the registry is light, and a card's presets are found by it."""

TORCH = ("networks", "passes", "protocols", "runs", "pretrain")
"""Rooms whose modules may load torch when they are imported."""

FACE = ("__init__", "__main__", "_version")
"""Modules beside the rooms: what `import bench` gives."""


@dataclass(frozen=True)
class Import:
    """One import of a module of `bench`, or of torch."""

    file: Path
    line: int
    module: str
    """Without the leading `bench.`; `torch` for torch."""
    at_top: bool
    """Whether it is carried out when the file is imported."""

    def exists(self, folder: Path = ROOT / "bench") -> bool:
        """Whether a module of this name, or the one that its last part would be a name in, is there."""
        if self.module == "torch" or room_of(self.module) is None:
            return True
        path = folder.joinpath(*self.module.split("."))
        return any(one.with_suffix(".py").is_file() or (one / "__init__.py").is_file() for one in (path, path.parent))


def imports(folder: Path = ROOT / "bench") -> Iterator[Import]:
    """All imports of `bench` and torch below a folder, those for types alone included."""
    for file in sorted(folder.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        lazy = {id(node) for part in ast.walk(tree) if _is_lazy(part) for node in ast.walk(part)}
        for node in ast.walk(tree):
            for name in _names(node):
                yield Import(file, node.lineno, name, id(node) not in lazy)  # type: ignore[attr-defined]


def _is_lazy(node: ast.AST) -> bool:
    """A function's body, or what is for types alone."""
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return for_types or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
        # `from bench.scoring import kmeans` names a module, `from bench.scoring.kmeans import fit` what is in one
        found = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in found:
        if name.startswith("bench."):
            yield name.removeprefix("bench.")
        elif name.split(".")[0] in ("torch", "torchvision"):
            yield "torch"


def room_of(module: str) -> str | None:
    """The room that a module of `bench` is in; None for the face."""
    first = module.split(".", maxsplit=1)[0]
    if first in FACE or first in ("evaluate", "record"):
        return None
    return "protocols.registry" if module.startswith("protocols.registry") else first


def room_of_file(file: Path, folder: Path = ROOT / "bench") -> str | None:
    """The room that a file is in; None for the face."""
    return room_of(".".join(file.relative_to(folder).with_suffix("").parts))


def problem(found: Import, folder: Path = ROOT / "bench") -> str | None:
    """What is wrong with an import; None if it is as it should be."""
    home = room_of_file(found.file, folder)
    if home is None:
        return None
    if found.module == "torch":
        wrong = found.at_top and home not in TORCH
        return f"{home} loads torch when it is imported; only {', '.join(TORCH)} may" if wrong else None
    target = room_of(found.module)
    if target is None or target == home or (home, target) in BESIDE:
        return None
    floors = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    if home not in floors or target not in floors:
        return f"{target if home in floors else home} has no floor: add it to FLOORS"
    if floors[target] >= floors[home]:
        return f"{home} must not import {target}: it is no lower floor"
    return f"{home} must not import {target}" if target in NOT_BELOW.get(home, ()) else None


def table() -> str:
    """The rooms from the top floor down, with what each imports."""
    uses: dict[str, set[str]] = {room: set() for rooms in FLOORS for room in rooms}
    for found in imports():
        home, target = room_of_file(found.file), room_of(found.module)
        if found.module != "torch" and home and target and home != target:
            uses[home].add(target)
    lines = []
    for rooms in reversed(FLOORS):
        lines += [f"{room:19} {' '.join(sorted(uses[room])) or '-'}" for room in rooms] + [""]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    print(table())
