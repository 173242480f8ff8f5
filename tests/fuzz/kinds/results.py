"""A folder of results from a stranger: records, their rows, published figures."""

import json
import shutil
from datetime import date
from functools import partial
from pathlib import Path
from random import Random
from typing import ClassVar

import numpy as np

from bench.base.files import load_npz, save_npz, sha256_file
from bench.records.table_check import check_table
from tests.fuzz import mutators
from tests.fuzz.kind import Done, Kind, call, command
from tests.fuzz.kinds.data import DATASET, put_data
from tests.fuzz.runner import ROOT
from tests.fuzz.world import World
from tests.video import write_list, write_sequence

SOUND, OTHER = "sound", "other"
"""Models of the records: one stays as it is, the other is damaged."""
COUNTED = ("value", "std", "low", "high", "images")
"""What a report shows of a figure, and rows give."""
FORMATS = ("md", "csv", "latex", "pwc", "badge")


class _Results(Kind):
    """A folder with a sound record and one that is damaged; `ways` are the kinds of rows that the latter may have."""

    codes = (0, 1)
    ways = ("clustering", "clustered", "unlabelled", "davis", "saliency", "boxes")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.shown, self.sound = False, True
        self.made, self.way = world.root / "made", self.ways[0]
        put_data(world)
        _score_maps(world, world.sound / "data" / "labels", "./data.toml", self.made / SOUND, SOUND)
        _score_maps(world, world.sound / "data" / "labels", "./data.toml", self.made / "clustering", OTHER)
        _run_clustered(world, self.made / "clustered")
        _run_unlabelled(world, self.made / "unlabelled")
        _score_video(world, self.made / "davis")
        _score_foreground(world, self.made)
        shown = command("report", "--format", "json", "--results", self.made)
        self.figures = {
            (row["dataset"], row["metric"]): {name: row[name] for name in COUNTED}
            for row in json.loads(shown.out)["measured"]
        }

    def put(self) -> None:
        self.way = self.ways[0]
        self._put_results()
        self.sound = True

    def _put_results(self) -> None:
        self.sound = False
        for name in (SOUND, self.way):
            shutil.copytree(self.made / name, self.world.place / "results", dirs_exist_ok=True)

    @property
    def record(self) -> Path:
        """The one that is damaged."""
        return next((self.world.place / "results" / OTHER).rglob("*.json"))

    def use(self, random: Random) -> Done:
        results, out = ("--results", "results"), self.world.out
        self.shown = random.random() < 0.4
        if self.shown:
            return command("report", "--format", "json", *results)
        ways = (
            ("report", "--format", random.choice(FORMATS), *results),
            ("report", "--format", "html", "--out", out / "site", *results),
            ("check", *results, *random.choice(((), ("--json",), ("--all", "--annotations")))),
            ("check", "--against", self.made, *results),
            ("list", "results", *results),
            ("compare", SOUND, OTHER, *results),
            ("compare", OTHER, OTHER, *results),
            ("show", OTHER, *results),
        )
        if not self.sound:  # there is no run behind the sound one
            cards = ("--dataset", "./data.toml", "--model", "./model.toml")
            ways = (*ways, ("rerun", OTHER, *results, *cards, "--data-root", "data", "--keep", out / "again"))
        return command(*random.choice(ways))

    def wrong(self, done: Done, how: str) -> str | None:
        if not self.shown:
            return None
        if not done.ok:
            return f"one bad record ends the report\n{done.err[-300:]}"
        rows = json.loads(done.out)["measured"]
        if not any(row["model"] == SOUND for row in rows):
            return f"the sound record is not shown\n{done.err[-300:]}"
        for row in rows:
            known = self.figures.get((row["dataset"], row["metric"]), {})
            for name, counted in known.items():
                left_out = name in ("low", "high") and row[name] is None  # nothing is shown that could be wrong
                if not row["claimed"] and not left_out and not _agree(row[name], counted):
                    return f"shows {row['metric']}, {name} {row[name]} of '{row['model']}', its rows give {counted}"
        return None


def _agree(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= 1e-6


def _score_maps(world: World, maps: Path, card: str, results: Path, name: str) -> None:
    with_errors = world.root / "maps"
    if not with_errors.exists():
        shutil.copytree(maps, with_errors)
        shutil.copy(maps / "a.png", with_errors / "b.png")
    world.clear()
    shutil.copytree(world.sound, world.place, dirs_exist_ok=True)
    _must("score", with_errors, "--dataset", card, "--name", name, "--results", results)


def _run_clustered(world: World, results: Path) -> None:
    """Rows with clusters, and with subsamples that were clustered again."""
    (world.place / "clustered.toml").write_bytes(mutators.as_toml(DATASET | {"id": "clustered"}))
    _run(world, "./clustered.toml", results)
    (rows,) = results.rglob("*.rows.npz")
    assert "subsamples" in (load_npz(rows) or {})


def _run_unlabelled(world: World, results: Path) -> None:
    files = {"list": "val.txt", "image": "images/{id}.jpg"}
    plain = {"id": "plain", "layouts": [{"name": "as it is", "splits": {"val": files}}]}
    tree = {key: value for key, value in DATASET.items() if key not in ("classes", "palette", "labels", "downloads")}
    tree = tree | plain | {"protocols": {"clustering": DATASET["protocols"]["clustering"]}}
    (world.place / "plain.toml").write_bytes(mutators.as_toml(tree))
    _run(world, "./plain.toml", results)


def _run(world: World, dataset: str, results: Path) -> None:
    card = (world.place / "model.toml").write_text(
        (ROOT / "models" / "random-shapes.toml").read_text().replace('id = "random-shapes"', f'id = "{OTHER}"', 1)
    )
    assert card
    _must("run", "--dataset", dataset, "--model", "./model.toml", "--num-seeds", 2, "--results", results)


def _score_video(world: World, results: Path) -> None:
    video = world.root / "video"
    for name in ("one", "two"):
        write_sequence(video, name, frames=4)
    write_list(video, ["one", "two"])
    maps = video / "Annotations" / "480p"
    of = ("--dataset", "davis", "--split", "val-2017", "--data-root", video)
    _must("score", maps, *of, "--name", OTHER, "--results", results)


def _score_foreground(world: World, made: Path) -> None:
    """Rows of masks and of boxes, on images of the same tree."""
    labels, given = world.sound / "data" / "labels", world.root / "given"
    files = {"list": "val.txt", "image": "images/{id}.jpg", "label": "labels/{id}.png", "boxes": "boxes.json"}
    names = (world.sound / "data" / "val.txt").read_text().split()
    own = {"layouts": [{"name": "as it is", "splits": {"val": files}}], "protocols": {"saliency": {}, "discovery": {}}}
    (world.place / "masks.toml").write_bytes(mutators.as_toml(DATASET | own | {"id": "masks", "downloads": []}))
    images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate(names)]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 9, 9 + i]} for i in range(len(names))]
    (world.place / "data" / "boxes.json").write_bytes(mutators.as_json({"images": images, "annotations": objects}))
    given.mkdir()
    (given / "boxes.json").write_bytes(mutators.as_json({name: [1, 1, 8, 8 + i] for i, name in enumerate(names)}))
    of = ("--dataset", "./masks.toml", "--data-root", "data", "--name", OTHER)
    _must("score", labels, *of, "--protocol", "saliency", "--results", made / "saliency")
    _must("score", given, *of, "--protocol", "discovery", "--results", made / "boxes")


def _must(*arguments: object) -> None:
    done = command(*arguments)
    assert done.ok, done.err


class Records(_Results):
    name = "records"

    def damage(self, random: Random) -> str:
        self.way = random.choice(("clustering", *self.ways))
        self.world.clear()
        self._put_results()
        if random.random() < 0.3:
            return f"{self.way} {self.damage_file(random, self.record, mutators.TEXTS, special=0.2)}"
        record = self.record
        tree = json.loads(record.read_text(encoding="utf-8"))
        below = random.choice(((), (), ("metrics",), ("protocol",), ("rows",), ("dataset",)))
        how, tree = mutators.changed_tree(random, tree, below)
        record.write_bytes(mutators.as_json(tree))
        return f"{self.way} {how}"


class Rows(_Results):
    """Rows that do not fit their record, and rows that do by their hash but not by themselves."""

    name = "rows"

    def damage(self, random: Random) -> str:
        self.way = random.choice(("clustering", *self.ways))
        self.world.clear()
        self._put_results()
        rows = next(self.record.parent.glob("*.rows.npz"))
        how = self.damage_file(random, rows, special=0.2) if random.random() < 0.3 else change_arrays(random, rows)
        if rows.is_file() and rows.stat().st_size and random.random() < 0.7:
            self._fit(rows)
            how += ", the hash fits"
        return f"{self.way} {how}"

    def _fit(self, rows: Path) -> None:
        tree = json.loads(self.record.read_text(encoding="utf-8"))
        tree["rows"]["sha256"] = sha256_file(rows)
        self.record.write_bytes(mutators.as_json(tree))


def change_arrays(random: Random, path: Path) -> str:
    """Change one array of an .npz."""
    arrays = load_npz(path)
    assert arrays is not None
    name = random.choice(list(arrays))
    array, ways = arrays[name], (*_ARRAYS, *(_NUMBERS if arrays[name].dtype.kind in "iuf" else ()))
    how, change = random.choice(ways)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(random, array)
    save_npz(path, arrays)
    return f"{name}: {how}"


def _set_one(random: Random, array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    with np.errstate(all="ignore"):
        if changed.size:
            changed.flat[random.randrange(changed.size)] = np.array(value).astype(changed.dtype)
    return changed


_TYPES = ("?", "i1", "u8", "f2", "c8", "M8[s]", "S3", "V4")
_ARRAYS = (
    ("missing", None),
    ("empty", lambda random, array: np.zeros((0, *array.shape[1:]), array.dtype)),
    ("halved", lambda random, array: array[: len(array) // 2] if array.ndim else array),
    ("twice", lambda random, array: np.concatenate([array, array]) if array.ndim else array),
    ("in one", lambda random, array: array[None]),
    ("a number", lambda random, array: np.array(7)),
    ("text", lambda random, array: np.full(array.shape, "\x1b[2J\n::error::x")),
    ("another type", lambda random, array: np.zeros(array.shape, random.choice(_TYPES))),
    ("huge", lambda random, array: np.zeros(300_000, array.dtype if array.dtype.kind != "U" else "U1")),
)  # fmt: skip
_NUMBERS = tuple(
    (f"one is {value}", partial(_set_one, value=value))
    for value in (-1, 0, 1, 255, 10**6, 2**31 - 1, -(2**31), 2**62, float("nan"), float("inf"))
)


class PublishedFigures(Kind):
    name = "published"
    files: ClassVar = ("published.csv", "published_per_class.csv", "published_allowed.csv", "published_names.csv")
    lines: ClassVar = 90
    """A longer table is thinned to about so many, so that a check of it takes no time."""

    def put(self) -> None:
        for name in self.files:
            lines = (ROOT / "results" / name).read_text(encoding="utf-8").splitlines(keepends=True)
            kept = lines if len(lines) <= self.lines else [*lines[:60], *lines[60 :: len(lines) // 30]]
            (self.world.place / name).write_text("".join(kept), encoding="utf-8")

    def damage(self, random: Random) -> str:
        self.file = random.choice(self.files)
        path = self.world.place / self.file
        if random.random() < 0.5:
            return self.damage_file(random, path, mutators.TEXTS)
        lines = path.read_text(encoding="utf-8").split("\n")
        place = random.randrange(len(lines))
        cells = lines[place].split(",")
        value = random.choice(mutators.TEXT_VALUES)
        cells[random.randrange(len(cells))] = random.choice((value, json.dumps(value), "1e999", "-1", "nan", "1_0"))
        lines[place] = ",".join(cells)
        path.write_bytes("\n".join(lines).encode(errors="surrogatepass"))
        return f"{self.file}: a cell is {value!r:.40}"

    file = "published.csv"

    def use(self, random: Random) -> Done:
        return call(lambda: len(check_table(Path("published.csv"), date(2026, 1, 1))))
