"""Observations, rows and records made up for tests: no image, no network, no run."""

from pathlib import Path

import numpy as np

from bench.passes.observations import Observation, Observations, stack
from bench.protocols.clustering.preset import ClusteringPreset
from bench.records.record import Record, Stored, read, write
from bench.scoring.confusion_rows import ConfusionRows, SeedRows


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
    """Rows in which most pixels of every image are right and some are not; a few stay unmatched."""
    generator = np.random.default_rng(seed)
    parts = []
    for _ in range(seeds):
        tables = generator.integers(0, 20, (images, classes + 1, classes))
        tables[:, range(classes), range(classes)] += generator.integers(0, 100, (images, classes))
        image, predicted, true = np.nonzero(tables)
        parts.append(SeedRows(*(column.astype(np.int32) for column in (image, predicted, true)), tables[tables > 0]))
    labels = generator.integers(0, classes, (seeds, images)).astype(np.int32)
    return ConfusionRows(tuple(f"image-{i}" for i in range(images)), classes, tuple(parts), labels)


def make_record(
    *,
    model: str = "maskcontrast-sup",
    value: float = 44.2,
    seeds: int = 5,
    fingerprint: str = "f" * 64,
    created: str = "2030-01-01T00:00:00+00:00",
    solver_gap: float | None = 0.0,
    per_class: dict[str, float | None] | None = None,
    cluster_to_class: list[list[int]] | None = None,
    dataset: dict | None = None,
    protocol: dict | None = None,
) -> Record:
    """A valid record of clustering on PASCAL VOC val whose mIoU is `value`, in steps of 0.2 over its seeds.

    It is of the authors' solver. With five seeds the standard deviation is √0.1, and so the tolerance is 0.56 points.
    """
    steps = 0.2 * (np.arange(seeds) - (seeds - 1) / 2)
    per_seed = [float(value + step) for step in steps]
    metric = {
        "value": value,
        "std": float(np.std(per_seed, ddof=1)) if seeds > 1 else None,
        "per_seed": per_seed,
        "ci95": [value - 1, value + 1],
    }
    return {
        "schema": 1,
        "model": {"id": model, "title": model, "weights_sha256": "0" * 64, "supervision": "labels, of a kind"},
        "dataset": {"id": "pascal-voc", "split": "val", "images": 1449, "manifest": "a" * 64, "limited": False}
        | (dataset or {}),
        "protocol": {
            "id": "clustering",
            "fingerprint": fingerprint,
            "preset": ClusteringPreset(solver="minibatch").resolved(),
            "modified": False,
            "variations": [],
            "published_recipe": True,
        }
        | (protocol or {}),
        "seeds": list(range(1234, 1234 + seeds)),
        "metrics": {"mIoU": metric},
        "per_class": {"background": 88.0, "cat": 46.0, "cow": 0.1} if per_class is None else per_class,
        "cluster_to_class": cluster_to_class or [[0, 1, 2]],
        "solver_gap": solver_gap,
        "created": created,
    }


PIXELS = 10**12
"""Pixels of each class in `rows_of`: enough for any figure to come out to nine digits."""


REST = "all others"
"""The class of `rows_of` that has the record's mIoU."""


def rows_of(record: Record) -> ConfusionRows:
    """Rows that give the IoU of the record's classes, and its mIoU under each seed: so many pixels right, the rest
    unmatched.

    The mean takes in one class alone, the last, which is called `REST`. All pixels are in the first image. A record
    without mIoU gets rows that give its first metric instead.
    """
    known = [value or 0.0 for name, value in record["per_class"].items() if name != REST]
    classes = len(known) + 1
    true = np.tile(np.arange(classes, dtype=np.int32), 2)
    predicted = np.where(np.arange(2 * classes) < classes, true, classes).astype(np.int32)
    parts = []
    metrics = record["metrics"]
    for value in metrics.get("mIoU", next(iter(metrics.values())))["per_seed"]:
        right = [round(iou / 100 * PIXELS) for iou in (*known, value)]
        counts = np.array([*right, *(PIXELS - hit for hit in right)])
        parts.append(SeedRows(np.zeros(2 * classes, np.int32), predicted, true, counts))
    ids = tuple(f"image-{i}" for i in range(record["dataset"]["images"]))
    return ConfusionRows(ids, classes, tuple(parts), np.zeros((len(parts), 0), np.int32), (classes - 1,))


def keep(results: Path, record: Record, rows: ConfusionRows | None = None) -> Stored:
    """Write a record with rows, and read it back.

    By default they are rows that give its mIoU and its classes; then it has no interval, which would take a while.
    """
    if rows is None:
        rows = rows_of(record)
        bare = {name: {k: v for k, v in said.items() if k != "ci95"} for name, said in record["metrics"].items()}
        value = record["metrics"].get("mIoU", next(iter(record["metrics"].values())))["value"]
        classes = record["per_class"] | {REST: value} if record["per_class"] else {}
        record = record | {"metrics": bare, "per_class": classes}
    path = write(record, rows, results)
    return Stored(path, read(path))
