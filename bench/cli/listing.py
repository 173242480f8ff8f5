"""`bench list` and `bench show`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.settings import data_root_option, data_roots, echo_table, results_folder, results_option

if TYPE_CHECKING:
    from bench.cards import DatasetCard, ModelCard

_KINDS = ("models", "datasets", "protocols", "recipes", "published", "results")


@click.command(name="list")
@click.argument("kind", type=click.Choice(_KINDS))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@results_option
def list_(kind: str, as_json: bool, results: Path | None) -> int:
    """List models, datasets, protocols, recipes of training, published figures or results."""
    tables: dict[str, Callable[[], Table]] = {
        "models": _models,
        "datasets": _datasets,
        "protocols": _protocols,
        "recipes": _recipes,
        "published": _published,
        "results": lambda: _results(results_folder(results)),
    }
    head, rows = tables[kind]()
    if as_json:
        from bench.record import dumps

        click.echo(dumps([dict(zip(head, row, strict=True)) for row in rows]), nl=False)
    elif rows:
        echo_table([tuple(name.upper() for name in head), *rows])
    else:
        click.echo(f"no {kind} yet", err=True)
    return 0


Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]


def _models() -> Table:
    from bench.catalogue import models

    return ("id", "backbone", "weights", "labels seen"), [
        (card.id, card.architecture.backbone, card.weights.source, card.training.supervision)
        for card in models().values()
    ]


def _datasets() -> Table:
    from bench.catalogue import datasets

    return ("id", "classes", "splits", "title"), [
        (
            card.id,
            str(len(card.classes)),
            " ".join(f"{name}:{s.images or '?'}" for name, s in card.splits.items()),
            card.title,
        )
        for card in datasets().values()
    ]


def _protocols() -> Table:
    from bench.presets import PRESETS, describe

    rows = []
    for protocol, preset in PRESETS.items():
        for key, entry in preset.model_fields.items():
            rows.append((protocol, key, describe(preset, key), " ".join((entry.description or "").split())))
    return ("protocol", "entry", "value", "meaning"), rows


def _recipes() -> Table:
    """One row per entry, one column per recipe."""
    from bench.cards import Architecture
    from bench.catalogue import recipes
    from bench.pretrain.recipe import Recipe

    known = recipes()
    fields = {key: entry for key, entry in Recipe.model_fields.items() if key in next(iter(known.values())).entries()}
    rows = []
    for key, entry in fields.items():
        values = [card.entries()[key] for card in known.values()]
        if key != "architecture":
            rows.append((key, *map(_plain, values), " ".join((entry.description or "").split())))
            continue
        for name in Architecture.model_fields:
            rows.append((f"{key}.{name}", *(_plain(value[name]) for value in values), ""))
    return ("entry", *known, "meaning"), rows


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value)) or "-"
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _published() -> Table:
    from bench.published import figures

    return ("dataset", "split", "protocol", "metric", "value", "comparable", "card", "model"), [
        (
            f.dataset,
            f.split,
            f.protocol,
            f.metric,
            f"{f.value:g}",
            "yes" if f.comparable else "no",
            " ".join(f.card) or "-",
            f.model,
        )
        for f in figures()
    ]


def _results(folder: Path) -> Table:
    from bench.record import read_all

    stored, problems = read_all(folder)
    for problem in problems:
        click.echo(f"warning: skipped: {problem}", err=True)
    rows = []
    for entry in stored:
        record = entry.record
        modified, limited = record["protocol"].get("modified"), record["dataset"]["limited"]
        marks = (" (modified)" if modified else "") + (" (limited)" if limited else "")
        for metric, measured in record["metrics"].items():
            rows.append(
                (
                    record["model"]["id"],
                    f"{record['dataset']['id']}-{record['dataset']['split']}",
                    record["protocol"]["id"] + marks,
                    metric,
                    f"{measured['value']:.2f}",
                    entry.path.relative_to(folder).as_posix(),
                )
            )
    return ("model", "dataset", "protocol", "metric", "value", "record"), rows


@click.command()
@click.argument("name", metavar="ID|CARD")
@data_root_option
@click.option("--split", help="Split to open samples of. [default: the data set's own]")
@click.option("--samples", type=click.IntRange(0, 100), default=5, show_default=True, help="Samples to open.")
def show(name: str, data_root: tuple[str, ...], split: str | None, samples: int) -> int:
    """Show a model, a data set (opening real samples) or a protocol."""
    from bench import catalogue
    from bench.errors import unknown_name
    from bench.presets import PRESETS

    if name in catalogue.models():
        _show_model(catalogue.model(name))
    elif name in PRESETS:
        head, rows = _protocols()
        echo_table([head[1:], *[row[1:] for row in rows if row[0] == name]])
    elif name in catalogue.datasets():
        _show_dataset(catalogue.dataset(name), name, data_root, split, samples)
    elif catalogue.looks_like_path(name):
        card = _load_either(Path(name).expanduser())
        if hasattr(card, "architecture"):
            _show_model(card)
        else:
            _show_dataset(catalogue.dataset(name), name, data_root, split, samples)
    else:
        known = [*catalogue.models(), *catalogue.datasets(), *PRESETS]
        raise unknown_name("model, data set or protocol", name, known, "bench list models")
    return 0


def _load_either(path: Path) -> Any:
    """A card of whichever kind: a model's has an architecture."""
    import tomllib

    from bench.cards import DatasetCard, ModelCard, load_card

    try:
        is_model = "architecture" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        is_model = False
    return load_card(path, ModelCard) if is_model else load_card(path, DatasetCard)


def _show_model(card: ModelCard) -> None:
    from bench.files import cache_folder
    from bench.published import figures

    rows = [("id", card.id), ("title", card.title), ("about", card.description)]
    rows += [(key, str(value)) for key, value in card.architecture.model_dump().items()]
    rows += [(key.replace("supervision", "labels seen"), value) for key, value in card.training.model_dump().items()]
    rows += [(f"weights {key}", str(value)) for key, value in card.weights.model_dump().items() if value is not None]
    if address := getattr(card.weights, "address", None):
        rows += [
            ("weights from", address),
            ("weights cached", str(cache_folder() / "weights" / card.id / getattr(card.weights, "file", ""))),
        ]
    if card.paper:
        rows += [("paper", f"{card.paper.title} ({card.paper.venue or card.paper.date}), arXiv {card.paper.arxiv}")]
    rows += [
        ("published", f"{f.dataset} {f.split} {f.protocol} {f.metric} {f.value:g}")
        for f in figures()
        if card.id in f.card
    ]
    echo_table(rows)


def _show_dataset(card: DatasetCard, name: str, data_root: tuple[str, ...], split: str | None, count: int) -> None:
    rows = [("id", card.id), ("title", card.title), ("about", card.description), ("licence", card.licence)]
    rows += [
        ("split", f"{key}: {entry.images or 'any number of'} images{' - ' + entry.note if entry.note else ''}")
        for key, entry in card.splits.items()
    ]
    rows += [
        ("layout", f"{layout.name}: {', '.join(files.list for files in layout.splits.values())}")
        for layout in card.layouts
    ]
    rows += [
        ("classes", ", ".join(f"{i} {c}" for i, c in enumerate(card.classes))),
        ("ignored", str(card.labels.ignore)),
    ]
    echo_table(rows)
    if count:
        _show_samples(card, name, data_root, split, count)


def _show_samples(card: DatasetCard, name: str, data_root: tuple[str, ...], split: str | None, count: int) -> None:
    """Open real samples and print what is in them."""
    import numpy as np

    from bench.cli.progress import progress_bar
    from bench.files import cache_folder
    from bench.samples import check_sizes, read_image, read_label
    from bench.subjects import NoDataRoot, find_samples

    roots = data_roots(data_root)
    try:
        with progress_bar() as progress:
            step = (lambda done, total: progress("writing shapes", done, total)) if progress else None
            samples = find_samples(
                card, split or card.default_split, roots.get(name, roots.get("")), cache_folder(), step
            )
    except NoDataRoot as error:
        click.echo(f"no samples shown: {error.problem}; give --data-root", err=True)
        return
    click.echo(f"\n{len(samples)} samples in {samples.split} at {samples.root} ({samples.layout})")
    table = [("ID", "SIZE", "LABELS (SHARE OF PIXELS)")]
    for sample in samples.first(count):
        image, _ = read_image(sample.image)
        shares = "no label file"
        if sample.label is not None:
            label, _ = read_label(sample.label, card)
            check_sizes(sample, image, label)
            values, counts = np.unique(label, return_counts=True)
            card = samples.card
            names = {card.labels.ignore: "ignored"} | dict(enumerate(card.classes))
            shares = ", ".join(
                f"{names[int(v)]} {100 * n / label.size:.0f} %" for v, n in zip(values, counts, strict=True)
            )
        table.append((sample.id, f"{image.shape[1]}×{image.shape[0]}", shares))
    echo_table(table)
