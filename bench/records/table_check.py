"""Table check: faults of a table of published figures that no single line shows.

A line by itself is judged where it is read (`bench.records.published.load`). Here lines are held against each other
(`bench.records.table_values`, `bench.records.table_sources`), the cards, and the figures of single classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import date
from pathlib import Path
from statistics import fmean

from bench.cards import catalogue
from bench.cards.presets import read_value
from bench.protocols import registry
from bench.records import published_classes, published_names
from bench.records.own_preset import published_preset
from bench.records.published import ROUNDING, Published, entry_words, figure_of, points
from bench.records.published_classes import PublishedClass
from bench.records.published_rows import read_rows
from bench.records.table_faults import Fault, Faults, Line, but_for_allowed
from bench.records.table_names import unknown_names
from bench.records.table_sources import sources
from bench.records.table_values import values


def check_table(path: Path, today: date) -> list[str]:
    """A sentence for each fault of a CSV of published figures, in the order of its lines: file, line, column, what.

    Beside it may lie `<name>_per_class.csv`, the figures of single classes, `<name>_allowed.csv`, what is odd and true,
    and `<name>_names.csv`, names that this program lacks (else those of `results/published_names.csv`). Raises BadInput
    for a file or for lines that cannot be read.
    """
    names = [one.name for one in fields(Published)]
    lines = read_rows(path, names, lambda row, where: Line(figure_of(row, where), int(where.rpartition(":")[2])))
    beside = path.with_name(f"{path.stem}_per_class.csv")
    per_class = published_classes.load(beside) if beside.is_file() else ()
    unknown = unknown_names(lines, published_names.beside(path))
    found = [*values(lines), *sources(lines, today), *unknown, *_presets(lines), *_means(lines, per_class)]
    return but_for_allowed(path, sorted(found, key=Fault.place))


def _presets(lines: Sequence[Line]) -> Faults:
    """A figure is comparable only with a preset; entries that change nothing say that the preset is another one, and no
    record can be of a split that the card lacks."""
    for line in lines:
        figure = line.figure
        if unknown := set(figure.card) - catalogue.models().keys():
            yield Fault(line, "card", f"there is no model '{min(unknown)}'; `bench list models` has them")
        card = catalogue.datasets().get(figure.dataset)
        if card is not None and figure.split not in card.splits:
            yield Fault(line, "split", f"the card of {figure.dataset} has the splits {', '.join(sorted(card.splits))}")
        plain = published_preset(figure.dataset, figure.protocol, {})
        own = published_preset(figure.dataset, figure.protocol, figure.entries)
        if plain is None and figure.comparable:
            known = registry.parsed(figure.protocol) is not None
            what = f"{figure.dataset} has no preset for" if known else "no protocol is called"
            yield Fault(line, "comparable", f"{what} {figure.protocol}, so nothing can be held against the figure")
        elif plain is not None and own is None:
            wrong = [word for word in entry_words(figure.entries) if not _is_taken(figure, word)] or ["them together"]
            yield Fault(line, "entries", f"the preset of {figure.protocol} does not take {', '.join(wrong)}")
        elif plain is not None and own is not None:
            for key in figure.entries:
                rest = {name: value for name, value in figure.entries.items() if name != key}
                without = published_preset(figure.dataset, figure.protocol, rest)
                if without is not None and without.resolved() == own.resolved():
                    yield Fault(line, "entries", f"{key} changes nothing of the preset: leave it out")


def _is_taken(figure: Published, word: str) -> bool:
    """Whether the figure's preset takes one entry, whatever the others are."""
    key, _, value = word.partition("=")
    return published_preset(figure.dataset, figure.protocol, {key: read_value(value)}) is not None


def _means(lines: Sequence[Line], per_class: Sequence[PublishedClass]) -> Faults:
    """mIoU that is not the mean of the IoU of all classes, unless the classes' note says what their mean is."""
    for line in lines:
        figure, card = line.figure, catalogue.datasets().get(line.figure.dataset)
        if figure.metric != "mIoU" or card is None or not figure.card:
            continue
        of = (figure.dataset, figure.split, figure.protocol)
        classes = {
            one.class_: one
            for one in per_class
            if (one.dataset, one.split, one.protocol) == of and set(one.card) & set(figure.card)
        }
        if not classes or set(classes) != set(card.classes):
            continue
        mean = fmean(one.value for one in classes.values())
        said = all(f"mean {mean:.2f}" in one.note for one in classes.values())
        if abs(mean - figure.value) > ROUNDING and not said:
            text = f"the IoU of its classes has a mean of {mean:.2f}, not {points(figure.value)}"
            yield Fault(line, "value", f"{text}; if they are of another run, say 'mean {mean:.2f}' in their note")
