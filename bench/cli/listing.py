"""`bench list`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import click

from bench.cli.console import echo, emit
from bench.cli.parameters import Word
from bench.cli.reproduce_listing import paper_entries
from bench.cli.settings import (
    cache_option,
    echo_remarks,
    echo_skipped,
    echo_table,
    read_records,
    records_folder,
    results_option,
)

_KINDS = ("models", "networks", "datasets", "protocols", "recipes", "published", "papers", "results")
_HEADS = {"labels seen": "supervision"}
"""Column → its head in a table for people, where it differs from the key of `--json`."""
_ONLY_JSON = ("images seen", "init", "supervision", "date", "second hand", "source", "note")
"""Columns that a terminal has no room for; `bench show` has them."""


@click.command(name="list")
@click.argument("kind", metavar="KIND", type=Word(_KINDS))
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@results_option
@cache_option
def list_(kind: str, patterns: tuple[str, ...], as_json: bool, results: Path | None, cache: Path | None) -> int:
    """List models, networks, datasets, protocols, recipes of pre-training, published figures, papers, or results.

    Results are your own records.

    `bench list networks PATTERN` lists the networks of timm, torchvision and other installed libraries whose name has
    PATTERN in it, or fits it if it has a *. hf:, hub: and python: have no list; docs/models.md has the form of their
    names. `bench list published PATTERN...` takes the figures that have each of them in their data set, protocol,
    model, backbone or card; a blank is as good as a hyphen.
    """
    if patterns and kind not in ("networks", "published"):
        raise click.UsageError(f"PATTERN is for `bench list networks` and `published`; {kind} are all listed")
    if len(patterns) > 1 and kind == "networks":
        raise click.UsageError(f"`bench list networks` takes one PATTERN, not {len(patterns)}")
    tables: dict[str, Callable[[], Table]] = {
        "models": _models,
        "networks": lambda: _networks("".join(patterns), cache),
        "datasets": _datasets,
        "protocols": protocol_entries,
        "recipes": _recipes,
        "published": lambda: _published(patterns),
        "papers": paper_entries,
        "results": lambda: _results(records_folder(results)),
    }
    head, rows = tables[kind]()
    if as_json:
        from bench.records.record import dumps

        emit(dumps([dict(zip(head, row, strict=True)) for row in rows]))
    elif rows:
        _print(head, rows)
    else:
        echo(f"no {kind} with {' and '.join(patterns)}" if patterns else f"no {kind} yet", err=True)
    return 0


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people: backbones have the names that papers have for them."""
    from bench.cards.backbone_names import backbone_name

    kept = [place for place, name in enumerate(head) if name not in _ONLY_JSON]
    named = {place: backbone_name for place in kept if head[place] == "backbone"}
    lines = [tuple(_HEADS.get(head[place], head[place]).upper() for place in kept)]
    lines += [tuple(named.get(place, str)(row[place]) for place in kept) for row in rows]
    echo_table(lines)


Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]


def _models() -> Table:
    from bench.cards.catalogue import models

    return ("id", "backbone", "weights", "labels seen", "images seen"), [
        (card.id, card.backbone, card.origin, card.training.supervision, card.training.images)
        for card in models().values()
    ]


def _networks(pattern: str, cache: Path | None) -> Table:
    from bench.base.files import cache_folder
    from bench.cli.list_networks import network_rows

    return ("name", "weights"), network_rows(pattern, cache_folder(cache))


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


def protocol_entries() -> Table:
    """Every entry of every protocol: its values, and what it means."""
    from bench.cards.presets import describe, meaning
    from bench.protocols import registry

    rows = []
    for protocol, known in sorted(registry.protocols().items()):
        for key, entry in known.preset_type.model_fields.items():
            rows.append((protocol, key, describe(known.preset_type, key), meaning(entry.description)))
    return ("protocol", "entry", "value", "meaning"), rows


def _recipes() -> Table:
    """One row per entry, one column per recipe."""
    from bench.cards.catalogue import recipes
    from bench.cards.models import Architecture
    from bench.cards.presets import meaning
    from bench.cards.recipes import Recipe

    known = recipes()
    fields = {key: entry for key, entry in Recipe.model_fields.items() if key in next(iter(known.values())).entries()}
    rows = []
    for key, entry in fields.items():
        values = [card.entries()[key] for card in known.values()]
        if key != "architecture":
            rows.append((key, *map(_plain, values), meaning(entry.description)))
            continue
        for name in Architecture.model_fields:
            rows.append((f"{key}.{name}", *(_plain(value[name]) for value in values), ""))
    return ("entry", *known, "meaning"), rows


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value)) or "-"
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _published(patterns: Sequence[str]) -> Table:
    from bench.records.published import entry_words, figures, points

    shown = ("dataset", "split", "protocol", "metric", "value", "comparable", "card", "backbone", "model", "counted")
    rows = []
    for f in figures():
        names = (f.dataset, f.protocol, f.model, f.backbone, *f.card)
        if not all(any(_fits(pattern, name) for name in names) for pattern in patterns):
            continue
        counted = [*entry_words(f.entries), *f.detail]
        figure = (
            f.dataset,
            f.split,
            f.protocol,
            f.metric,
            points(f.value),
            _yes(f.comparable),
            " ".join(f.card) or "-",
        )
        model = (f.backbone, f.model, "; ".join(counted) or "-", f.init, f.supervision, f.date)
        rows.append((*figure, *model, _yes(f.second_hand), f.source, f.note))
    return (*shown, "init", "supervision", "date", "second hand", "source", "note"), rows


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _fits(pattern: str, name: str) -> bool:
    """Whether a name has PATTERN in it, or fits it if it has a *, whatever the case; a blank is a hyphen."""
    pattern, name = pattern.lower().replace(" ", "-"), name.lower().replace(" ", "-")
    return fnmatchcase(name, pattern) if "*" in pattern else pattern in name


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
                    entry.path.relative_to(folder).as_posix(),
                    probe_of(record),
                    record["model"]["supervision"],
                )
            )
    return ("model", "dataset", "protocol", "metric", "value", "record", "probe", "labels seen"), rows
