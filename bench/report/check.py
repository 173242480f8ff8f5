"""Check: compares records with published figures, or with earlier records."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.base.errors import unknown_name
from bench.protocols import registry
from bench.records import published
from bench.records.published import ROUNDING, Published, answers
from bench.records.published_classes import classes_of
from bench.records.record import Record, Stored, class_names, file_name
from bench.records.recount import Recount, recount
from bench.report.compare import unlike
from bench.report.tables import joined, unvouched
from bench.scoring.metric_names import METRICS

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("reproduced", "below", "above")
ORDER = ("damaged", "below", "above", "reproduced", "not run", "not comparable")
"""How outcomes are listed: what needs eyes first."""

MOVED = 6
"""How many classes, or clusters, to show when a figure moved."""


@dataclass(frozen=True)
class Movement:
    """A class's IoU, or a sequence's J&F, in percent: what it was, and what it is. None where unknown."""

    name: str
    before: float | None
    after: float | None

    @property
    def change(self) -> float:
        """In points; an unknown value counts as 0."""
        return (self.after or 0.0) - (self.before or 0.0)


@dataclass(frozen=True)
class Outcome:
    """One figure's verdict."""

    status: str
    """One of `ORDER`."""
    what: str
    """Model, data set, split, protocol and metric."""
    detail: str
    fails: bool
    movement: tuple[Movement, ...] = ()
    """The classes, or sequences, that changed most; without earlier values the weakest."""
    clusters: tuple[str, ...] = ()
    """The first seed's cluster map, or how it changed."""
    measured: bool = True
    """Whether a record has the figure, comparable or not."""


def in_order(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """What fails first."""
    return sorted(outcomes, key=lambda outcome: (not outcome.fails, ORDER.index(outcome.status)))


# --- what must have been compared ---


def _require_known(required: Sequence[str], ids: Collection[str], protocols: Collection[str], listing: str) -> None:
    for name in required:
        model, slash, protocol = name.partition("/")
        if model not in ids:
            raise unknown_name("required model", model, ids, listing)
        known = {*protocols, *registry.plain_names()}
        if slash and protocol not in known and registry.parsed(protocol) is None:
            raise unknown_name("required protocol", protocol, known, "bench list protocols")


def _is_required(models: Collection[str], protocol: str, required: Sequence[str]) -> bool:
    return any({model, f"{model}/{protocol}"} & set(required) for model in models)


def _unanswered(required: Sequence[str], answered: Collection[tuple[str, str]], why: str) -> list[Outcome]:
    """A failure for every required name that no (model, protocol) with an outcome of its own answers to."""
    return [
        Outcome("not run", name, why, True, measured=False)
        for name in required
        if not any(_is_required([model], protocol, [name]) for model, protocol in answered)
    ]


# --- against published figures ---


def against_published(
    figures: Sequence[Published], stored: Sequence[Stored], required: Sequence[str], known: Collection[str] = ()
) -> list[Outcome]:
    """An outcome per published figure. `required` are models whose figures (of a protocol) must have been compared.

    Raises WrongName for a required id that no figure, no record and none of the `known` ids has.
    """
    answered = {(card, figure.protocol) for figure in figures for card in figure.card}
    models = {model for model, _ in answered} | _models(stored) | set(known)
    _require_known(required, models, {figure.protocol for figure in figures} | _protocols(stored), "bench list models")
    counted = {entry.path: recount(entry) for entry in stored if any(answers(entry.record, one) for one in figures)}
    told = [replace(one, claimed=counted[one.path].claimed) if one.path in counted else one for one in stored]
    outcomes = []
    for _, row in joined(figures, told).iterrows():
        answer = row["record"]
        outcomes.append(_published_outcome(row, required, counted[answer.path].problem if answer else None))
    return in_order([*outcomes, *_unanswered(required, answered, "required, but it has no published figure")])


def _models(stored: Sequence[Stored]) -> set[str]:
    return {entry.record["model"]["id"] for entry in stored}


def _protocols(stored: Sequence[Stored]) -> set[str]:
    return {entry.record["protocol"]["id"] for entry in stored}


def _published_outcome(row: pd.Series[Any], required: Sequence[str], problem: str | None) -> Outcome:
    answer: Stored | None = row["record"]
    name = answer.record["model"]["id"] if answer else " or ".join(row["card"]) or row["model"]
    what = f"{name} {row['dataset']} {row['split']} {row['protocol']} {row['metric']}"
    wanted = _is_required(row["card"], row["protocol"], required)
    status = row["status"]
    if problem:
        return Outcome("damaged", what, problem, True)
    if status not in COMPARED:
        shown = f"{row['value']:g} published" + (f", {row['measured']:.2f} measured" if answer else "")
        return Outcome(status, what, f"{shown}; {row['reason']}", wanted, measured=answer is not None)
    detail = (
        f"{row['value']:g} published, {row['measured']:.2f} measured, difference {row['difference']:+.2f}, "
        f"tolerance {row['tolerance']:.2f}"
    )
    if status == "reproduced" or answer is None:
        return Outcome(status, what, detail, False)
    return Outcome(status, what, detail, True, _against_classes(answer.record), _cluster_map(answer.record))


def _against_classes(record: Record) -> tuple[Movement, ...]:
    """The classes furthest from the published ones; where no such figures are known, the weakest."""
    parts = {name: value for name, value in _parts(record).items() if value is not None}
    known = {name: figure.value for name, figure in classes_of(record).items() if name in parts}
    if known:
        return _largest(known, {name: parts[name] for name in known})
    weakest = sorted((value, name) for name, value in parts.items())
    return tuple(Movement(name, None, value) for value, name in weakest[:MOVED])


def _parts(record: Record) -> dict[str, float | None]:
    """What a figure is made of: the IoU of its classes, or J&F of its sequences."""
    sequences = record.get("per_sequence", {})
    return record.get("per_class", {}) | {name: entry.get("JF_mean") for name, entry in sequences.items()}


# --- against earlier records ---


def against_records(
    earlier: Sequence[Stored],
    stored: Sequence[Stored],
    required: Sequence[str],
    known: Collection[str] = (),
    *,
    run_now: bool = False,
) -> list[Outcome]:
    """An outcome per metric of every earlier record, held against the newest record of the same run now.

    With `run_now` this process made the new records: its run vouches for the figures that no row gives. Raises
    WrongName for a required id that no record and none of the `known` ids has.
    """
    models = _models(earlier) | _models(stored) | set(known)
    _require_known(required, models, _protocols(earlier) | _protocols(stored), "bench list results")
    by_age = sorted(stored, key=lambda entry: str(entry.record.get("created", "")))
    now = {_identity(entry.record): entry for entry in by_age}
    answered = {(entry.record["model"]["id"], entry.record["protocol"]["id"]) for entry in earlier}
    outcomes = _unanswered(required, answered, "required, but there is no earlier record of it")
    for old in earlier:
        new = now.get(_identity(old.record))
        found = _record_outcomes(old, new, required, "" if new else _nearest(old.record, stored), run_now=run_now)
        outcomes += found
    return in_order(outcomes)


def _nearest(old: Record, stored: Sequence[Stored]) -> str:
    """What keeps the most similar run from answering to an earlier record; nothing where no run is of its protocol."""
    alike = [entry.record for entry in stored if _identity(entry.record)[:4] == _identity(old)[:4]]
    before, after = min((unlike(old, record) for record in alike), key=lambda sides: len(sides[0]), default=("", ""))
    return f"; the earlier record has {before}, the one here {after}" if before else ""


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


def _record_outcomes(
    old: Stored, new: Stored | None, required: Sequence[str], hint: str, *, run_now: bool
) -> list[Outcome]:
    """One outcome per metric of an earlier record; `hint` says why there is no new one."""
    run = " ".join([*_identity(old.record)[:3], file_name(old.record).removesuffix(".json")])
    wanted = _is_required([old.record["model"]["id"]], old.record["protocol"]["id"], required)
    mine, theirs = (recount(new), recount(old)) if new else (Recount(), Recount())
    problem = mine.problem or _earlier(theirs.problem)
    claimed = frozenset() if run_now else mine.claimed | theirs.claimed
    outcomes = []
    for metric, before in old.record["metrics"].items():
        what = f"{run} {metric}"
        if new is None or metric not in new.record["metrics"]:
            outcomes.append(Outcome("not run", what, f"{before['value']:.2f} earlier{hint}", wanted, measured=False))
        elif problem:
            outcomes.append(Outcome("damaged", what, problem, True))
        elif new.record == old.record:
            reason = f"{before['value']:.2f} earlier; the record is the same file, nothing was run since"
            outcomes.append(Outcome("not run", what, reason, wanted, measured=False))
        else:
            moved = _moved(what, metric, old.record, new.record, wanted)
            outcomes.append(_of_claims(moved, metric, wanted) if metric in claimed else moved)
    return outcomes


def _of_claims(outcome: Outcome, metric: str, wanted: bool) -> Outcome:
    """What becomes of a figure that no row gives: it is marked, and one that no protocol counts never passes."""
    marked = replace(outcome, detail=f"{outcome.detail}; {unvouched(metric)}")
    if outcome.status != "reproduced" or metric in METRICS:
        return marked
    return replace(marked, status="not comparable", fails=wanted)


def _earlier(problem: str | None) -> str | None:
    return problem and f"of the earlier record: {problem}"


def _moved(what: str, metric: str, old: Record, new: Record, wanted: bool) -> Outcome:
    """Two means over seeds differ by chance by about s·√(1/n + 1/m); beyond twice that, something changed."""
    before, after = old["metrics"][metric], new["metrics"][metric]
    if old["dataset"]["manifest"] != new["dataset"]["manifest"]:
        return Outcome("not comparable", what, "the two runs used different images or labels", wanted)
    spread = max(before.get("std") or 0.0, after.get("std") or 0.0)
    sizes = [len(entry["per_seed"]) for entry in (before, after)]
    allowed = ROUNDING + 2 * spread * math.sqrt(sum(1 / n for n in sizes))
    difference = after["value"] - before["value"]
    status = published.verdict(difference, allowed)
    detail = (
        f"{before['value']:.2f} earlier, {after['value']:.2f} now, difference {difference:+.2f}, "
        f"tolerance {allowed:.2f}"
    )
    if status == "reproduced":
        return Outcome(status, what, detail, False)
    return Outcome(status, what, detail, True, _largest(_parts(old), _parts(new)), _map_movement(old, new))


def _largest(before: Mapping[str, float | None], after: Mapping[str, float | None]) -> tuple[Movement, ...]:
    """What moved most, of all that either has."""
    changes = [Movement(name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])]
    changes.sort(key=lambda movement: -abs(movement.change))
    return tuple(movement for movement in changes[:MOVED] if movement.change)


# --- cluster maps ---


def _first_map(record: Record) -> list[str]:
    """Of every predicted id under the first seed (0 is background, cluster k is k + 1) its class's name."""
    maps, names = record.get("cluster_to_class") or [[]], class_names(record)
    return [names[c] if 0 <= c < len(names) else "no class" if c < 0 else f"class {c}" for c in maps[0]]


def _cluster_map(record: Record) -> tuple[str, ...]:
    """The first seed's map: of every class the predicted ids that stand for it."""
    ids: dict[str, list[str]] = defaultdict(list)
    for number, name in enumerate(_first_map(record)):
        ids[name].append(str(number))
    shown = [f"{name} {_some(numbers)}" for name, numbers in ids.items()]
    without = [name for name in record.get("per_class", {}) if ids and name not in ids]
    lines = [f"predicted ids of each class: {_some(shown, 4 * MOVED)}"] if shown else []
    return (*lines, *([f"no cluster stands for {_some(without)}"] if without else []))


def _map_movement(old: Record, new: Record) -> tuple[str, ...]:
    """Which clusters changed their class, and which classes lost their last one, under the first seed."""
    maps = _first_map(old), _first_map(new)
    changes = [f"{i}: {a} → {b}" for i, (a, b) in enumerate(zip(*maps, strict=False)) if a != b]
    if not changes:
        return ()
    lost = [name for name in dict.fromkeys(maps[0]) if name not in maps[1]]
    lines = [f"{len(changes)} of {len(maps[0])} predicted ids stand for another class: {_some(changes)}"]
    return (*lines, *([f"no cluster stands any longer for {_some(lost)}"] if lost else []))


def _some(names: Sequence[str], most: int = MOVED) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# --- the verdict ---


def verdict(outcomes: Sequence[Outcome]) -> tuple[bool, str]:
    """(passed, one line). A check in which nothing was compared does not pass."""
    compared = sum(outcome.status in COMPARED for outcome in outcomes)
    failed = sum(outcome.fails for outcome in outcomes)
    counts = {status: sum(o.status == status for o in outcomes) for status in ORDER}
    line = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if not compared:
        return False, f"nothing was compared ({line or 'no figures'})"
    return failed == 0, line
