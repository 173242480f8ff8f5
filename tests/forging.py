"""A folder of sound records, and records in it that were tampered with: what a stranger might hand in."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from bench.base.files import sha256_file
from bench.cards.presets import fingerprint
from bench.records.audit import Audited, audit
from bench.records.contradictions import base_of
from bench.records.record import Record, class_names, read_all
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.rows import Context
from tests.conftest import ROOT

MINE, OTHER, SUP = "maskcontrast-shapes", "random-shapes", "maskcontrast-sup"
MODELS = (MINE, OTHER, "random-resnet18")
Change = Callable[[Record], object]
Rows = Callable[[ConfusionRows], ConfusionRows]


@cache
def _shipped(model: str) -> tuple[Record, bytes]:
    """A record that comes with the program and its rows, without intervals and the subsamples they are of.

    Drawing resamples takes longest, and nothing rests on it here.
    """
    path = ROOT / "results" / model / "shapes-val" / "clustering.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for metric in record["metrics"].values():
        metric.pop("ci95", None)
        metric.pop("interval", None)
    record.pop("optimism", None)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        replace(rows_at(path), subsamples=None).write(rows)
        record["rows"]["sha256"] = sha256_file(rows)
        return record, rows.read_bytes()


def place(results: Path, model: str = MINE) -> Path:
    """Where a model's record lies."""
    return results / model / "shapes-val" / "clustering.json"


def sound_folder(results: Path, models: tuple[str, ...] = MODELS) -> Path:
    """Fill a folder with true records of `shapes`."""
    for model in models:
        path = place(results, model)
        path.parent.mkdir(parents=True)
        record, rows = _shipped(model)
        path.write_text(json.dumps(record), encoding="utf-8")
        path.with_name("clustering.rows.npz").write_bytes(rows)
    return results


def rows_at(path: Path) -> ConfusionRows:
    """The rows beside a record."""
    return ConfusionRows.read(path.with_name(path.name.removesuffix(".json") + ".rows.npz"))


def forge(path: Path, change: Change = lambda record: None, rows: Rows | None = None, to: Path | None = None) -> Path:
    """Change the record at `path`, and its rows; the record then says what the changed rows give, and has their hash.

    With `to` the forged record is written there, and the one at `path` stays.
    """
    target = to or path
    target.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(path.read_text(encoding="utf-8"))
    own = rows_at(path)
    if rows is not None:
        own = rows(own)
        recounted(record, own)
    change(record)
    file = target.with_name(target.name.removesuffix(".json") + ".rows.npz")
    own.write(file)
    if record.get("rows"):
        record["rows"] = {"file": file.name, "sha256": sha256_file(file)}
    target.write_text(json.dumps(record), encoding="utf-8")
    return target


def recounted(record: Record, rows: ConfusionRows) -> None:
    """Have a record say what rows give, as somebody would who knows the format."""
    preset, seeds = record["protocol"]["preset"], tuple(record["seeds"])
    extra = rows.further(preset, ["nmi", "ari"])
    record |= rows.entries(Context(preset, class_names(record), seeds, extra, intervals=False))
    record["cluster_to_class"] = []
    record["dataset"]["images"] = len(rows.ids)


def with_preset(**entries: object) -> Change:
    """Other entries, and the fingerprint that goes with them."""

    def change(record: Record) -> None:
        protocol = record["protocol"]
        protocol["preset"] |= entries
        protocol["fingerprint"] = fingerprint(base_of(protocol["id"]) or protocol["id"], protocol["preset"])

    return change


def each_seed(rows: ConfusionRows, change: Callable[[SeedRows], SeedRows]) -> ConfusionRows:
    """Every seed's rows changed in one way."""
    return replace(rows, seeds=tuple(map(change, rows.seeds)))


def chosen(own: SeedRows, kept: np.ndarray) -> SeedRows:
    """Some rows of a seed."""
    return SeedRows(*(getattr(own, name)[kept] for name in SeedRows.__annotations__))


def without_the_worst(rows: ConfusionRows, count: int = 200) -> ConfusionRows:
    """Without the rows of the images that the model does worst on; their ids stay."""
    scores = np.nan_to_num(rows.image_scores()[0])
    lost = np.argsort(scores)[:count]
    return each_seed(rows, lambda own: chosen(own, ~np.isin(own.image, lost)))


def perfect(rows: ConfusionRows) -> ConfusionRows:
    """Every pixel right."""
    right = each_seed(rows, lambda own: replace(own, predicted=own.true))
    return replace(right, labels=np.zeros((len(rows.seeds), 0), np.int32))


def found_at(path: Path, results: Path) -> Audited:
    """What an audit of the whole folder finds of one record."""
    return next(one for one in audit(read_all(results)[0]) if one.stored.path == path)


def then(*changes: Change) -> Change:
    """Several changes in turn."""

    def change(record):
        for one in changes:
            one(record)

    return change


def setting(part: str, **entries: object) -> Change:
    """Entries of a part of the record."""
    return lambda record: record[part].update(entries)


def metric(name: str, **entries: object) -> Change:
    """Entries of a metric, old or new."""
    return lambda record: record["metrics"].setdefault(name, {}).update(entries)


def relabelled(model: str, **entries: object) -> Change:
    """The record as of another model of the catalogue, in words that go with it."""
    words = {"supervision": "ImageNet labels and saliency labels", "title": model, "architecture": None}
    return setting("model", id=model, **(words | entries))


def drop_a_seed_s_rows(rows: ConfusionRows) -> ConfusionRows:
    """Rows that one seed lacks."""
    first = chosen(rows.seeds[1], rows.seeds[1].image > 100)
    return replace(rows, seeds=(rows.seeds[0], first, *rows.seeds[2:]))


def inflate_the_best(rows: ConfusionRows) -> ConfusionRows:
    """The image that the model does best on counts a thousand times."""
    best = int(np.nanargmax(rows.image_scores()[0]))
    return each_seed(rows, lambda own: replace(own, count=np.where(own.image == best, 1000, 1) * own.count))


def paint_some_otherwise(rows: ConfusionRows) -> ConfusionRows:
    """The first images are right."""

    def repaint(own):
        right = (own.image < 20) & (own.predicted > 0)
        return replace(own, predicted=np.where(right, own.true, own.predicted).astype(np.int32))

    return each_seed(rows, repaint)


def two_clusters_on_a_class(rows: ConfusionRows) -> ConfusionRows:
    """What the second cluster's images are painted with is the class of the first."""
    found = []
    for labels, own in zip(rows.labels, rows.seeds, strict=True):
        inside = np.arange(len(own.image)) <= np.flatnonzero(np.diff(own.image) < 0)[0]
        first, second = (inside & (labels[own.image] == cluster) for cluster in (0, 1))
        found.append(replace(own, predicted=np.where(second, own.predicted[first][0], own.predicted)))
    return replace(rows, seeds=tuple(found))


def with_sums(rows: ConfusionRows, theirs: float = 0.0) -> ConfusionRows:
    """Sums of both solvers: ours as the rows have them under their own seeds."""
    ours = np.tile([rows.sums(seed) for seed in range(5)], (4, 1))
    other = ours.copy()
    other[:, 0] = other[:, 0] * (1 - theirs)
    return replace(rows, solver_sums=np.stack([ours, other]))


def with_impossible_sums(rows: ConfusionRows) -> ConfusionRows:
    """Sums of more right pixels than there are."""
    sums = with_sums(rows).solver_sums.copy()
    sums[1, :, 0] = 10**15
    return replace(rows, solver_sums=sums)
