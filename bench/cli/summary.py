"""A record as `bench run` and `bench score` print it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.escaping import one_line
from bench.cli.console import echo
from bench.cli.settings import echo_table, echo_wrapped

if TYPE_CHECKING:
    from bench.records.intervals import Interval
    from bench.records.record import Record, Stored

_CLUSTERS = 30
"""At most this many clusters' sizes are printed."""


def print_record(stored: Stored) -> None:
    """Print a run's figures as text."""
    from bench.base.files import display
    from bench.protocols import registry
    from bench.records.published import points
    from bench.scoring.metric_names import metric_name

    record, path = stored.record, display(stored.path)
    dataset, protocol = record["dataset"], record["protocol"]
    echo_wrapped(
        f"{record['model']['id']} on {dataset['id']} {one_line(dataset['split'])} ({_size(dataset)}), {protocol['id']}"
        + (", modified" if protocol["modified"] else "")
    )
    _print_figures(record)
    print_certainty(record)
    _print_absent(stored)
    for metric, answer in record["published"].items():
        reason = answer.get("reason")
        echo_wrapped(
            f"published {metric_name(metric)} {points(answer['value'])}, difference {answer['difference']:+.2f}: "
            + answer["status"]
            + (f" ({reason})" if reason else f" (tolerance {answer['tolerance']:.2f})"),
            "  ",
        )
    if told := read_of(record):
        echo_wrapped(told, "  read: ")
    echo_wrapped(record["model"]["supervision"], "  supervision: ")
    if not (probe := registry.probe(protocol["id"], protocol["preset"])).startswith("none"):
        echo_wrapped(probe, "  probe: ")
    if record["dataset"].get("labelled") is False:
        _print_clusters(record)
    echo(f"  record: {path}")
    if entry := record.get("examples"):
        echo(f"  examples: {Path(path).parent / entry['folder'] / 'index.html'}")


def _print_figures(record: Record) -> None:
    """Print each figure with its interval and spread; without labels, what they mean right behind them."""
    from bench.records.intervals import figure_interval
    from bench.scoring.metric_names import metric_name

    width = max(len(metric_name(metric)) for metric in record["metrics"])
    for metric, measured in record["metrics"].items():
        line = f"  {metric_name(metric):<{width}} {measured['value']:6.2f}"
        if found := figure_interval(measured, record["protocol"]["preset"]):
            line += f"  95 % interval {found.low:.2f} to {found.high:.2f}" + alone_mark(record, found)
        if measured["std"] is not None:
            line += f"  ± {measured['std']:.2f} over {len(measured['per_seed'])} seeds"
        if metric.startswith("seed_"):
            line += "  (how alike the seeds are, not how good)"
        echo(line)
    if record["dataset"].get("labelled") is False:
        _print_meaning(record)


def alone_mark(record: Record, shown: Interval) -> str:
    """What marks an interval over images alone, in a record that has others too."""
    from bench.records.intervals import SAMPLES

    both = shown.covers != SAMPLES and any("interval" in measured for measured in record["metrics"].values())
    return " (images)" if both else ""


def print_certainty(record: Record) -> None:
    """Print what the intervals are for; and how much the figure owes to matching on the labels it is judged by."""
    from bench.records.intervals import SAMPLES, figure_interval, images_interval, obstacle_of, optimism_of
    from bench.scoring.metric_names import metric_name

    preset, (metric, measured) = record["protocol"]["preset"], next(iter(record["metrics"].items()))
    shown, images = figure_interval(measured, preset), images_interval(measured, preset)
    if shown and shown.covers == SAMPLES:
        size = record["dataset"]["images"]
        told = f"for the mean over new samples of {size} images and new seeds, clustered again"
        if images:
            told += f"; over {images.covers}: {metric_name(metric)} {images.low:.2f} to {images.high:.2f}"
        echo_wrapped(told, "  interval: ")
    elif images:
        why = obstacle_of(record)
        echo_wrapped(f"over {images.covers}" + (f"; none for new samples: {why}" if why else ""), "  interval: ")
    if told := optimism_of(record):
        echo_wrapped(told, "  optimism: ")


def _print_absent(stored: Stored) -> None:
    """Print how many classes are absent: on few images, even perfect predictions then stay below 100."""
    from bench.records.record import classes_without_labels

    missing, classes = classes_without_labels(stored)
    if missing and stored.record["protocol"]["preset"].get("absent") == "zero":
        what = "class occurs in no label and counts" if missing == 1 else "classes occur in no label and count"
        echo(f"  {missing} of {classes} {what} as 0 (absent = zero)")


def _print_clusters(record: Record) -> None:
    """Without labels: print the sizes of the first seed's clusters."""
    first = record["clusters"][0]
    order = sorted(range(len(first["images"])), key=lambda k: (-first["images"][k], -first["pixels"][k]))
    pixels = sum(first["pixels"]) or 1
    rows = [(f"    {k}", str(first["images"][k]), f"{100 * first['pixels'][k] / pixels:.1f} %") for k in order]
    echo(f"  clusters under seed {first['seed']}, with images and share of the clustered pixels:")
    echo_table([("    CLUSTER", "IMAGES", "PIXELS"), *rows[:_CLUSTERS]])
    if len(rows) > _CLUSTERS:
        echo(f"    … and {len(rows) - _CLUSTERS} smaller ones")
    if "examples" not in record:
        echo("  --save-examples 6 writes a page with example images of each cluster")


_HIGH, _LOW = 80, 50
"""From and below which an agreement or evenness, in percent, is called high or low."""


def _print_meaning(record: Record) -> None:
    """Without labels: print what the figures say of these clusters, and what they do not."""
    values = {metric: measured["value"] for metric, measured in record["metrics"].items()}
    if (agreed := values.get("seed_ari")) is not None:
        words = ("other seeds find nearly the same clusters", "other seeds find some of these clusters")
        said = _by_height(agreed, *words, "other seeds find other clusters, so none of them means much alone")
        echo_wrapped(f"{agreed:.0f} is {said}; 100 is the same ones each time, 0 is chance", "  agreement: ")
    even, largest = values.get("cluster_evenness"), values.get("largest_cluster")
    if even is not None and largest is not None:
        words = ("all clusters are of about one size", "some clusters are much larger than others")
        said = _by_height(even, *words, "a few clusters have nearly all")
        echo_wrapped(f"{even:.0f} is {said}; the largest has {largest:.0f} %", "  evenness: ")
    echo_wrapped(
        "these figures do not say how good the clusters are, and compare with no figure from labels: sorting photos by "
        "brightness does well on them. Masks for a dozen of the images judge them, and all are clustered still",
        "  no labels: ",
    )


def _by_height(value: float, high: str, middling: str, low: str) -> str:
    """A percentage in words, and what follows from them."""
    return f"high: {high}" if value >= _HIGH else f"middling: {middling}" if value >= _LOW else f"low: {low}"


def _size(dataset: dict[str, Any]) -> str:
    """How much of a split a record covers, in words."""
    what = "sequences" if "sequences" in dataset else "images"
    official = dataset.get(f"official_{what}")
    size = f"{dataset[what]} {what}" + (f" of {official}" if dataset["limited"] and official else "")
    size += f", {dataset['images']} frames" if what == "sequences" else ""
    size += f", {dataset['judges']} of them with labels" if "judges" in dataset else ""
    return size + "".join(
        f"; {part['images']} of {part['official_images'] or 'the'} {one_line(split)} images"
        for split, part in dataset.get("cut", {}).items()
    )


def read_of(record: Record) -> str:
    """Which layer was read, its shape at which input, and how positions got there."""
    told = record.get("read")
    told = told if isinstance(told, dict) else {}
    shape, size = told.get("features"), told.get("input")
    if not isinstance(shape, dict) or not isinstance(size, list):
        return ""
    cells = f"{shape.get('width')}×{shape.get('rows')}×{shape.get('columns')} of {'×'.join(map(str, size))} pixels"
    positions = f"position embeddings {told['positions']}" if told.get("positions") else ""
    normal = f"{told['normalisation']} normalisation" if told.get("normalisation") else ""
    return ", ".join(str(part) for part in (told.get("layer"), cells, positions, normal) if part)
