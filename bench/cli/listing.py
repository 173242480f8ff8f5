"""`bench list` and `bench show`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.completion import ids, splits
from bench.cli.console import echo, emit
from bench.cli.parameters import NameOrPath, Place
from bench.cli.settings import (
    cache_option,
    data_root_of,
    data_root_option,
    echo_remarks,
    echo_skipped,
    echo_table,
    read_records,
    records_folder,
    results_option,
)
from bench.cli.show_checkpoint import show_checkpoint

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard
    from bench.cards.models import ModelCard
    from bench.data.decoding import Label
    from bench.data.samples import Samples

_KINDS = ("models", "datasets", "protocols", "recipes", "published", "results")
_LARGEST_CARD = 1 << 20
"""Bytes: a larger file is not looked at as a card."""
_HEADS = {"labels seen": "supervision"}
"""Column → its head in a table for people, where it differs from the key of `--json`."""


@click.command(name="list")
@click.argument("kind", type=click.Choice(_KINDS))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@results_option
def list_(kind: str, as_json: bool, results: Path | None) -> int:
    """List models, datasets, protocols, recipes of pre-training, published figures, or results (own records)."""
    tables: dict[str, Callable[[], Table]] = {
        "models": _models,
        "datasets": _datasets,
        "protocols": _protocols,
        "recipes": _recipes,
        "published": _published,
        "results": lambda: _results(records_folder(results)),
    }
    head, rows = tables[kind]()
    if as_json:
        from bench.records.record import dumps

        emit(dumps([dict(zip(head, row, strict=True)) for row in rows]))
    elif rows:
        echo_table([tuple(_HEADS.get(name, name).upper() for name in head), *rows])
    else:
        echo(f"no {kind} yet", err=True)
    return 0


Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]


def _models() -> Table:
    from bench.cards.catalogue import models

    return ("id", "backbone", "weights", "labels seen"), [
        (card.id, card.architecture.backbone, card.weights.source, card.training.supervision)
        for card in models().values()
    ]


def _datasets() -> Table:
    from bench.cards.catalogue import datasets

    return ("id", "classes", "splits", "title"), [
        (
            card.id,
            str(len(card.classes) or "-"),
            " ".join(f"{name}:{s.size or '?'}" for name, s in card.splits.items()),
            card.title,
        )
        for card in datasets().values()
    ]


def _protocols() -> Table:
    from bench.cards.presets import describe
    from bench.protocols import registry

    rows = []
    for protocol, known in sorted(registry.protocols().items()):
        for key, entry in known.preset_type.model_fields.items():
            rows.append((protocol, key, describe(known.preset_type, key), _meaning(entry.description)))
    return ("protocol", "entry", "value", "meaning"), rows


def _meaning(description: str | None) -> str:
    """An entry's docstring on one line, without references to the documents."""
    return re.sub(r" \(docs/[^)]*\)", "", " ".join((description or "").split()))


def _recipes() -> Table:
    """One row per entry, one column per recipe."""
    from bench.cards.catalogue import recipes
    from bench.cards.models import Architecture
    from bench.cards.recipes import Recipe

    known = recipes()
    fields = {key: entry for key, entry in Recipe.model_fields.items() if key in next(iter(known.values())).entries()}
    rows = []
    for key, entry in fields.items():
        values = [card.entries()[key] for card in known.values()]
        if key != "architecture":
            rows.append((key, *map(_plain, values), _meaning(entry.description)))
            continue
        for name in Architecture.model_fields:
            rows.append((f"{key}.{name}", *(_plain(value[name]) for value in values), ""))
    return ("entry", *known, "meaning"), rows


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value)) or "-"
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _published() -> Table:
    from bench.records.published import figures

    return ("dataset", "split", "protocol", "metric", "value", "comparable", "card", "backbone", "model"), [
        (
            f.dataset,
            f.split,
            f.protocol,
            f.metric,
            f"{f.value:g}",
            "yes" if f.comparable else "no",
            " ".join(f.card) or "-",
            f.backbone,
            f.model,
        )
        for f in figures()
    ]


def _results(folder: Path) -> Table:
    """The figures of records, counted again from their rows; what no row gives, and a record without, is marked."""
    from bench.records.audit import audit, remarks
    from bench.records.record import NO_ROWS, other_precision, precision_of
    from bench.report.tables import probe_of

    found = []
    for one in audit(read_records(folder)):
        if one.problem not in (None, NO_ROWS):
            echo_skipped([one.line])
        elif one.problem:
            found.append(replace(one.stored, claimed=frozenset(one.stored.record["metrics"])))
        else:
            found.append(one.stored)
    echo_remarks(remarks(found))
    rows = []
    for entry in sorted(found, key=lambda entry: entry.path):
        record = entry.record
        modified, limited = record["protocol"].get("modified"), record["dataset"]["limited"]
        marks = (" (modified)" if modified else "") + (" (limited)" if limited else "")
        marks += f" ({precision_of(record)})" if other_precision(record) else ""
        marks += " (in doubt)" if entry.doubts else ""
        for metric, measured in record["metrics"].items():
            rows.append(
                (
                    record["model"]["id"],
                    f"{record['dataset']['id']}-{record['dataset']['split']}",
                    record["protocol"]["id"] + marks,
                    metric,
                    f"{measured['value']:.2f}" + (" (claimed)" if metric in entry.claimed else ""),
                    record["model"]["supervision"],
                    probe_of(record),
                    entry.path.relative_to(folder).as_posix(),
                )
            )
    return ("model", "dataset", "protocol", "metric", "value", "labels seen", "probe", "record"), rows


@click.command()
@click.argument("name", metavar="ID|CARD|FILE", type=NameOrPath(), shell_complete=ids("models", "datasets"))
@data_root_option
@click.option("--split", shell_complete=splits, help="Split whose samples are opened. [default: the data set's own]")
@click.option(
    "--samples", type=click.IntRange(0, 100), help="Number of samples to open. [default: 5; with --pictures 12]"
)
@click.option(
    "--pictures",
    type=Place(folder=False, writes=True),
    metavar="FILE",
    help="Draw samples of a data set, with labels in colour, to this .png or .jpg file.",
)
@cache_option
def show(
    name: str,
    data_root: tuple[str, ...],
    split: str | None,
    samples: int | None,
    pictures: Path | None,
    cache: Path | None,
) -> int:
    """Show a model, a data set, a protocol or a checkpoint file.

    A data set is shown with some of its samples. A checkpoint file is shown with the network that bench recognises in
    it, its number of parameters, and the protocols that can evaluate it.
    """
    from bench.base.files import cache_folder
    from bench.cards import catalogue

    if pictures is not None and pictures.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.UsageError("--pictures must end in .png or .jpg")
    meant = _meanings(name)
    if pictures is not None and "data set" not in meant:
        raise click.UsageError("--pictures is for data sets")
    if "model" in meant:
        _show_model(catalogue.model(name), cache_folder(cache))
    if "data set" in meant:
        _show_dataset(catalogue.dataset(name), name, data_root, split, samples, pictures, cache_folder(cache))
    if "protocol" in meant and pictures is None:
        _show_protocol(name, title="data set" in meant)
    if "checkpoint" in meant:
        show_checkpoint(name, cache_folder(cache))
    return 0


def _meanings(name: str) -> tuple[str, ...]:
    """What a name means: `model`, `data set`, `protocol` or `checkpoint`; two of them for davis, also a protocol.

    Raises WrongName for a name that means nothing.
    """
    from bench.base.errors import unknown_name
    from bench.base.files import is_endless_file, is_ordinary_file
    from bench.base.paths import expand
    from bench.cards import catalogue
    from bench.cards.card import is_model_card
    from bench.protocols import registry

    built_in: dict[str, Collection[str]] = {
        "model": catalogue.models(),
        "data set": catalogue.datasets(),
        "protocol": sorted(registry.protocols()),
    }
    if found := tuple(kind for kind, known in built_in.items() if name in known):
        return found
    path, is_path = expand(name), catalogue.looks_like_path(name)
    if catalogue.looks_like_checkpoint(name) or is_endless_file(path):
        return ("checkpoint",)
    if is_path and is_ordinary_file(path) and path.stat().st_size < _LARGEST_CARD and is_model_card(path):
        return ("model",)
    # any file that is no card, whatever it is called
    if is_ordinary_file(path) and ".toml" not in path.suffixes:
        return ("checkpoint",)
    if is_path:
        return ("data set",)
    known = [own for names in built_in.values() for own in names]
    raise unknown_name("model, data set or protocol", name, known, "bench list models|datasets|protocols")


def _show_protocol(name: str, *, title: bool) -> None:
    from bench.protocols import registry

    head, rows = _protocols()
    if title:
        echo(f"\nThe protocol {name}:")
    echo_table([head[1:], *[row[1:] for row in rows if row[0] == name]])
    echo(f"\nLabels that its probe reads: {registry.probe(name, registry.preset_type(name)().resolved())}")


def _show_model(card: ModelCard, cache: Path) -> None:
    from bench.cards.local_files import card_name, weights_file
    from bench.records.published import figures

    rows = [("id", card.id), ("title", card.title), ("about", card.description)]
    rows += [(key, str(value)) for key, value in card.architecture.model_dump().items()]
    rows += list(card.training.model_dump().items())
    rows += [(f"weights {key}", str(value)) for key, value in card.weights.model_dump().items() if value is not None]
    if address := getattr(card.weights, "address", None):
        rows += [
            ("weights from", address),
            ("weights cached", str(weights_file(cache, card.id, getattr(card.weights, "file", "")))),
            ("fetch with", f"bench download {card_name(card)}"),
        ]
    if card.paper:
        rows += [("paper", f"{card.paper.title} ({card.paper.venue or card.paper.date}), arXiv {card.paper.arxiv}")]
    rows += [
        ("published", f"{f.dataset} {f.split} {f.protocol} {f.metric} {f.value:g}")
        for f in figures()
        if card.id in f.card
    ]
    echo_table(rows)


def _show_dataset(
    card: DatasetCard,
    name: str,
    data_root: tuple[str, ...],
    split: str | None,
    count: int | None,
    pictures: Path | None,
    cache: Path,
) -> None:
    echo_table(_card_rows(card))
    if count == 0 and pictures is None:
        return
    samples = _open_samples(card, split, data_root_of(name, data_root), cache, required=pictures is not None)
    if samples is None:
        return
    if count != 0:
        _show_samples(samples.first(5 if count is None else count), len(samples))
    if pictures is None:
        echo(f"\nbench show {name} --pictures sheet.png draws them")
    else:
        _draw_sheet(samples, count or 12, pictures)


def _card_rows(card: DatasetCard) -> list[tuple[str, str]]:
    rows = [("id", card.id), ("title", card.title), ("about", card.description), ("licence", card.licence)]
    what = "sequences" if card.kind == "video" else "images"
    rows += [
        ("split", f"{key}: {entry.size or 'any number of'} {what}{' - ' + entry.note if entry.note else ''}")
        for key, entry in card.splits.items()
    ]
    rows += [
        ("layout", f"{layout.name}: {', '.join(files.list for files in layout.splits.values())}")
        for layout in card.layouts
    ]
    rows += [
        (
            "download",
            entry.file
            + (f", {entry.bytes:,} bytes" if entry.bytes else "")
            + (", optional" if entry.optional else "")
            + (f": {entry.note}" if entry.note else ""),
        )
        for entry in card.downloads
    ]
    if card.classes:
        rows += [
            ("classes", ", ".join(f"{i} {c}" for i, c in enumerate(card.classes))),
            ("ignored", str(card.labels.ignore)),
        ]
    elif not card.labelled:
        rows += [("labels", "none: `bench run` clusters the images, and reports what needs no labels")]
    return rows


def _draw_sheet(samples: Samples, count: int, path: Path) -> None:
    from bench.base.files import display
    from bench.data.contact_sheet import contact_sheet
    from bench.data.pictures import write_picture

    write_picture(path, contact_sheet(samples, count))
    echo(f"\nwrote {display(path)}")


def _open_samples(
    card: DatasetCard, split: str | None, root: Path | None, cache: Path, *, required: bool
) -> Samples | None:
    """The samples of a split; None, with a message, if their folder is not known and they are not required."""
    from bench.cli.progress import progress_bar
    from bench.data.find_samples import NoDataRoot, find_samples

    try:
        with progress_bar() as progress:
            step = (lambda done, total: progress("writing shapes", done, total)) if progress else None
            return find_samples(card, split or card.default_split, root, cache, step)
    except NoDataRoot as error:
        if required:
            raise
        echo(f"no samples shown: {error}", err=True)
        return None


def _show_samples(samples: Samples, of: int) -> None:
    """Open samples and print what is in them."""
    echo(f"\n{of} samples in {samples.split} at {samples.root} ({samples.layout})")
    if samples.card.kind == "video":
        echo_table([("SEQUENCE", "FRAMES", "SIZE", "OBJECTS IN THE FIRST FRAME"), *_video_rows(samples)])
    else:
        echo_table([("ID", "SIZE", "LABELS (SHARE OF PIXELS)"), *_image_rows(samples)])


def _image_rows(samples: Samples) -> Iterator[tuple[str, ...]]:
    from bench.data.decoding import read_sample

    card = samples.card
    names = {card.labels.ignore: "ignored"} | dict(enumerate(card.classes))
    for sample in samples:
        image, label, _ = read_sample(sample, card)
        shares = "no label file" if label is None else _shares(label, names)
        yield sample.id, f"{image.shape[1]}×{image.shape[0]}", shares


def _video_rows(samples: Samples) -> Iterator[tuple[str, ...]]:
    from bench.data.sequences import count_objects, read_frame, videos_of

    for video in videos_of(samples):
        frame = read_frame(video, 0, samples.card.splits[samples.split].objects or "many")
        names = {0: "background"} | {k: f"object {k}" for k in range(1, 1 + count_objects(frame, video))}
        height, width = frame.ids.shape
        yield video.id, str(video.images), f"{width}×{height}", _shares(frame.ids, names)


def _shares(label: Label, names: dict[int, str]) -> str:
    """The values in a label, and the share of its pixels that have each."""
    import numpy as np

    values, counts = np.unique(label, return_counts=True)
    return ", ".join(f"{names[int(v)]} {100 * n / label.size:.0f} %" for v, n in zip(values, counts, strict=True))
