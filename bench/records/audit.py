"""Audit: what of a record can be believed, found without running anything. Whatever reads records asks here first.

A record is counted again from its rows (`bench.records.recount`), and held against itself
(`bench.records.contradictions`), the cards of its model and data set (`bench.records.card_says`), its place, and other
records of the same images (`bench.records.among`). A record and rows that were rewritten together, by somebody who
knows all of this, are found by running the evaluation again, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.cards import catalogue
from bench.protocols import registry
from bench.records.among import Facts, One, among, facts_of
from bench.records.card_says import against_cards, in_the_cards_words
from bench.records.contradictions import contradictions
from bench.records.findings import Finding, Findings, note
from bench.records.record import NO_ROWS, Record, Stored, rows_path
from bench.records.recount import Recount, recount
from bench.scoring.rows import Rows

AHEAD = timedelta(days=1)
"""How far a machine's clock may go ahead of this one's."""


@dataclass(frozen=True)
class Audited:
    """What came of a record's audit."""

    stored: Stored
    """The record as it may be shown: with what it merely claims, with doubts and notes, in the words of its model's
    card, and with no date that cannot be."""
    problem: str | None
    """Why its figures are not to be trusted; None if they are."""

    @property
    def line(self) -> str:
        """The problem, after the record's path."""
        return f"{self.stored.path}: {self.problem}"


@dataclass(frozen=True)
class _Alone:
    """What came of a record without others."""

    stored: Stored
    found: tuple[Finding, ...]
    recount: Recount
    facts: Facts | None
    """None of a record that is not to be trusted: it says nothing against others."""


def sound(stored: Sequence[Stored]) -> tuple[list[Stored], list[str]]:
    """The records that can be trusted, as they may be shown; and a line for each of the others."""
    audited = audit(stored)
    return [one.stored for one in audited if not one.problem], [one.line for one in audited if one.problem]


def remarks(stored: Sequence[Stored]) -> list[str]:
    """A line for each doubt and each note of records that were audited."""
    return [
        f"{one.path}: {text}"
        for one in stored
        for text in (*(f"in doubt, and so not ranked: {doubt}" for doubt in one.doubts), *one.notes)
    ]


def audit(*folders: Sequence[Stored]) -> list[Audited]:
    """What came of each record of one or several folders, in their order."""
    alone = [(number, _alone(entry)) for number, stored in enumerate(folders) for entry in stored]
    known = [(place, One(one.stored, one.facts, number)) for place, (number, one) in enumerate(alone) if one.facts]
    said = dict(zip((place for place, _ in known), among([one for _, one in known]), strict=True))
    return [_judged(one, said.get(place, [])) for place, (_, one) in enumerate(alone)]


def _alone(entry: Stored) -> _Alone:
    found: list[Finding] = []
    facts: list[Facts] = []

    def look(rows: Rows) -> str | None:
        found.extend((*contradictions(entry.record, rows), *against_cards(entry.record, rows)))
        facts.append(facts_of(entry.record, rows))
        return next((one.text for one in found if one.kind == "problem"), None)

    if entry.record.get("rows") is None:
        found += (*contradictions(entry.record, None), *against_cards(entry.record, None))
    counted = recount(entry, look)
    record, words = in_the_cards_words(entry.record)
    record, dates = _of_its_date(record)
    found += (*words, *dates, *_of_its_place(entry))
    known = None if counted.problem else next(iter(facts), None)
    return _Alone(replace(entry, record=record), tuple(found), counted, known)


def _judged(one: _Alone, said: Sequence[Finding]) -> Audited:
    texts = {
        kind: tuple(dict.fromkeys(finding.text for finding in (*one.found, *said) if finding.kind == kind))
        for kind in ("problem", "doubt", "note")
    }
    problem = one.recount.problem
    if problem in (None, NO_ROWS):
        problem = next(iter(texts["problem"]), problem)
    judged = replace(one.stored, claimed=one.recount.claimed, doubts=texts["doubt"], notes=texts["note"])
    return Audited(judged, problem)


# --- date and place ---


def _of_its_date(record: Record) -> tuple[Record, Findings]:
    """The record with its date in UTC, by which records are put in order; a date that cannot be is taken away.

    Of two records of one run the newest speaks: a date from the future would make it speak for ever.
    """
    text = str(record.get("created") or "")
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        said = [note(f"its date '{text[:40]}' is none: it counts as the oldest")] if text else []
        return (record | {"created": ""} if text else record), iter(said)
    try:
        date = date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except OverflowError:
        date = datetime.max.replace(tzinfo=UTC)
    if date > datetime.now(UTC) + AHEAD:
        return record | {"created": ""}, iter([note(f"its date {text[:40]} is yet to come: it counts as the oldest")])
    return record | {"created": date.isoformat(timespec="seconds")}, iter(())


def _of_its_place(entry: Stored) -> Findings:
    """Whether it lies where a record of another model, data set or protocol would lie; and links."""
    record, dataset, parts = entry.record, entry.record["dataset"], entry.path.parts
    splits = {f"{card.id}-{name}" for card in catalogue.datasets().values() for name in card.splits}
    own = (record["model"]["id"], f"{dataset['id']}-{dataset['split']}", record["protocol"]["id"])
    stem = entry.path.name.removesuffix(".json").partition("@")[0]
    if len(parts) > 2:
        places = (parts[-3] in catalogue.models(), parts[-2] in splits, registry.parsed(stem) is not None)
        for place, mine, known in zip((*parts[-3:-1], stem), own, places, strict=True):
            if known and place != mine:
                yield note(f"it is of {mine}, and lies where one of {place} would")
    for what, path in (("it is", entry.path), ("its rows are", rows_path(entry) if record.get("rows") else None)):
        if path is not None and (end := _end_of_link(path)) is not None:
            yield note(f"{what} a link to {end}")


def _end_of_link(path: Path) -> Path | None:
    """Where a link leads; None for what is none."""
    try:
        return path.readlink()
    except (OSError, ValueError):
        return None
