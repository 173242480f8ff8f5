"""`bench show RECORD`: what a record says, how its figures are counted, and what of it its rows confirm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.escaping import one_line
from bench.cli.console import echo
from bench.cli.settings import echo_table, echo_wrapped

if TYPE_CHECKING:
    from bench.records.record import Record, Stored
    from bench.records.recount import Recount
    from bench.report.definitions import Definition

_HEAD = 16
"""Columns of the names of parts."""
_NAME = 30
"""Columns of a metric's name, at most."""
_LONGEST = 2000
"""Characters of a part that are shown."""
_MOST = 20
"""So many warnings, or seeds that do not count up, are shown."""


def show_record(name: str, results: Path) -> None:
    """Print a record. Raises WrongName where there is none of this name, BadInput for a file that is none."""
    from bench.records.find import find
    from bench.records.recount import recount
    from bench.records.rerun_command import rerun_command
    from bench.report.definitions import definition_of

    stored = find(name, results)
    record, counted, definition = stored.record, recount(stored), definition_of(stored.record)
    _print_parts(_about(stored))
    _print_parts([("counted", definition.line)])
    echo()
    _print_figures(record, counted, definition)
    echo()
    _print_parts(_trust(counted))
    _print_parts(_made(record))
    _print_parts(("warning", text) for text in _warnings(record))
    if command := rerun_command(record, name):
        echo("\nTo do this run again, and hold the two against each other:")
        echo(f"  {command}")


def _print_parts(parts: Iterable[tuple[str, object]]) -> None:
    """Parts with their names before them, broken between words."""
    for name, value in parts:
        text = one_line(value)
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        if text:
            echo_wrapped(text, f"{name:<{_HEAD}}")


def _about(stored: Stored) -> list[tuple[str, object]]:
    """Of what model, data and protocol it is."""
    from bench.base.files import display
    from bench.cli.summary import read_of
    from bench.protocols import registry
    from bench.records.lineage import images_of, overlap_of

    record = stored.record
    model, dataset, protocol = record["model"], record["dataset"], record["protocol"]
    title = model.get("title") or model["id"]
    return [
        ("record", f"{display(stored.path)}, of {record.get('created') or 'a day that it does not say'}"),
        ("model", model["id"] + (f" ({title})" if title != model["id"] else "")),
        ("weights", f"{model.get('weights_source') or 'not said'}, SHA-256 {model['weights_sha256'][:12]}…"),
        ("network", _network(record)),
        ("read", read_of(record)),
        ("supervision", model["supervision"]),
        *((part, model[part]) for part in ("initialisation", "prior") if model.get(part)),
        ("trained on", images_of(record)),
        ("overlap", overlap_of(record)),
        ("probe", registry.probe(protocol["id"], protocol["preset"])),
        ("data set", f"{dataset['id']} {dataset['split']}, {_size(dataset)}, manifest {dataset['manifest'][:12]}…"),
        ("protocol", ", ".join([protocol["id"], f"fingerprint {protocol['fingerprint'][:8]}", *_marks(protocol)])),
        ("preset", ", ".join(f"{key} {_text(value)}" for key, value in protocol["preset"].items())),
        ("seeds", _seeds(record)),
    ]


def _network(record: Record) -> str:
    """Library, version and class of a network of another library; empty for this program's own."""
    from bench.records.model_said import network_of

    told = network_of(record)
    named = [told.get("library"), told.get("version")] if told.get("library") else []
    count = told.get("parameters")
    parts = [" ".join(map(str, named)), told.get("class"), f"{count:,} parameters" if isinstance(count, int) else ""]
    trusted = "the hub's code was trusted" if told.get("trusted_code") else ""
    return ", ".join(str(part) for part in (*parts, trusted) if part)


def _size(dataset: Mapping[str, Any]) -> str:
    what = "sequences" if dataset.get("sequences") is not None else "images"
    official = dataset.get(f"official_{what}")
    of = f" of {official}" if dataset["limited"] and official else ""
    judges = f", {dataset['judges']} of them with labels" if "judges" in dataset else ""
    return f"{dataset[what]}{of} {what}{judges}{' (limited)' if dataset['limited'] else ''}"


def _marks(protocol: Mapping[str, Any]) -> list[str]:
    return ["modified"] * bool(protocol.get("modified")) + list(protocol.get("variations") or ())


def _text(value: Any) -> str:
    return one_line("×".join(map(str, value)) if isinstance(value, list) and len(value) == 2 else value)


def _seeds(record: Record) -> str:
    seeds = record.get("seeds") or []
    if not seeds:
        return "none: nothing is drawn at random"
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:_MOST])) + (" …" if len(seeds) > _MOST else "")


def _print_figures(record: Record, counted: Recount, definition: Definition) -> None:
    """Each metric with its interval and spread, and a line that says what it is."""
    from bench.cli.summary import alone_mark, print_certainty
    from bench.records.intervals import SAMPLES, figure_interval
    from bench.records.recount import interval_name

    rows = [("METRIC", f"{'VALUE':>6}", "95 % INTERVAL", "SD OF SEEDS")]
    for (metric, entry), (name, _) in zip(record["metrics"].items(), definition.metrics, strict=True):
        found = figure_interval(entry, record["protocol"]["preset"])
        interval = f"{found.low:.2f} to {found.high:.2f}{alone_mark(record, found)}" if found else ""
        claimed = found and found.covers != SAMPLES and interval_name(metric) in counted.claimed
        interval += " (claimed)" * bool(claimed)
        spread = "" if entry.get("std") is None else f"{entry['std']:.2f}"
        rows.append((name, f"{entry['value']:6.2f}" + " (claimed)" * (metric in counted.claimed), interval, spread))
    echo_table(rows)
    print_certainty(record)
    echo()
    width = max(len(name) for name, _ in definition.metrics)
    for name, meaning in definition.metrics:
        echo_wrapped(meaning, f"{one_line(name):<{min(width, _NAME) + 2}}")


def _trust(counted: Recount) -> list[tuple[str, object]]:
    """Whether its figures are those of its rows."""
    if counted.problem:
        return [("rows", f"its figures cannot be trusted: {counted.problem}")]
    told = "counted again: its figures are those of its rows"
    if counted.claimed:
        told += f", but for what no row gives: {', '.join(sorted(counted.claimed))}"
    return [("rows", told)]


def _made(record: Record) -> list[tuple[str, object]]:
    """Where and by what it was made, as far as it says so."""
    environment, cost, solver = (_mapping(record.get(key)) for key in ("environment", "cost", "solver"))
    git, packages = _mapping(environment.get("git")), _mapping(environment.get("packages"))
    commit = (
        f" at commit {str(git['commit'])[:12]}{' with changes' * bool(git.get('dirty'))}" if "commit" in git else ""
    )
    made_by = f"bench {environment['bench']}{commit}" if "bench" in environment else ""
    machine = [made_by, *(f"{key} {environment[key]}" for key in ("python", "platform", "cores") if key in environment)]
    run = [f"{key.replace('_', ' ')} {cost[key]}" for key in _COST if cost.get(key) is not None]
    return [
        ("made by", ", ".join(part for part in machine if part)),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("run on", ", ".join(run)),
        ("solver", ", ".join(f"{key} {value}" for key, value in solver.items())),
    ]


_COST = ("device", "device_name", "batch_size", "workers", "precision")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _warnings(record: Record) -> Sequence[object]:
    found = record.get("warnings")
    return found[:_MOST] if isinstance(found, list) else []
