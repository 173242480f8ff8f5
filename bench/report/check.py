"""Check: compares records with published figures, or with earlier records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.base.errors import unknown_name
from bench.protocols import registry
from bench.records import published
from bench.records.audit import Audited, audit, remarks
from bench.records.card_says import is_unverified
from bench.records.lineage import overlap_of
from bench.records.published import ROUNDING, Published, expectation, points
from bench.records.published_classes import classes_of
from bench.records.record import Record, Stored, class_names, file_name
from bench.report.compare import unlike
from bench.report.held import Held
from bench.report.tables import best_answer, joined, unvouched
from bench.scoring.metric_names import METRICS
from bench.scoring.tolerance import of_two_samples

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("reproduced", "below", "above")
ORDER = ("damaged", "below", "above", "reproduced", "not run", "not comparable")
"""How outcomes are listed: what needs eyes first."""

Tell = Callable[[str], None]
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
    held: Held | None = None
    """What the verdict rests on; None where nothing was compared."""

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return asdict(self) | {"held": self.held and self.held.as_json()}


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
    figures: Sequence[Published],
    stored: Sequence[Stored],
    required: Sequence[str],
    known: Collection[str] = (),
    tell: Tell = lambda line: None,
) -> list[Outcome]:
    """An outcome per published figure, and one per other record that is not to be trusted.

    `required` are models whose figures (of a protocol) must have been compared. `tell` gets what else there is to say
    of records.

    Raises WrongName for a required id that no figure, no record and none of the `known` ids has.
    """
    answered = {(card, figure.protocol) for figure in figures for card in figure.card}
    models = {model for model, _ in answered} | _models(stored) | set(known)
    _require_known(required, models, {figure.protocol for figure in figures} | _protocols(stored), "bench list models")
    audited = _audited(tell, stored)
    trusted, damaged = [one.stored for one in audited if not one.problem], [one for one in audited if one.problem]
    outcomes, told = [], set()
    for figure, (_, row) in zip(figures, joined(figures, trusted).iterrows(), strict=True):
        lost = best_answer(figure, [one.stored for one in damaged]) if row["record"] is None else None
        one = next((one for one in damaged if one.stored is lost), None)
        told |= {one.stored.path} if one else set()
        outcomes.append(_damaged(one, figure.metric) if one else _published_outcome(figure, row, required))
    outcomes += [_damaged(one) for one in damaged if one.stored.path not in told]
    return in_order([*outcomes, *_unanswered(required, answered, "required, but it has no published figure")])


def _audited(tell: Tell, *folders: Sequence[Stored]) -> list[Audited]:
    audited = audit(*folders)
    for line in remarks([one.stored for one in audited if not one.problem]):
        tell(line)
    return audited


def _damaged(one: Audited, metric: str = "") -> Outcome:
    """A record that is not to be trusted fails, whether or not it answers to anything."""
    return Outcome("damaged", f"{_run(one.stored.record)} {metric}".strip(), str(one.problem), True)


def _run(record: Record) -> str:
    """Model, data set, split and protocol, with what tells the run apart, in words."""
    return " ".join([*_identity(record)[:3], file_name(record).removesuffix(".json")])


def _models(stored: Sequence[Stored]) -> set[str]:
    return {entry.record["model"]["id"] for entry in stored}


def _protocols(stored: Sequence[Stored]) -> set[str]:
    return {entry.record["protocol"]["id"] for entry in stored}


def _published_outcome(figure: Published, row: pd.Series[Any], required: Sequence[str]) -> Outcome:
    answer: Stored | None = row["record"]
    name = answer.record["model"]["id"] if answer else " or ".join(row["card"]) or row["model"]
    what = f"{name} {row['dataset']} {row['split']} {row['protocol']} {row['metric']}"
    wanted = _is_required(row["card"], row["protocol"], required)
    status = row["status"]
    if status not in COMPARED:
        shown = f"{points(row['value'])} published" + (f", {row['measured']:.2f} measured" if answer else "")
        detail = f"{shown}; {row['reason']}" + _overlap(answer)
        return Outcome(status, what, detail, wanted, measured=answer is not None)
    assert answer is not None  # as it was compared
    found = expectation(answer.record, figure)
    theirs = ""
    if found.authors:
        theirs = f"; the authors' solver gives {found.value:.2f} over {found.authors} seeds"
    off = found.value - row["value"]
    detail = (
        f"{points(row['value'])} published, {row['measured']:.2f} measured{theirs}, difference {off:+.2f}, "
        f"tolerance {row['tolerance']:.2f}"
    )
    if is_unverified(answer.record):
        detail += "; of weights without a published hash"
    detail += _overlap(answer)
    held = Held(found.tolerance, off)
    if status == "reproduced":
        return Outcome(status, what, detail, False, held=held)
    return Outcome(status, what, detail, True, _against_classes(answer.record), _cluster_map(answer.record), held=held)


def _overlap(answer: Stored | None) -> str:
    """What the training images of a record's model have to do with the data set that it was evaluated on."""
    said = overlap_of(answer.record) if answer else ""
    return f"; training images that overlap: {said}" if said else ""


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
    tell: Tell = lambda line: None,
    *,
    run_now: bool = False,
) -> list[Outcome]:
    """An outcome per metric of every earlier record, held against the newest record of the same run now; and one per
    other record that is not to be trusted. `tell` gets what else there is to say of records.

    With `run_now` this process made the new records: its run vouches for the figures that no row gives. Raises
    WrongName for a required id that no record and none of the `known` ids has.
    """
    models = _models(earlier) | _models(stored) | set(known)
    _require_known(required, models, _protocols(earlier) | _protocols(stored), "bench list results")
    audited = _audited(tell, earlier, stored)
    before, after = audited[: len(earlier)], audited[len(earlier) :]
    now: dict[tuple[str, ...], list[Audited]] = defaultdict(list)
    for one in after:
        now[_identity(one.stored.record)].append(one)
    answered = {(entry.record["model"]["id"], entry.record["protocol"]["id"]) for entry in earlier}
    outcomes, spoken = _unanswered(required, answered, "required, but there is no earlier record of it"), set()
    for old in before:
        new = _that_speaks(now[_identity(old.stored.record)], old)
        spoken.add(id(new))
        hint = "" if new else _nearest(old.stored.record, stored)
        outcomes += _record_outcomes(old, new, required, hint, run_now=run_now)
    outcomes += [_damaged(one) for one in after if one.problem and id(one) not in spoken]
    return in_order(outcomes)


def _that_speaks(records: Sequence[Audited], old: Audited) -> Audited | None:
    """Of the records of an earlier one's run: the newest that can be trusted and is no copy of the earlier one."""

    def rank(one: Audited) -> tuple[bool, bool, str]:
        record = one.stored.record
        return not one.problem, record != old.stored.record, str(record.get("created", ""))

    return max(reversed(records), key=rank, default=None)


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
    before: Audited, after: Audited | None, required: Sequence[str], hint: str, *, run_now: bool
) -> list[Outcome]:
    """One outcome per metric of an earlier record; `hint` says why there is no new one."""
    old, new = before.stored, after.stored if after else None
    run, wanted = _run(old.record), _is_required([old.record["model"]["id"]], old.record["protocol"]["id"], required)
    problem = (after and after.problem) or (before.problem and f"of the earlier record: {before.problem}")
    outcomes = []
    for metric, said in old.record["metrics"].items():
        what = f"{run} {metric}"
        if new is None or metric not in new.record["metrics"]:
            outcomes.append(Outcome("not run", what, f"{said['value']:.2f} earlier{hint}", wanted, measured=False))
        elif problem:
            outcomes.append(Outcome("damaged", what, problem, True))
        elif new.record == old.record:
            reason = f"{said['value']:.2f} earlier; the record is the same file, nothing was run since"
            outcomes.append(Outcome("not run", what, reason, wanted, measured=False))
        else:
            moved = _moved(what, metric, old.record, new.record, wanted)
            claimed = not run_now and metric in old.claimed | new.claimed
            apart = abs(new.record["metrics"][metric]["value"] - said["value"])
            outcomes.append(_of_claims(moved, metric, wanted, apart) if claimed else moved)
    return outcomes


def _of_claims(outcome: Outcome, metric: str, wanted: bool, apart: float) -> Outcome:
    """What becomes of a figure that no row gives: it is marked, and its spread, which nobody counted, lets none pass.

    One that no protocol counts never passes.
    """
    marked = replace(outcome, detail=f"{outcome.detail}; {unvouched(metric)}")
    if outcome.status != "reproduced" or (metric in METRICS and apart <= ROUNDING):
        return marked
    return replace(marked, status="not comparable", fails=wanted)


def _moved(what: str, metric: str, old: Record, new: Record, wanted: bool) -> Outcome:
    """Two means over seeds of one spread differ by chance; beyond the tolerance, something changed."""
    before, after = old["metrics"][metric], new["metrics"][metric]
    if old["dataset"]["manifest"] != new["dataset"]["manifest"]:
        return Outcome("not comparable", what, "the two runs used different images or labels", wanted)
    held = Held(of_two_samples(before["per_seed"], after["per_seed"], ROUNDING), after["value"] - before["value"])
    allowed, difference = held.tolerance.points, held.difference
    status = published.verdict(difference, allowed)
    detail = (
        f"{before['value']:.2f} earlier, {after['value']:.2f} now, difference {difference:+.2f}, "
        f"tolerance {allowed:.2f}"
    )
    if status == "reproduced":
        return Outcome(status, what, detail, False, held=held)
    return Outcome(status, what, detail, True, _largest(_parts(old), _parts(new)), _map_movement(old, new), held=held)


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
