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


SEEDS = ("--num-seeds", 1)
WAYS = {
    "clustering": ("--dataset", "./data.toml", *SEEDS, "--set", "restarts=1"),
    "clustering-dense": ("--dataset", "./data.toml", "--protocol", "clustering-dense", *SEEDS, "--set", "restarts=1"),
    "linear": ("--dataset", "./data.toml", "--protocol", "linear"),
    "linear-dinov3": ("--dataset", "./data.toml", "--protocol", "linear-dinov3"),
    "retrieval": ("--dataset", "./data.toml", "--protocol", "retrieval-21"),
    "shapes": ("--limit", LIMIT, *SEEDS, "--set", "input=[32,32]", "--set", "restarts=1"),
}
"""What is run again on the cache that it left."""


class Caches(Kind):
    name = "caches"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        torch.set_num_threads(1)
        put_data(world)
        self.way = "clustering"
        self.put_copy()
        self.kept, self.figures, self.files = world.root / "kept", {}, {}
        for way in WAYS:
            before = set(world.cache.rglob("*"))
            self.figures[way] = self._figure(self._run(way))
            self.files[way] = [path for path in sorted(world.cache.rglob("*")) if path.is_file() and path not in before]
        shutil.copytree(world.cache, self.kept)

    def put(self) -> None:
        self.put_copy()
        for folder in sorted(self.kept.iterdir()):
            # the images of `shapes` are many, and nothing but their own runs comes near them
            if folder.name != "datasets" or self.way == "shapes":
                self._restore(Path(folder.name))
        self.way = "clustering"

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
        self.way = random.choice(("clustering", *WAYS))
        pictures = [path for path in self.files[self.way] if "datasets" in path.parts]
        used = [path for path in pictures if path.parent.name == "sets" or path.stem <= f"val_{LIMIT:05d}"]
        others = [path for path in self.files[self.way] if path not in pictures] or self.files["clustering"]
        path = random.choice(used if used and random.random() < 0.8 else others)
        return f"{self.way} {path.relative_to(self.world.cache).parent}/{self._damage(random, path)}"

    def _damage(self, random: Random, path: Path) -> str:
        if path.suffix == ".npz" and random.random() < 0.5:
            return f"{path.name}: {change_arrays(random, path)}"
        if path.suffix == ".json" and random.random() < 0.5:
            how, tree = mutators.changed_tree(random, json.loads(path.read_text()))
            path.write_bytes(mutators.as_json(tree))
            return f"{path.name}: {how}"
        return self.damage_file(random, path, mutators.TEXTS if path.suffix in (".txt", ".json") else mutators.BYTES)

    def use(self, random: Random) -> Done:
        return self._run(self.way)

    def _run(self, way: str) -> Done:
        return command("run", "--model", "random-shapes", "--json", "--results", self.world.out / "results", *WAYS[way])

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
