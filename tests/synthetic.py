"""Observations, rows and records made up for tests: no image, no network, no run."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.cards.catalogue import datasets
from bench.cards.presets import fingerprint as fingerprint_of
from bench.passes.observations import Observation, Observations, stack
from bench.protocols import registry
from bench.protocols.clustering.preset import ClusteringPreset
from bench.records.published import authors_entry
from bench.records.record import Record, Stored, read, write
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.subsamples import draws


def observe_counts(inside, outside, prototypes=None, inputs=None) -> Observations:
    """Observations from N×C pixel counts inside and outside the mask; `inputs` are those on the input grid."""
    at_input = inputs or (inside, outside)
    found = []
    for i in range(len(inside)):
        columns = np.stack([inside[i], outside[i], at_input[0][i], at_input[1][i]], axis=1)
        classes = np.flatnonzero(columns.any(axis=1))
        prototype = np.zeros(2, np.float32) if prototypes is None else np.asarray(prototypes[i], np.float32)
        area = int(columns[:, 2].sum())
        counts = columns[classes].astype(np.int32)
        found.append(
            Observation(prototype, area, 0, (1, 1), classes.astype(np.uint16), counts, bytes(16), np.zeros(1, np.uint8))
        )
    return stack([f"image-{i}" for i in range(len(found))], found, {"fresh": len(found)})


def random_rows(seed: int, images: int, classes: int = 4, seeds: int = 2) -> ConfusionRows:
    """Rows in which most pixels of every image are right and some are not; a few stay unmatched.

    The labels are the same for every `seed`, as they are of the same images; what is predicted differs.
    """
    labels = np.random.default_rng(images).integers(20, 180, (images, classes))
    generator = np.random.default_rng(seed)
    shares = np.full((classes, classes + 1), 0.4 / (classes + 1)) + 0.6 * np.eye(classes, classes + 1)
    parts = []
    for _ in range(seeds):
        hard = generator.uniform(0, 1, (images, 1, 1))
        tables = generator.multinomial(labels, hard * shares + (1 - hard) / (classes + 1)).swapaxes(1, 2)
        image, predicted, true = np.nonzero(tables)
        parts.append(SeedRows(*(column.astype(np.int32) for column in (image, predicted, true)), tables[tables > 0]))
    clusters = generator.integers(0, classes, (seeds, images)).astype(np.int32)
    return ConfusionRows(tuple(f"image-{i}" for i in range(images)), classes, tuple(parts), clusters)


def make_record(
    *,
    model: str = "maskcontrast-sup",
    value: float = 44.2,
    seeds: int = 5,
    fingerprint: str | None = None,
    created: str = "2020-01-01T00:00:00+00:00",
    solver_gap: float | None = 0.0,
    per_class: dict[str, float | None] | None = None,
    cluster_to_class: list[list[int]] | None = None,
    dataset: dict | None = None,
    protocol: dict | None = None,
) -> Record:
    """A valid record of clustering on PASCAL VOC val whose mIoU is `value`, in steps of 0.2 over its seeds.

    The standard deviation of five seeds is √0.1. So is that of the authors' solver over 20 seeds, whose mean is
    `solver_gap` points lower, and so the tolerance is 0.34 points. The fingerprint is that of protocol and preset,
    unless another is given.
    """
    steps = 0.2 * (np.arange(seeds) - (seeds - 1) / 2)
    per_seed = [float(value + step) for step in steps]
    metric = {
        "value": value,
        "std": float(np.std(per_seed, ddof=1)) if seeds > 1 else None,
        "per_seed": per_seed,
        "ci95": [value - 1, value + 1],
    }
    data = {"id": "pascal-voc", "split": "val", "images": 1449, "limited": False} | (dataset or {})
    how = {
        "id": "clustering",
        "preset": ClusteringPreset().resolved(),
        "modified": False,
        "variations": [],
        "published_recipe": True,
    } | (protocol or {})
    known = registry.parsed(how["id"])
    return {
        "schema": 1,
        "model": {"id": model, "title": model, "weights_sha256": _hash(model), "supervision": "labels, of a kind"},
        "dataset": {"manifest": _hash(f"{data['id']} {data['split']} {data['images']}")} | data,
        "protocol": {"fingerprint": fingerprint or fingerprint_of(known[0] if known else how["id"], how["preset"])}
        | how,
        "seeds": list(range(1234, 1234 + seeds)),
        "metrics": {"mIoU": metric},
        "per_class": {"background": 88.0, "cat": 46.0, "cow": 0.1} if per_class is None else per_class,
        "cluster_to_class": cluster_to_class or [[0, 1, 2]],
        "solver_gap": solver_gap,
        "created": created,
    } | ({} if solver_gap is None else {"authors": authors_entry(authors_of(value - solver_gap))})


def authors_of(mean: float) -> dict[str, list[float]]:
    """Metric → what the authors' solver comes to over 20 seeds, with a standard deviation of √0.1."""
    off = math.sqrt(0.1 * 19 / 20)
    values = [mean + off, mean - off] * 10
    return {name: values for name in ("mIoU", "pixel_accuracy", "mean_class_accuracy")}


def with_subsamples(rows: ConfusionRows) -> ConfusionRows:
    """The rows with subsamples, each of which has the clusters of all images."""
    per_seed = [rows.class_sums(seed) for seed in range(len(rows.seeds))]
    sums = [[np.asarray(own[places].sum(axis=0)) for own in per_seed] for places in draws(rows.ids)]
    return replace(rows, subsamples=np.array(sums, np.int64))


def with_authors(rows: ConfusionRows, record: Record) -> ConfusionRows:
    """The rows with what both solvers came to over 20 seeds, as the record has it."""
    theirs = authors_of(record["authors"]["metrics"]["mIoU"]["value"])["mIoU"]
    own = [rows.sums(i % len(rows.seeds)) for i in range(20)]
    labelled = own[0][2 * rows.num_classes :]
    sums = []
    for value in theirs:
        right = np.round(value / 100 * labelled).astype(np.int64)
        sums.append(np.concatenate([right, right, labelled]))
    return replace(rows, solver_sums=np.stack([own, sums]))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


PIXELS = 10**12
"""Pixels of each class in `rows_of`: enough for any figure to come out to nine digits."""


def per_class_of(record: Record) -> dict[str, list[float]]:
    """The IoU of every class under each seed: the record's own classes, and others that make its mIoU what it is.

    The others are alike, and have the names of the data set's classes, in their order. A record without mIoU gets
    classes that give its first metric instead.
    """
    values = record["metrics"].get("mIoU", next(iter(record["metrics"].values())))["per_seed"]
    known = {name: [value or 0.0] * len(values) for name, value in record["per_class"].items()}
    card = datasets().get(record["dataset"]["id"])
    names = [name for name in (card.classes if card else ()) if name not in known] or ["another", "one more"]
    names = names[: max(1, len(card.classes) - len(known))] if card else names
    count = len(known) + len(names)
    others = [(count * value - sum(own[i] for own in known.values())) / len(names) for i, value in enumerate(values)]
    found = known | {name: others for name in names}
    return {name: found[name] for name in card.classes} if card and set(card.classes) == set(found) else found


def rows_of(record: Record) -> ConfusionRows:
    """Rows that give the IoU of `per_class_of`: so many pixels right, the rest unmatched.

    All pixels are in the first image, but for one of the first class in each of the others.
    """
    images = record["dataset"]["images"]
    classes = per_class_of(record)
    true = np.arange(len(classes), dtype=np.int32)
    parts = []
    for values in zip(*classes.values(), strict=True):
        right = np.array([round(iou / 100 * PIXELS) for iou in values])
        rest = PIXELS - right
        others = np.arange(1, images, dtype=np.int32)
        is_right = right[0] >= images
        (right if is_right else rest)[0] -= len(others)
        first = np.zeros(len(others), np.int32)
        parts.append(
            SeedRows(
                np.concatenate([np.zeros(2 * len(true), np.int32), others]),
                np.concatenate(
                    [true, np.full(len(true), len(true), np.int32), first if is_right else first + len(true)]
                ),
                np.concatenate([true, true, first]),
                np.concatenate([right, rest, np.ones(len(others), np.int64)]),
            )
        )
    ids = tuple(f"image-{i}" for i in range(images))
    rows = ConfusionRows(ids, len(classes), tuple(parts), np.zeros((len(parts), 0), np.int32))
    return with_authors(rows, record) if record.get("authors") else rows


def keep(results: Path, record: Record, rows: ConfusionRows | None = None) -> Stored:
    """Write a record with rows, and read it back.

    By default they are rows that give its mIoU and its classes; then it has no interval, which would take a while.
    """
    if rows is None:
        rows = rows_of(record)
        bare = {name: {k: v for k, v in said.items() if k != "ci95"} for name, said in record["metrics"].items()}
        means = {name: float(np.mean(values)) for name, values in per_class_of(record).items()}
        record = record | {"metrics": bare, "per_class": means if record["per_class"] else {}}
    path = write(record, rows, results)
    return Stored(path, read(path))
