"""Selection: the part of the leaderboard that a report is limited to, by names of models, data sets and the like."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from bench.base.errors import WrongName
from bench.base.escaping import one_line
from bench.cards import catalogue
from bench.protocols import registry
from bench.records.published import Published
from bench.records.record import Record, Stored
from bench.scoring.metric_names import METRICS, metric_name

Names = tuple[frozenset[str], frozenset[str]]
"""The ids of a thing, and what else it is called, all in lower case."""
LISTINGS = {
    "model": "bench list models|published|results",
    "dataset": "bench list datasets",
    "protocol": "bench list protocols",
    "metric": "bench list published",
}
"""Option → the command that lists its names."""
_WORDS = {"dataset": "data set"}


@dataclass(frozen=True)
class Selection:
    """What a report is limited to. Names of one kind widen it, those of another narrow it."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`model`, `dataset`, `protocol` and `metric` → names as given; none of a kind takes all."""
    own: bool = False
    """Whether published figures are left out."""

    @property
    def said(self) -> str:
        """What it is limited to, in words; empty for everything."""
        parts = [
            f"{_WORDS.get(kind, kind)} {' or '.join(dict.fromkeys(map(one_line, sorted(names))))}"
            for kind, names in self.names.items()
            if names
        ]
        return ", ".join(parts + ["without published figures"] * self.own)

    def of(
        self, figures: Sequence[Published], stored: Sequence[Stored]
    ) -> tuple[tuple[Published, ...], tuple[Stored, ...]]:
        """The figures and records of it, each record with its metrics of it alone. Raises WrongName for a name that
        nothing has."""
        if not any(self.names.values()):
            return (() if self.own else tuple(figures)), tuple(stored)
        kinds = _Kinds(figures, stored)
        taken = {kind: kinds.taken(kind, names) for kind, names in self.names.items() if names}

        def has(kind: str, names: Names) -> bool:
            return kind not in taken or bool((names[0] & taken[kind][0]) or (names[1] & taken[kind][1]))

        kept = [one for one in figures if all(has(kind, kinds.of_figure(kind, one)) for kind in kinds.of_one)]
        records = []
        for one in stored:
            if all(has(kind, kinds.of_record(kind, one.record)) for kind in ("model", "dataset", "protocol")):
                metrics = {name: said for name, said in one.record["metrics"].items() if has("metric", _metric(name))}
                records += [replace(one, record=one.record | {"metrics": metrics})] if metrics else []
        return (() if self.own else tuple(kept)), tuple(records)


EVERYTHING = Selection()


class _Kinds:
    """What figures and records are called, kind by kind."""

    def __init__(self, figures: Sequence[Published], stored: Sequence[Stored]) -> None:
        self.figures, self.stored = figures, stored
        self.titles = {card.id: card.title for card in catalogue.models().values()}
        self.called: dict[str, set[str]] = {}
        for figure in figures:
            for identifier in figure.card:
                self.called.setdefault(identifier, set()).add(figure.model)
        self.of_one: dict[str, Callable[[Published], Names]] = {
            "model": lambda one: _names(one.card, [one.model, *(self.titles.get(card, "") for card in one.card)]),
            "dataset": lambda one: _dataset(one.dataset, one.split),
            "protocol": lambda one: _protocol(one.protocol),
            "metric": lambda one: _metric(one.metric),
        }

    def of_figure(self, kind: str, figure: Published) -> Names:
        """What a published figure answers to."""
        return self.of_one[kind](figure)

    def of_record(self, kind: str, record: Record) -> Names:
        """What a record answers to: what published figures call its model, too."""
        if kind == "dataset":
            dataset = record["dataset"]
            return _dataset(dataset["id"], dataset["split"], str(dataset.get("title") or ""))
        if kind == "protocol":
            return _protocol(record["protocol"]["id"])
        identifier = record["model"]["id"]
        titles = (str(record["model"].get("title") or ""), self.titles.get(identifier, ""))
        return _names([identifier], [*titles, *self.called.get(identifier, ())])

    def taken(self, kind: str, wanted: Iterable[str]) -> Names:
        """The names that are meant by those given. Raises WrongName for one that nothing has."""
        known = self._known(kind)
        found = [_meant(kind, name, known) for name in wanted]
        return frozenset().union(*(ids for ids, _ in found)), frozenset().union(*(others for _, others in found))

    def _known(self, kind: str) -> Names:
        every = [self.of_figure(kind, figure) for figure in self.figures] + _of_catalogue(kind)
        if kind == "metric":
            every += [_metric(name) for one in self.stored for name in one.record["metrics"]]
        else:
            every += [self.of_record(kind, one.record) for one in self.stored]
        return frozenset().union(*(ids for ids, _ in every)), frozenset().union(*(others for _, others in every))


def _of_catalogue(kind: str) -> list[Names]:
    """What the catalogue knows, whether or not anything was measured of it."""
    if kind == "model":
        return [_names([card.id], [card.title]) for card in catalogue.models().values()]
    if kind == "dataset":
        return [_dataset(card.id, split) for card in catalogue.datasets().values() for split in card.splits]
    return [_protocol(name) for name in registry.protocols()] if kind == "protocol" else [_metric(n) for n in METRICS]


def _meant(kind: str, name: str, known: Names) -> Names:
    """An id if it is one, else what else things are called, else all that a pattern with * or ? fits."""
    text, none = name.strip().lower(), frozenset[str]()
    if text in known[0]:
        return frozenset({text}), none
    if text in known[1]:
        return none, frozenset({text})
    if any(sign in text for sign in "*?["):
        ids, others = (frozenset(one for one in part if fnmatchcase(one, text)) for part in known)
        if ids or others:
            return ids, others
    raise _unknown(kind, name, text, known[0] | known[1])


def _unknown(kind: str, name: str, text: str, known: frozenset[str]) -> WrongName:
    near = difflib.get_close_matches(text, sorted(known), n=3, cutoff=0.5)
    inside = sum(text in one for one in known) if text else 0
    guess = f"Did you mean {' or '.join(map(one_line, near))}? " if near else ""
    guess += f"'*{one_line(name)}*' takes all {inside} names that have it. " if inside > 1 else ""
    what = f"no record or published figure has the {_WORDS.get(kind, kind)} '{one_line(name)}'"
    return WrongName(what, f"{guess}`{LISTINGS[kind]}` shows the names.")


# --- names ---


def _names(ids: Iterable[str], others: Iterable[str]) -> Names:
    return frozenset(one.lower() for one in ids), frozenset(one.strip().lower() for one in others if one.strip())


def _dataset(identifier: str, split: str, title: str = "") -> Names:
    card = catalogue.datasets().get(identifier)
    return _names([identifier, f"{identifier}-{split}"], [card.title if card else title])


def _protocol(name: str) -> Names:
    """A protocol answers to the name of its group too: `retrieval-7` to `retrieval`."""
    found = registry.parsed(name.removesuffix(registry.UNLABELLED))
    groups = [registry.protocols()[found[0]].group] if found else []
    return _names([name], groups)


def _metric(name: str) -> Names:
    return _names([name], [metric_name(name)])
