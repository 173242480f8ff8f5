"""A results folder for tests of the web site: rows of every kind, pictures, and names that try to break out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from bench.cards.catalogue import dataset
from bench.data.palette import voc_palette
from bench.data.shapes import draw
from bench.records.published import Published, figures
from bench.records.record import Record, Stored, dumps, read_all
from bench.report.site import write_site
from tests.synthetic import make_record

BREAKOUT = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> `${alert(3)}` {{ 7*7 }} &amp; ../../../etc/passwd \\"
)
RIGHT_TO_LEFT = "\u202eתיבה עברית، نص عربي"
LONG = "long" * 75
HOSTILE = f"{BREAKOUT} {RIGHT_TO_LEFT} {LONG}"

SUP, UNSUP = "maskcontrast-sup", "maskcontrast-unsup"
PAPER = {
    "title": "Unsupervised Semantic Segmentation by Contrasting Object Mask Proposals",
    "arxiv": "2102.06191",
    "date": "2021-02-11",
}


def write_results(results: Path) -> None:
    """Fill a folder with records; one file in it is none."""
    for number, record in enumerate(_records(), start=1):
        folder = results / record["model"]["id"] / f"{record['dataset']['id']}-{number}"
        folder.mkdir(parents=True)
        if record["model"]["id"] in (SUP, "hostile"):
            record["examples"] = _write_pictures(folder / "run.examples", record)
        (folder / "run.json").write_text(dumps(record), encoding="utf-8")
    (results / "<img src=x onerror=alert(4)>.json").write_text("{", encoding="utf-8")


def few_figures() -> tuple[Published, ...]:
    """Published figures that suffice where it is not the table itself that is looked at: those of the paper's table,
    and all of VOC's clusterings and linear heads."""
    kept = {("pascal-voc", "clustering"), ("pascal-voc", "linear")}
    return tuple(figure for figure in figures() if figure.seed_table or (figure.dataset, figure.protocol) in kept)


def published_figures() -> tuple[Published, ...]:
    """Some published figures, and one whose every name is hostile."""
    example = next(figure for figure in figures() if not figure.card and figure.comparable)
    texts = dict.fromkeys(
        ("model", "backbone", "init", "prior", "supervision", "paper", "note", "date", "source"), HOSTILE
    )
    return (
        *few_figures(),
        replace(example, dataset="pascal-voc", protocol="clustering", value=12.3, arxiv=HOSTILE, **texts),
    )


def _records() -> list[Record]:
    return [
        _on_voc(SUP, 44.3, supervision="ImageNet labels and saliency labels", paper=PAPER),  # reproduced
        _on_voc(UNSUP, 30.0, supervision="none claimed", paper=PAPER),  # below
        _on_voc("steady", 41.0),
        _on_voc("level", 41.4),  # within the interval of the row above
        _on_voc("early", 9.5),  # a text would sort it before 41
        _on_voc("trial", 60.0, dataset={"limited": True, "images": 40}),
        _on_voc("own-recipe", 61.0, protocol={"modified": True, "variations": ["seeds7x3"]}),
        *(_on_coco(images) for images in (5000, 200, 100)),
        _on_shapes("random-shapes", 5.0, 40.0),
        _on_shapes("maskcontrast-shapes", 51.3, 30.0),
        _video(),
        _unlabelled("steady", "clustering"),
        _unlabelled(HOSTILE, "clustering-dense"),
        _hostile(),
    ]


def _on_voc(model: str, value: float, supervision: str = "none", paper: dict | None = None, **changes) -> Record:
    record = make_record(model=model, value=value, created="2025-03-01T12:00:00+00:00", **changes)
    record["model"] |= {"supervision": supervision, "initialisation": "random", "prior": "none", "paper": paper}
    _count(record, dataset("pascal-voc").classes, seed=len(model))
    record["environment"] = {"python": "3.11.7", "packages": {"torch": "2.14.1"}, "git": {"commit": "c" * 40}}
    record["cost"] = {"seconds": 1312.5, "peak_memory_mb": 1055.3}
    record["warnings"] = ["2 images have no salient pixel"] if model == UNSUP else []
    return record


def _on_coco(images: int) -> Record:
    """One of several runs of 81 classes, which are too many for one page."""
    record = make_record(model="wide", value=10 + images / 1000, dataset={"id": "coco-stuff-81", "images": images})
    record["dataset"]["limited"] = images < 5000
    record["model"]["supervision"] = "none"
    _count(record, dataset("coco-stuff-81").classes, seed=images)
    return record


def _on_shapes(model: str, mean_iou: float, accuracy: float) -> Record:
    record = make_record(model=model, value=mean_iou, dataset={"id": "shapes", "images": 400})
    record["model"]["supervision"] = "none"
    record["metrics"]["pixel_accuracy"] = make_record(value=accuracy)["metrics"]["mIoU"]
    return record


def _video() -> Record:
    """Of video: J and F, and their decay, of which less is better."""
    record = make_record(
        model="tracker", dataset={"id": "davis", "split": "val-2017"}, protocol={"id": "davis"}, seeds=1
    )
    values = {"JF_mean": 62.0, "J_mean": 60.0, "F_mean": 64.0, "J_decay": 21.0}
    record["metrics"] = {name: make_record(value=value, seeds=1)["metrics"]["mIoU"] for name, value in values.items()}
    record["per_class"] = {}
    record["per_sequence"] = {name: {"J": 60.0, "F": 64.0} for name in ("bike-packing", "blackswan", "judo")}
    return record


def _unlabelled(title: str, protocol: str) -> Record:
    """A run without labels: nothing to rank it by."""
    protocol_entries = {"id": f"{protocol}-unlabelled", "preset": {}}
    record = make_record(model="groups", dataset={"id": "plain", "split": "all"}, protocol=protocol_entries)
    record["model"]["title"] = title
    record["metrics"] = {name: record["metrics"]["mIoU"] for name in ("seed_ari", "largest_cluster", title)}
    return record | {"per_class": {}, "cluster_to_class": []}


def _hostile() -> Record:
    """A record that is valid, and every free text of which tries to break out of its place."""
    record = make_record(model="hostile", value=20.0, per_class={HOSTILE: 1.0, "cat": 2.0})
    texts = dict.fromkeys(("title", "supervision", "initialisation", "prior", "weights_source"), HOSTILE)
    record["model"] |= texts | {"architecture": {"backbone": HOSTILE}}
    record["model"]["paper"] = dict.fromkeys(("title", "arxiv", "date"), HOSTILE)
    record["dataset"] |= {"id": "hostile-data", "title": HOSTILE, "layout": HOSTILE}
    record["protocol"] |= {"fingerprint": HOSTILE, "variations": [HOSTILE]}
    record["protocol"]["preset"] = {HOSTILE: HOSTILE}
    record["metrics"][HOSTILE] = record["metrics"]["mIoU"]
    record["confusion"] = {"classes": [HOSTILE, "cat"], "mean": [[5, 1], [2, 6]]}
    record["environment"] = {HOSTILE: HOSTILE, "packages": {HOSTILE: HOSTILE}}
    record["warnings"] = [HOSTILE]
    return record


def _count(record: Record, classes: tuple[str, ...], seed: int) -> None:
    """Give a record a confusion matrix in which most pixels are right, and the per-class IoU that follows from it."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 40, (len(classes) + 1, len(classes)))
    counts[range(len(classes)), range(len(classes))] += generator.integers(0, 900, len(classes))
    right = counts.diagonal()
    union = counts[:-1].sum(axis=1) + counts.sum(axis=0) - right
    record["per_class"] = dict(zip(classes, (100 * right / union).tolist(), strict=True))
    record["per_class"][classes[-1]] = None  # occurs nowhere
    record["confusion"] = {"classes": list(classes), "mean": counts.tolist()}


def _write_pictures(folder: Path, record: Record) -> dict:
    """Images of `shapes` with their labels as a gallery; hostile names for the hostile record."""
    folder.mkdir()
    hostile = record["model"]["id"] == "hostile"
    images = []
    for index in range(4):
        pixels, label = draw("val", index, 400)
        files = {"image": f"{index} a&b #1.jpg", "label": f"{index}.label.png", "prediction": f"{index}.prediction.png"}
        Image.fromarray(pixels).save(folder / files["image"])
        _save_map(folder / files["label"], label)
        _save_map(folder / files["prediction"], np.roll(label, 3, axis=1))
        name = f"{HOSTILE} {index}" if hostile else f"2007_00{index:04d}"
        images.append(
            {"id": name, "iou": 80.0 - 20 * index, "groups": ["best"] if index < 2 else ["worst", "cluster"]}
            | {"width": pixels.shape[1], "height": pixels.shape[0], "clusters": [index % 2], **files}
        )
    names = [HOSTILE] * 3 if hostile else dataset("shapes").classes
    colours = np.frombuffer(voc_palette(), np.uint8).reshape(-1, 3)
    index = {
        "schema": 1,
        "seed": 1234,
        "legend": [{"id": i, "name": name, "colour": f"#{bytes(colours[i]).hex()}"} for i, name in enumerate(names)],
        "images": images,
        "clusters": [
            {"cluster": i, "class": names[i + 1], "images": 700, "examples": [images[i]["id"], images[i + 2]["id"]]}
            for i in range(2)
        ],
    }
    (folder / "examples.json").write_text(dumps(index), encoding="utf-8")
    return {"folder": folder.name, "images": len(images)}


def _save_map(path: Path, label: np.ndarray) -> None:
    picture = Image.fromarray(label, mode="P")
    picture.putpalette(voc_palette())
    picture.save(path)


def build_site(folder: Path) -> Path:
    """Write the results folder and the site of its records, none of which has rows; returns the site's folder."""
    results, site = folder / "results", folder / "site"
    write_results(results)
    stored, problems = read_all(results)
    write_site(site, published_figures(), stored, results, problems, print)
    return site


def build_full_site(folder: Path) -> None:
    """Write the site of all published figures and a hundred records at a folder."""
    results = folder.parent / "results-of-full-site"
    stored = [
        Stored(results / record["model"]["id"] / f"{number}.json", record)
        for number, record in enumerate(many_records())
    ]
    write_site(folder, figures(), stored, results, [], print)


def many_records() -> list[Record]:
    """A hundred records of 25 models on four benchmarks; some answer to published figures."""
    places = (
        ({"id": "pascal-voc", "split": "val"}, "clustering"),
        ({"id": "pascal-voc", "split": "val"}, "in-context"),
        ({"id": "coco-stuff-27", "split": "val"}, "stego-cluster"),
        ({"id": "ade20k", "split": "val"}, "linear-dinov3"),
    )
    records = []
    for number in range(100):
        data, protocol = places[number % 4]
        model = SUP if number == 0 else f"model-{number // 4:02}"
        record = make_record(model=model, value=20 + number / 3, dataset=dict(data), protocol={"id": protocol})
        record["model"] |= {"supervision": "none", "initialisation": "random", "prior": "none"}
        record["created"] = f"2026-{1 + number % 12:02}-01T00:00:00+00:00"
        records.append(record)
    return records
