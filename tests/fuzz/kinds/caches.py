"""The cache: what a power loss or another program left there. A figure is the same, or there is none."""

import json
import shutil
from pathlib import Path
from random import Random

import torch

from tests.fuzz import mutators
from tests.fuzz.kind import Done, Kind, command
from tests.fuzz.kinds.data import put_data
from tests.fuzz.kinds.results import change_arrays
from tests.fuzz.world import World

LIMIT = 20
"""Images of `shapes` that are run on."""


class Caches(Kind):
    name = "caches"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        torch.set_num_threads(1)
        put_data(world)
        self.way = "data"
        self.put()
        self.kept = world.root / "kept"
        self.figures = {way: self._figure(self._run(way)) for way in ("data", "shapes")}
        shutil.copytree(world.cache, self.kept)

    def put(self) -> None:
        self.put_copy()
        if hasattr(self, "kept"):
            # the images of `shapes` are many, and nothing but their own runs comes near them
            self._restore(Path() if self.way == "shapes" else Path("observations"))
            self._restore(Path("networks"))
        self.way = "data"

    def _restore(self, below: Path) -> None:
        """The sound cache again: what differs from it is copied, what it has not is removed."""
        kept, cache = self.kept / below, self.world.cache / below
        wanted = {path.relative_to(kept) for path in kept.rglob("*")}
        for path in sorted(cache.rglob("*"), reverse=True):
            if path.relative_to(cache) not in wanted:
                _remove(path)
        for name in sorted(wanted):
            source, target = kept / name, cache / name
            if source.is_dir():
                target.mkdir(exist_ok=True)
            elif not _alike(source, target):
                _remove(target)
                shutil.copy2(source, target)

    def damage(self, random: Random) -> str:
        cache = self.world.cache
        self.way = "shapes" if random.random() < 0.15 else "data"
        ours = [path for part in ("observations", "networks") for path in sorted((cache / part).rglob("*.*"))]
        if self.way == "shapes" and random.random() < 0.8:
            shapes = next((cache / "datasets").glob("shapes*"))
            number = f"val_{random.randrange(LIMIT):05d}"
            ours = [shapes / "sets" / "val.txt", *shapes.glob(f"*/{number}.*")]
        path = random.choice(ours)
        if path.suffix == ".npz" and random.random() < 0.5:
            return f"{path.relative_to(cache)}: {change_arrays(random, path)}"
        if path.suffix == ".json" and random.random() < 0.5:
            how, tree = mutators.changed_tree(random, json.loads(path.read_text()))
            path.write_bytes(mutators.as_json(tree))
            return f"{path.relative_to(cache)}: {how}"
        how = self.damage_file(random, path, mutators.TEXTS if path.suffix in (".txt", ".json") else mutators.BYTES)
        return f"{path.relative_to(cache).parent}/{how}"

    def use(self, random: Random) -> Done:
        return self._run(self.way)

    def _run(self, way: str) -> Done:
        of = {"data": ("./data.toml",), "shapes": ("shapes", "--limit", LIMIT, "--set", "input=[32,32]")}[way]
        fixed = ("--model", "random-shapes", "--num-seeds", 1, "--set", "restarts=1", "--json")
        return command("run", *fixed, "--results", self.world.out / "results", "--dataset", *of)

    def wrong(self, done: Done, how: str) -> str | None:
        if not done.ok or self._figure(done) == self.figures[self.way]:
            return None
        return "a damaged cache gives another figure without a word"

    def _figure(self, done: Done) -> object:
        assert done.ok, done.err
        record = json.loads(done.out)
        return record["metrics"], record["per_class"], record["confusion"]


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _alike(one: Path, other: Path) -> bool:
    if other.is_symlink() or not other.is_file():
        return False
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)
