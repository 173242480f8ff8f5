"""What the site of all published figures and 1000 records costs: `python tests/benchmarks/site_build.py [records]`.

Prints seconds (of the clock, and of one core: the difference is waiting for others), the largest page and the whole
site in megabytes (10^6 bytes), for records spread over models, data sets and protocols, and for all in one table.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.base.files import sha256_file
from bench.cards.catalogue import dataset
from bench.records.audit import sound
from bench.records.published import figures
from bench.records.record import read_all
from bench.report.site import write_site
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from tests.synthetic import make_record

SPREAD = [
    (data, split, protocol)
    for data, split in (("pascal-voc", "val"), ("pascal-voc", "train"), ("coco-stuff-81", "val"), ("shapes", "val"))
    for protocol in ("clustering", "clustering-dense", "linear")
][:10]
METRICS = ("mIoU", "pixel_accuracy", "mean_class_accuracy", "nmi", "ari")


def record_of(number: int, model: str, place: tuple[str, str, str]) -> dict:
    """A record with everything that a real one has: five metrics, per-class IoU, a confusion matrix, environment."""
    generator = np.random.default_rng(number)
    data, split, protocol = place
    classes = dataset(data).classes
    made = make_record(
        model=model,
        value=float(generator.uniform(5, 60)),
        created=f"20{10 + number % 17}-{1 + number % 12:02d}-01T00:00:00+00:00",
        dataset={"id": data, "split": split, "title": data, "official_images": 1449, "layout": "as it lies"},
        protocol={"id": protocol},
    )
    made["metrics"] = {name: made["metrics"]["mIoU"] for name in METRICS}
    made["per_class"] = {name: float(generator.uniform(0, 90)) for name in classes}
    counts = generator.integers(0, 3000, (len(classes) + 1, len(classes))).astype(float)
    made["confusion"] = {"classes": list(classes), "rows": "predicted", "mean": counts.tolist()}
    made["environment"] = {"bench": "0.1.0", "python": "3.11.9", "packages": {"torch": "2.15", "numpy": "2.3"}}
    made["cost"] = {"seconds": 41.0, "images_per_second": 35.3, "device": "cpu"}
    return made


def sparse_rows(images: int = 1449, classes: int = 21, seeds: int = 5, per_image: int = 10) -> ConfusionRows:
    """Rows as a run on VOC has them: an image has a handful of pairs of a predicted and a true class."""
    generator = np.random.default_rng(0)
    image = np.repeat(np.arange(images, dtype=np.int32), per_image)

    def drawn(below: int) -> np.ndarray:
        return generator.integers(0, below, len(image)).astype(np.int32)

    true, pixels = drawn(classes), drawn(10**5).astype(np.int64)
    parts = [SeedRows(image, drawn(classes + 1), true, pixels) for _ in range(seeds)]
    return ConfusionRows(tuple(f"2007_{i:06}" for i in range(images)), classes, tuple(parts), drawn(20)[None, :0])


def write_records(results: Path, count: int, places: list[tuple[str, str, str]]) -> None:
    """`count` records below `results`, the models taking the places in turn."""
    rows = results / "rows.npz"
    results.mkdir()
    sparse_rows().write(rows)
    for number in range(count):
        model, place = f"model-{number // len(places)}", places[number % len(places)]
        path = results / model / f"{place[0]}-{place[1]}" / f"{place[2]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".rows.npz")
        beside.hardlink_to(rows)
        record = record_of(number, model, place) | {"rows": {"file": beside.name, "sha256": sha256_file(rows)}}
        path.write_text(json.dumps(record))


def measure(what: str, count: int, places: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results, site = Path(folder) / "results", Path(folder) / "site"
        write_records(results, count, places)
        start, spent = time.perf_counter(), time.process_time()
        stored, problems = read_all(results)
        read = time.perf_counter() - start
        sound(stored)  # these rows give none of the figures, and are everybody's: all of it has to be found out
        recounted = time.perf_counter() - start - read
        pages = write_site(site, figures(), stored, results, problems, print)
        seconds, spent = time.perf_counter() - start, time.process_time() - spent
        sizes = {path: path.stat().st_size / 1e6 for path in site.rglob("*") if path.is_file()}
        largest = max((path for path in sizes if path.suffix == ".html"), key=lambda path: sizes[path])
        print(
            f"{what}: {count} records, {pages} pages in {seconds:.1f} s ({spent:.1f} s of one core; reading the "
            f"records {read:.1f} s, counting their rows again {recounted:.1f} s); "
            f"largest {largest.relative_to(site)} {sizes[largest]:.2f} MB, "
            f"home {sizes[site / 'index.html']:.2f} MB, matrix {sizes[site / 'matrix.html']:.2f} MB, "
            f"all {sum(sizes.values()):.0f} MB"
        )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    measure("spread over ten tables", count, SPREAD)
    measure("all in one table", count, SPREAD[:1])


if __name__ == "__main__":
    main()
