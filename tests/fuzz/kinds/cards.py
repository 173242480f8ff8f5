"""Cards (data set, model, recipe) and bench.toml: TOML that people write and pass on."""

import os
import tomllib
from random import Random

import torch  # noqa: F401 - what it takes is not what a card takes

from bench.cards import catalogue
from tests.fuzz import mutators
from tests.fuzz.kind import Done, Kind, call, command
from tests.fuzz.kinds.data import DATASET, put_data
from tests.fuzz.runner import ROOT
from tests.fuzz.world import World


class Cards(Kind):
    name = "cards"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        models, recipes = ROOT / "models", ROOT / "models" / "recipes"
        self.trees = {
            "dataset": DATASET,
            "model": _tree(models / "random-shapes.toml"),
            "file": _tree(models / "maskcontrast-sup.toml"),
            "recipe": _tree(recipes / "shapes.toml"),
        }
        self.which = "dataset"

    def put(self) -> None:
        self.put_copy()
        self._write(DATASET)

    def _write(self, tree: dict) -> None:
        (self.world.place / "card.toml").write_bytes(mutators.as_toml(tree))

    def damage(self, random: Random) -> str:
        self.which = random.choice(("dataset", "dataset", *self.trees))
        card = self.world.place / "card.toml"
        self._write(self.trees[self.which])
        if random.random() < 0.35:
            return f"{self.which} {self.damage_file(random, card, mutators.TEXTS)}"
        how, tree = mutators.changed_tree(random, self.trees[self.which])
        self._write(tree)
        return f"{self.which} {how}"

    def use(self, random: Random) -> Done:
        card, out = "./card.toml", self.world.out
        if self.which == "recipe":
            return call(lambda: catalogue.recipe(card) and None)
        show = ("show", card)
        if self.which == "dataset":
            run = ("run", "--dataset", card, "--model", "random-shapes", "--dry-run", "--results", out)
            return command(*random.choice((show, show, run, ("download", card, "--list"))))
        run = ("run", "--model", card, "--dataset", "./data.toml", "--dry-run", "--results", out)
        return command(*random.choice((show, run, ("download", card, "--list"))))


def _tree(path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8")) | {"id": "mine"}


SETTINGS = {
    "results": "results",
    "cache": "cache",
    "data_roots": {"shapes": "data", "pascal-voc": "../voc"},
    "run": {"dry-run": True, "num-seeds": 1, "split": "val", "set": ["restarts=1"]},
    "report": {"out": "results.csv"},
    "check": {"summary": "summary.md"},
    "train": {"out": "runs"},
}
OUTSIDE = ("../canary/x", "../canary/new", "../home/.bashrc", "~/.bashrc", "~/new", "../canary")
"""Where a configuration that somebody sent may not have anything written."""


class Settings(Kind):
    name = "bench.toml"
    may_write = ("out", "cache", "place")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        for name in ("BENCH_RESULTS", "BENCH_CACHE"):
            del os.environ[name]  # they would go before the file

    def put(self) -> None:
        self.put_copy()
        (self.world.place / "bench.toml").write_bytes(mutators.as_toml(SETTINGS))

    def damage(self, random: Random) -> str:
        path = self.world.place / "bench.toml"
        path.write_bytes(mutators.as_toml(SETTINGS))
        how = random.random()
        if how < 0.3:
            return self.damage_file(random, path, mutators.TEXTS)
        if how < 0.5:
            tree, target = mutators.copied(SETTINGS), random.choice((*OUTSIDE, str(self.world.canary / "new")))
            where = random.choice(((), ("report", "out"), ("check", "summary"), ("run", "results"), ("run", "cache")))
            if where:
                tree[where[0]][where[1]] = target
            else:
                tree[random.choice(("results", "cache"))] = target
            path.write_bytes(mutators.as_toml(tree))
            return f"{'.'.join(where)} leads to {target}"
        how, tree = mutators.changed_tree(random, SETTINGS)
        path.write_bytes(mutators.as_toml(tree))
        return how

    def use(self, random: Random) -> Done:
        run = ("run", "--dataset", "./data.toml", "--model", "random-shapes", "--limit", 3, "--dry-run")
        return command(
            *random.choice(
                (("report",), ("check",), run, ("list", "results"), ("list", "datasets"), ("show", "./data.toml"))
            )
        )

    codes = (0, 1)
