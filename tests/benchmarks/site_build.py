"""What the site of 1000 records costs: `python tests/benchmarks/site_build.py [records]`.

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
from bench.catalogue import dataset
from bench.published import figures
from bench.record import read_all
from bench.site import write_site
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


def write_records(results: Path, count: int, places: list[tuple[str, str, str]]) -> None:
    """`count` records below `results`, the models taking the places in turn."""
    for number in range(count):
        model, place = f"model-{number // len(places)}", places[number % len(places)]
        path = results / model / f"{place[0]}-{place[1]}" / f"{place[2]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record_of(number, model, place)))


def measure(what: str, count: int, places: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results, site = Path(folder) / "results", Path(folder) / "site"
        write_records(results, count, places)
        start, spent = time.perf_counter(), time.process_time()
        stored, problems = read_all(results)
        read = time.perf_counter() - start
        pages = write_site(site, figures(), stored, results, problems, print)
        seconds, spent = time.perf_counter() - start, time.process_time() - spent
        sizes = {path: path.stat().st_size / 1e6 for path in site.rglob("*") if path.is_file()}
        largest = max((path for path in sizes if path.suffix == ".html"), key=lambda path: sizes[path])
        print(
            f"{what}: {count} records, {pages} pages in {seconds:.1f} s ({spent:.1f} s of one core; reading the "
            f"records {read:.1f} s); largest {largest.relative_to(site)} {sizes[largest]:.2f} MB, "
            f"all {sum(sizes.values()):.0f} MB"
        )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    measure("spread over ten tables", count, SPREAD)
    measure("all in one table", count, SPREAD[:1])


if __name__ == "__main__":
    main()
