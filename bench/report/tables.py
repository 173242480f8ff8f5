"""Tables: records and published figures as pandas tables, for report and check."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from bench.base.escaping import printable
from bench.cards import catalogue
from bench.cards.backbone_names import backbone_name
from bench.protocols import registry
from bench.records.folders import Results, as_folders
from bench.records.intervals import SAMPLES, Interval, figure_interval, images_interval
from bench.records.lineage import images_of, overlap_of, overlap_of_figure
from bench.records.published import Published, answers, compare, entry_words
from bench.records.record import Record, Stored, precision_of
from bench.records.recount import SOLVER_GAP, interval_name


def shown_interval(stored: Stored, metric: str) -> Interval | None:
    """The interval that a figure is shown with; None where a record has none, or merely claims it."""
    return _if_counted(stored, metric, figure_interval)


def images_shown(stored: Stored, metric: str) -> Interval | None:
    """The interval over images alone; None where a record has none, or merely claims it."""
    return _if_counted(stored, metric, images_interval)


def _if_counted(
    stored: Stored, metric: str, interval: Callable[[Mapping[str, Any], Mapping[str, Any]], Interval | None]
) -> Interval | None:
    """Of a single image there is none, though earlier versions wrote one of width 0."""
    if stored.record["dataset"]["images"] == 1 or metric in stored.claimed:
        return None
    found = interval(stored.record["metrics"][metric], stored.record["protocol"]["preset"])
    claimed = found is not None and found.covers != SAMPLES and interval_name(metric) in stored.claimed
    return None if claimed else found


def claims_of(stored: Stored, metric: str) -> str:
    """What of a metric no row gives: `value`, `interval`, or nothing."""
    if metric in stored.claimed:
        return "value"
    return "interval" if interval_name(metric) in stored.claimed else ""


def unvouched(metric: str) -> str:
    """Why a figure that is merely claimed is compared with nothing."""
    return f"claimed: the record's rows do not give {metric}"


UNKNOWN = "not stated"
_LONGEST = 1000
"""Characters of a name that stands on many pages."""


def probe_of(record: Record) -> str:
    """Which labels a record's protocol read itself, by its preset: `bench.protocols.registry.probe`."""
    return registry.probe(record["protocol"]["id"], record["protocol"]["preset"])


def probe_of_figure(figure: Published) -> str:
    """The same of a published figure; splits are named only where it was made by the data set's own preset."""
    known, card = registry.parsed(figure.protocol), catalogue.datasets().get(figure.dataset)
    preset = card.protocols.preset(known[0]) if figure.comparable and card and known else None
    return registry.probe(figure.protocol, preset.resolved() if preset else {})


def labels_seen(line: Mapping[str, Any]) -> str:
    """A row's labels in one text: of the weights, then of initialisation, prior and probe as far as they say any."""
    parts = {"initialisation": line["init"], "prior": line["prior"], "probe": line["probe"]}
    said = (f"{name}: {text}" for name, text in parts.items() if text not in ("", "-"))
    return "; ".join([line["supervision"], *said])


def backbone_of(record: Record) -> str:
    """What papers call the backbone of a record's model: this program's own architecture, or another library's."""
    model = record["model"]
    shape, network = model.get("architecture"), model.get("network")
    own = shape.get("backbone") if isinstance(shape, dict) else None
    card = catalogue.models().get(model["id"])
    name = own or (network.get("name") if isinstance(network, dict) else None) or (card.backbone if card else "")
    return backbone_name(str(name or UNKNOWN)[:_LONGEST])


def backbones_told(models: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """(Model, backbone, initialisation) → the backbone as a table shows it: with the initialisation where a model of
    this name and backbone has several."""
    started: dict[tuple[str, str], set[str]] = {}
    for model, backbone, init in models:
        started.setdefault((model, backbone), set()).add(init)
    return {
        (model, backbone, init): f"{backbone}, {init}" if len(inits) > 1 else backbone
        for (model, backbone), inits in started.items()
        for init in inits
    }


_OF_RECORD: dict[str, Callable[[Record], Any]] = {
    "dataset": lambda record: record["dataset"]["id"],
    "split": lambda record: record["dataset"]["split"],
    "protocol": lambda record: record["protocol"]["id"],
    "model": lambda record: record["model"]["id"],
    "title": lambda record: record["model"].get("title", record["model"]["id"]),
    "backbone": backbone_of,
    "init": lambda record: record["model"].get("initialisation") or UNKNOWN,
    "prior": lambda record: record["model"].get("prior") or UNKNOWN,
    "supervision": lambda record: record["model"]["supervision"],
    "probe": probe_of,
    "training_images": images_of,
    "overlap": overlap_of,
    "seeds": lambda record: len(record.get("seeds", [])),
    "images": lambda record: record["dataset"]["images"],
    "judges": lambda record: record["dataset"].get("judges", record["dataset"]["images"]),
    "limited": lambda record: record["dataset"]["limited"],
    "modified": lambda record: record["protocol"].get("modified", False),
    "solver": lambda record: record["protocol"]["preset"].get("solver"),
    "precision": precision_of,
    "fingerprint": lambda record: record["protocol"]["fingerprint"],
    "created": lambda record: record.get("created"),
}
"""Column → what a record has for it."""
RECORD_COLUMNS = [
    *("dataset", "split", "protocol", "metric", "model", "title", "backbone", "init", "prior", "supervision", "probe"),
    *("value", "std", "low", "high", "covers", "images_low", "images_high", "seeds", "images", "judges", "limited"),
    *("modified", "solver", "precision", "fingerprint", "created", "path", "claimed", "doubts", "training_images"),
    "overlap",
]
"""The order of the columns, which `bench report --format csv` prints."""


def place_of(entry: Stored, results: Results) -> str:
    """A record's path below `results`, as tables show it."""
    return printable(as_folders(results).place(entry.path))


def records_frame(stored: Sequence[Stored], results: Results) -> pd.DataFrame:
    """One line per record and metric. `low` and `high` bound the 95 % interval that is shown, `covers` says what it is
    for, `images_low` and `images_high` bound the one over images alone; `path` is below `results`.

    `claimed` is what no row gives, as `claims_of` has it; `doubts` is why the record is not ranked; `judges` is how
    many of its images have labels to judge by; `training_images` are those that the weights have seen, and `overlap` is
    what they have to do with the data set.
    """
    lines = []
    for entry in stored:
        common = {name: read(entry.record) for name, read in _OF_RECORD.items()}
        common["path"] = place_of(entry, results)
        for metric, measured in entry.record["metrics"].items():
            found, images = shown_interval(entry, metric), images_shown(entry, metric)
            own = {"metric": metric, "value": measured["value"], "std": measured.get("std")}
            own |= {"low": found and found.low, "high": found and found.high, "covers": found and found.covers}
            own |= {"images_low": images and images.low, "images_high": images and images.high}
            own |= {"claimed": claims_of(entry, metric), "doubts": "; ".join(entry.doubts)}
            lines.append(common | own)
    return pd.DataFrame(lines, columns=RECORD_COLUMNS)


def best_answer(figure: Published, stored: Sequence[Stored]) -> Stored | None:
    """The record that answers to a figure: one whose rows give it and that nothing speaks against, then a whole,
    unmodified run, then the newest."""
    candidates = [
        entry for entry in stored if answers(entry.record, figure) and figure.metric in entry.record["metrics"]
    ]
    return max(
        candidates,
        key=lambda entry: (figure.metric not in entry.claimed, not entry.doubts, *_standing(entry.record)),
        default=None,
    )


def _standing(record: Record) -> tuple[bool, bool, bool, str]:
    protocol = record["protocol"]
    return (
        not record["dataset"]["limited"],
        bool(protocol.get("published_recipe")),
        not protocol.get("modified", True),
        str(record.get("created", "")),
    )


def joined(figures: Sequence[Published], stored: Sequence[Stored]) -> pd.DataFrame:
    """Every published figure with what our records say of it.

    The columns of results/published.csv and: `probe` (see `probe_of_figure`), `overlap` (see `overlap_of_figure`),
    `measured`, `low`, `high`,
    `difference`, `tolerance` (points, missing where not run), `status` and `reason`, and `record` (the `Stored` or
    None).
    """
    lines = [
        asdict(figure)
        | {"probe": probe_of_figure(figure), "overlap": overlap_of_figure(figure)}
        | _outcome(figure, best_answer(figure, stored))
        for figure in figures
    ]
    return pd.DataFrame(lines)


def _outcome(figure: Published, answer: Stored | None) -> dict[str, object]:
    empty = {"measured": None, "low": None, "high": None, "difference": None, "tolerance": None, "record": answer}
    if answer is None:
        if not figure.comparable:
            return empty | {"status": "not comparable", "reason": figure.note}
        reason = _how_to_run(figure) if figure.card else figure.note or "no checkpoint is known"
        return empty | {"status": "not run", "reason": reason}
    measured = answer.record["metrics"][figure.metric]
    found = shown_interval(answer, figure.metric)
    entry = _compared(answer, figure)
    return {
        "measured": measured["value"],
        "low": found and found.low,
        "high": found and found.high,
        "difference": entry["difference"],
        "tolerance": entry["tolerance"],
        "status": entry["status"],
        "reason": entry.get("reason", ""),
        "record": answer,
    }


def _compared(answer: Stored, figure: Published) -> dict[str, Any]:
    """As `compare`, but nothing that a record merely claims makes a figure pass, or fail."""
    entry = compare(answer.record, figure)
    refused = entry | {"tolerance": None, "status": "not comparable"}
    if entry["status"] == "not comparable":
        return entry
    if answer.doubts:
        return refused | {"reason": answer.doubts[0]}
    if not answer.claimed & {figure.metric, SOLVER_GAP}:
        return entry
    if figure.metric in answer.claimed:
        return refused | {"reason": unvouched(figure.metric)}
    return refused | {"reason": "what the authors' solver gives is only claimed: no row gives it; run it again"}


def _how_to_run(figure: Published) -> str:
    known = registry.parsed(figure.protocol) is not None
    return command(figure) if known else f"this version has no protocol {figure.protocol}"


def command(figure: Published) -> str:
    """The command that would produce a figure's record; of several models the last, which is the most finished."""
    protocol = registry.command_words(figure.protocol) or ["--protocol", figure.protocol]
    words = ["--model", figure.card[-1], "--dataset", figure.dataset, *protocol]
    words += [shlex.quote(part) for word in entry_words(figure.entries) for part in ("--set", word)]
    return " ".join(["bench run", *words])
