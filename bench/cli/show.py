"""`bench show`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.completion import ids_and_records, splits
from bench.cli.console import echo
from bench.cli.listing import protocol_entries
from bench.cli.parameters import Deliberate, NameOrPath, Place
from bench.cli.settings import (
    cache_option,
    data_root_of,
    data_root_option,
    echo_table,
    echo_wrapped,
    records_folder,
    results_option,
)
from bench.cli.show_checkpoint import show_checkpoint
from bench.cli.show_model import show_model
from bench.cli.show_network import show_network
from bench.cli.show_record import show_record

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard
    from bench.data.decoding import Label
    from bench.data.samples import Samples

_LARGEST_CARD = 1 << 20
"""Bytes: a larger file is not looked at as a card."""


@click.command()
@click.argument("name", metavar="ID|CARD|NETWORK|FILE|RECORD", type=NameOrPath(), shell_complete=ids_and_records)
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
@click.option(
    "--trust-code",
    cls=Deliberate,
    is_flag=True,
    help="Let code of a hub run, for a network that has code of its own.",
)
@results_option
@cache_option
def show(
    name: str,
    data_root: tuple[str, ...],
    split: str | None,
    samples: int | None,
    pictures: Path | None,
    trust_code: bool,
    results: Path | None,
    cache: Path | None,
) -> int:
    """Show a model, a data set, a protocol, a network of a library, a checkpoint file or a record.

    A data set is shown with some of its samples. A checkpoint file is shown with the network that bench recognises in
    it, its number of parameters, and the protocols that can evaluate it. A record (a path, MODEL/DATASET-SPLIT/PROTOCOL
    below --results, or the MODEL if it has a single record and no card) is shown with how its figures are counted.
    """
    from bench.base.files import cache_folder
    from bench.base.folders import default_records
    from bench.cards import catalogue

    if pictures is not None and pictures.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.UsageError("--pictures must end in .png or .jpg")
    meant = _meanings(name, results or default_records(), cache_folder(cache))
    if pictures is not None and "data set" not in meant:
        raise click.UsageError("--pictures is for data sets")
    if "model" in meant:
        show_model(catalogue.model(name), cache_folder(cache), trust_code=trust_code)
    if "network" in meant:
        show_network(name, cache_folder(cache), trust_code=trust_code)
    if "data set" in meant:
        _show_dataset(catalogue.dataset(name), name, data_root, split, samples, pictures, cache_folder(cache))
    if "protocol" in meant and pictures is None:
        _show_protocol(name, title="data set" in meant)
    if "checkpoint" in meant:
        show_checkpoint(name, cache_folder(cache))
    if "record" in meant:
        show_record(name, records_folder(results))
    return 0


def _meanings(name: str, results: Path, cache: Path) -> tuple[str, ...]:
    """What a name means: `model`, `network`, `data set`, `protocol`, `checkpoint` or `record`.

    Two of them for davis, also a protocol.

    Raises WrongName for a name that means nothing.
    """
    from bench.base.errors import WrongName, unknown_name
    from bench.base.files import is_endless_file, is_ordinary_file
    from bench.base.paths import expand
    from bench.cards import catalogue
    from bench.cards.card import is_model_card
    from bench.cards.network_folders import meant as folder_meant
    from bench.networks import adapters
    from bench.networks.libraries.nearest import network_meant
    from bench.protocols import registry
    from bench.reproduce.papers import papers

    built_in: dict[str, Collection[str]] = {
        "model": catalogue.models(),
        "data set": catalogue.datasets(),
        "protocol": sorted(registry.protocols()),
    }
    if found := tuple(kind for kind, known in built_in.items() if name in known):
        return found
    if adapters.split(name) is not None:
        return ("network",)
    path, is_path = expand(name), catalogue.looks_like_path(name)
    if path.suffix == ".json" or (not path.exists() and _is_of_records(name, results)):
        return ("record",)
    if not path.exists() and (error := network_meant(name, cache)) is not None:
        raise error
    if catalogue.looks_like_checkpoint(name) or is_endless_file(path):
        return ("checkpoint",)
    if is_path and is_ordinary_file(path) and path.stat().st_size < _LARGEST_CARD and is_model_card(path):
        return ("model",)
    # any file that is no card, whatever it is called
    if is_ordinary_file(path) and ".toml" not in path.suffixes:
        return ("checkpoint",)
    if is_path:
        return ("data set",)
    if name.lower() in papers():
        raise WrongName(f"'{name}' is a paper", f"`bench reproduce {name.lower()}` shows its rows and what they need.")
    known = [own for names in built_in.values() for own in names]
    unknown = unknown_name("model, data set or protocol", name, known, "bench list models|datasets|protocols")
    raise WrongName(unknown.problem, f"{folder_meant(name)}{unknown.remedy}")


def _is_of_records(name: str, results: Path) -> bool:
    """Whether a name is that of a record, or of a model that has records and no card, even if the rest is mistyped."""
    from bench.base.folders import LOCAL
    from bench.records.find import is_record_name

    model, slash, rest = name.partition("/")
    # unlike `Path.is_dir`, it is no error where a folder may not be entered
    mistyped = bool(slash and rest) and any(os.path.isdir(place / model) for place in (results, results / LOCAL))  # noqa: PTH112
    is_model = model not in ("", ".", "..", "~", LOCAL) and ".toml" not in name
    return is_model and (mistyped or is_record_name(name, results))


def _show_protocol(name: str, *, title: bool) -> None:
    from bench.cards.explained import explanation

    head, rows = protocol_entries()
    if title:
        echo(f"\nThe protocol {name}:")
    if told := explanation(name):
        echo_table([(heading.lower(), text) for heading, text in told.parts])
        echo("\nSurprises:" if told.surprises else "")
        echo_table([("-", text) for text in told.surprises])
        echo()
    echo_table([head[1:], *[row[1:] for row in rows if row[0] == name]])


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
        _show_samples(samples, 5 if count is None else count)
    if pictures is None:
        echo(f"\nbench show {name} --pictures sheet.png draws them")
    else:
        _draw_sheet(samples, count or 12, pictures)


def _card_rows(card: DatasetCard) -> list[tuple[str, str]]:
    rows = [("id", card.id), ("title", card.title), ("about", card.description), ("licence", card.licence)]
    rows = [(key, value) for key, value in rows if value]
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


def _show_samples(every: Samples, count: int) -> None:
    """Say how many samples there are, open the first `count`, those with labels first, and print what is in them."""
    from bench.data.samples import without_label

    samples = _labelled_first(every, count)
    echo(f"\n{len(every)} samples in {samples.split} at {samples.root} ({samples.layout})")
    if lacking := without_label(every):
        echo_wrapped(lacking)
    if samples.card.kind == "video":
        echo_table([("SEQUENCE", "FRAMES", "SIZE", "OBJECTS IN THE FIRST FRAME"), *_video_rows(samples)])
    else:
        echo_table([("ID", "SIZE", "LABELS (SHARE OF PIXELS)"), *_image_rows(samples)])


def _labelled_first(samples: Samples, count: int) -> Samples:
    """The first `count`; where only some have labels, those come before the others."""
    labelled = samples.labelled_places
    if len(labelled) in (0, len(samples)):
        return samples.first(count)
    there = frozenset(labelled)
    return samples.only([*labelled, *(place for place in range(len(samples)) if place not in there)][:count])


def _image_rows(samples: Samples) -> Iterator[tuple[str, ...]]:
    from bench.data.boxes import has_boxes, read_boxes
    from bench.data.decoding import read_sample

    card = samples.card
    names = {card.labels.ignore: "ignored"} | dict(enumerate(card.classes))
    boxes = [_counted(len(found)) for found in read_boxes(samples)] if has_boxes(samples) else [""] * len(samples)
    for sample, count in zip(samples, boxes, strict=True):
        image, label, _ = read_sample(sample, card)
        shares = ("no label file" if label is None else _shares(label, names)) + count
        yield sample.id, f"{image.shape[1]}×{image.shape[0]}", shares


def _counted(boxes: int) -> str:
    return f", {boxes} box{'es' * (boxes != 1)}"


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
