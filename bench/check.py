"""Check: do the records still say what was published, or what they said before?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import unknown_name
from bench.frame import joined
from bench.published import ROUNDING, Published
from bench.record import Record, Stored, check_rows


@dataclass(frozen=True)
class Outcome:
    """One figure's verdict."""

    status: str
    """reproduced, below, above, not run, not comparable, or damaged."""
    what: str
    """Model, data set, split, protocol and metric."""
    detail: str
    fails: bool
    movement: tuple[str, ...] = ()
    """Where a figure moved: the classes, or sequences, that changed most."""


ORDER = ("damaged", "below", "above", "reproduced", "not run", "not comparable")
"""How outcomes are listed: what needs eyes first."""

MOVED = 6
"""How many classes to show when a figure moved."""


def against_published(figures: Sequence[Published], stored: Sequence[Stored], required: Sequence[str]) -> list[Outcome]:
    """An outcome per published figure. `required` are model ids whose figures must have been run.

    Raises WrongName for a required id that no figure and no record has.
    """
    ids = {card for figure in figures for card in figure.card} | {entry.record["model"]["id"] for entry in stored}
    _check_required(required, ids, "bench list published")
    outcomes = [_published_outcome(row, required) for _, row in joined(figures, stored).iterrows()]
    outcomes += [
        Outcome("not run", name, "required, but no published figure answers to it", True)
        for name in required
        if not any(_is_required(card, figure.protocol, (name,)) for figure in figures for card in figure.card)
    ]
    return sorted(outcomes, key=lambda outcome: (not outcome.fails, ORDER.index(outcome.status)))


def _check_required(required: Sequence[str], ids: set[str], listing: str) -> None:
    for name in required:
        if _model_of(name) not in ids:
            raise unknown_name("required model", _model_of(name), ids, listing)


def _model_of(name: str) -> str:
    """The model in `MODEL` or `MODEL/PROTOCOL`."""
    return name.partition("/")[0]


def _is_required(model: str, protocol: str, required: Sequence[str]) -> bool:
    return bool({model, f"{model}/{protocol}"} & set(required))


def _published_outcome(row: Any, required: Sequence[str]) -> Outcome:
    answer: Stored | None = row["record"]
    name = answer.record["model"]["id"] if answer else " or ".join(row["card"]) or row["model"]
    what = f"{name} {row['dataset']} {row['split']} {row['protocol']} {row['metric']}"
    wanted = any(_is_required(card, row["protocol"], required) for card in row["card"])
    status = row["status"]
    if answer and (problem := check_rows(answer)):
        return Outcome("damaged", what, problem, True)
    if status in ("not run", "not comparable"):
        shown = f"{row['value']:g} published" + (f", {row['measured']:.2f} measured" if answer else "")
        return Outcome(status, what, f"{shown}; {row['reason']}", wanted)
    detail = (
        f"{row['value']:g} published, {row['measured']:.2f} measured, difference {row['difference']:+.2f}, "
        f"tolerance {row['tolerance']:.2f}"
    )
    return Outcome(
        status,
        what,
        detail,
        status != "reproduced",
        _weakest(answer.record) if answer and status != "reproduced" else (),
    )


def _weakest(record: Record) -> tuple[str, ...]:
    """The parts of a figure that missed, worst first; the published values of the parts are rarely known."""
    known = sorted((value, name) for name, value in _parts(record).items() if value is not None)
    return tuple(f"{name} {value:.1f}" for value, name in known[:MOVED])


def _parts(record: Record) -> dict[str, float | None]:
    """What a figure is made of: the IoU of its classes, or J&F of its sequences."""
    sequences = record.get("per_sequence", {})
    return record.get("per_class", {}) | {name: entry.get("JF_mean") for name, entry in sequences.items()}


def against_records(earlier: Sequence[Stored], stored: Sequence[Stored], required: Sequence[str]) -> list[Outcome]:
    """An outcome per metric of every earlier record, held against the record of the same run now."""
    now = {_identity(entry.record): entry for entry in stored}
    ids = {entry.record["model"]["id"] for entry in (*earlier, *stored)}
    _check_required(required, ids, "bench list results")
    compared = {entry.record["model"]["id"] for entry in earlier}
    outcomes = [
        Outcome("not run", name, "required, but there is no earlier record of it", True)
        for name in required
        if _model_of(name) not in compared
    ]
    for old in earlier:
        new = now.get(_identity(old.record))
        for metric, before in old.record["metrics"].items():
            what = " ".join([*_identity(old.record)[:4], metric])
            wanted = _is_required(old.record["model"]["id"], old.record["protocol"]["id"], required)
            if new is None or metric not in new.record["metrics"]:
                outcomes.append(Outcome("not run", what, f"{before['value']:.2f} earlier", wanted))
            elif problem := check_rows(new):
                outcomes.append(Outcome("damaged", what, problem, True))
            else:
                outcomes.append(_moved(what, metric, old.record, new.record, wanted))
    return outcomes


def _identity(record: Record) -> tuple[str, ...]:
    dataset, protocol = record["dataset"], record["protocol"]
    return (
        record["model"]["id"],
        dataset["id"],
        dataset["split"],
        protocol["id"],
        protocol["fingerprint"],
        str(dataset["images"]),
        *protocol.get("variations", []),
    )


def _moved(what: str, metric: str, old: Record, new: Record, wanted: bool) -> Outcome:
    """Two means over seeds differ by chance by about s·√(1/n + 1/m); beyond twice that, something changed."""
    before, after = old["metrics"][metric], new["metrics"][metric]
    if old["dataset"]["manifest"] != new["dataset"]["manifest"]:
        return Outcome("not comparable", what, "the two runs saw different images or labels", wanted)
    spread = max(before.get("std") or 0.0, after.get("std") or 0.0)
    sizes = [max(1, len(entry.get("per_seed") or [0])) for entry in (before, after)]
    allowed = ROUNDING + 2 * spread * math.sqrt(sum(1 / n for n in sizes))
    difference = after["value"] - before["value"]
    status = "reproduced" if abs(difference) <= allowed else "below" if difference < 0 else "above"
    detail = (
        f"{before['value']:.2f} earlier, {after['value']:.2f} now, difference {difference:+.2f}, "
        f"tolerance {allowed:.2f}"
    )
    moved = () if status == "reproduced" else (*_class_movement(old, new), *_map_movement(old, new))
    return Outcome(status, what, detail, status != "reproduced", moved)


def _class_movement(old: Record, new: Record) -> list[str]:
    before, after = _parts(old), _parts(new)
    changes = [((after.get(name) or 0.0) - (value or 0.0), name) for name, value in before.items()]
    changes.sort(key=lambda change: -abs(change[0]))
    return [
        f"{name} {before[name] or 0.0:.1f} → {after.get(name) or 0.0:.1f}" for change, name in changes[:MOVED] if change
    ]


def _map_movement(old: Record, new: Record) -> list[str]:
    """Whether clusters changed their class, under the first seed."""
    maps = [record.get("cluster_to_class") or [[]] for record in (old, new)]
    changed = sum(a != b for a, b in zip(maps[0][0], maps[1][0], strict=False))
    return [f"{changed} of {len(maps[0][0])} clusters stand for another class"] if changed else []


def verdict(outcomes: Sequence[Outcome]) -> tuple[bool, str]:
    """(passed, one line). A check in which nothing was compared does not pass."""
    compared = sum(outcome.status in ("reproduced", "below", "above") for outcome in outcomes)
    failed = sum(outcome.fails for outcome in outcomes)
    counts = {status: sum(o.status == status for o in outcomes) for status in ORDER}
    line = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if not compared:
        return False, f"nothing was compared ({line or 'no figures'})"
    return failed == 0, line
