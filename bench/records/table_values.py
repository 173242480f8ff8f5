"""Table values: figures of a table that cannot be, or that their fellows speak against."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from bench.cards import catalogue
from bench.records.published import ROUNDING, Published
from bench.records.table_faults import Fault, Faults, Line, counted, grouped, named
from bench.scoring.metric_names import FALLING

FELLOWS = 4
"""Fewer others on a benchmark say nothing of a figure's order of magnitude."""
MAGNITUDE = 8
"""Times, or one part, of the median of the others: about a decimal point's worth."""
PERCENT = 5
"""Where the others' median is no smaller, a value of at most 1 is a share and no percentage."""
SHARED = 3
"""So many equal figures, and no other one on the same benchmarks, are no chance."""
_NO_SMALLER = {"accuracy": "iou", "mean_class_accuracy": "mIoU", "mDice": "mIoU"}
"""Metric → one of the same run that it cannot be below, whatever the predictions are. Of an image's foreground: the
wrong pixels are (1 − IoU) of the union, and the union is no larger than the image. Of a class: its IoU is no larger
than the share of its pixels that is right, nor than its Dice."""


def values(lines: Sequence[Line]) -> Faults:
    """Figures of another scale or magnitude, twice there, of two sources or models, or that another metric denies."""
    yield from _scale(lines)
    yield from _magnitude(lines)
    yield from _twice(lines)
    yield from _from_two_sources(lines)
    yield from _under_two_names(lines)
    yield from _impossible(lines)


def _scale(lines: Sequence[Line]) -> Faults:
    for metric, group in grouped(lines, lambda figure: figure.metric).items():
        for line in group if metric not in FALLING else ():
            others = [other.figure.value for other in group if other is not line]
            if line.figure.value <= 1 and len(others) >= FELLOWS and median(others) >= PERCENT:
                yield Fault(line, "value", f"{line.figure.value:g} is a fraction where others have percent")


def _magnitude(lines: Sequence[Line]) -> Faults:
    def benchmark(figure: Published) -> tuple[str, ...]:
        return (figure.dataset, figure.split, figure.protocol, figure.metric)

    for place, group in grouped(lines, benchmark).items():
        for line in group:
            others = [other.figure.value for other in group if other is not line]
            middle = median(others) if len(others) >= FELLOWS else 0
            value = line.figure.value
            if middle and value > 1 and not middle / MAGNITUDE <= value <= middle * MAGNITUDE:
                times = f"{value / middle:.0f} times" if value > middle else f"{_part(round(middle / value))} of"
                where = " ".join(map(str, place)) if isinstance(place, tuple) else place
                yield Fault(line, "value", f"{value:g} is {times} the median of the others of {where}, {middle:g}")


def _part(number: int) -> str:
    """One part of so many, in words: `a 10th`, `an 18th`, `a 22nd`; the article goes by how the number is spoken."""
    digits = str(number)
    eleven_or_eighteen = digits[:2] in ("11", "18") and len(digits) % 3 == 2  # 11, 18 000, but not 118 or 1 800
    article = "an" if digits.startswith("8") or eleven_or_eighteen else "a"
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{article} {number}{ending}"


def _twice(lines: Sequence[Line]) -> Faults:
    def same(figure: Published) -> tuple[object, ...]:
        return (counted(figure), figure.metric, named(figure), figure.source)

    for first, *others in grouped(lines, same).values():
        for line in others:
            yield Fault(line, "value", f"line {first.number} has the same figure, of the same model and source")


def _from_two_sources(lines: Sequence[Line]) -> Faults:
    """One figure of one model that two sources have: the second is a quotation, or a slip of the table's number."""

    def same(figure: Published) -> tuple[object, ...]:
        return (counted(figure), figure.metric, figure.model, figure.backbone, figure.init, figure.value)

    for first, *others in grouped(lines, same).values():
        for line in others:
            if line.figure.source != first.figure.source:
                text = f"line {first.number} has the same figure of the same model from '{first.figure.source}'"
                yield Fault(line, "source", f"{text}: keep the one that was published first")


def _under_two_names(lines: Sequence[Line]) -> Faults:
    """Two models whose figures agree on all benchmarks that they share, and they share several."""
    figures: dict[tuple[str, ...], dict[tuple[object, ...], Line]] = defaultdict(dict)
    for line in lines:
        figures[named(line.figure)][(counted(line.figure), line.figure.metric)] = line
    for one, other in itertools.combinations(figures.values(), 2):
        shared = one.keys() & other.keys()
        if len(shared) >= SHARED and all(one[key].figure.value == other[key].figure.value for key in shared):
            last = max((other[key] for key in shared), key=lambda line: line.number)
            first = next(iter(one.values())).figure
            text = f"all {len(shared)} figures that it shares with {' '.join(named(first)[:2])} are equal"
            yield Fault(last, "model", f"{text}: one model under two names, or one's figures copied to the other")


def _impossible(lines: Sequence[Line]) -> Faults:
    """What two metrics of one confusion, or of the same masks, cannot both be."""
    for group in grouped(lines, lambda figure: (counted(figure), named(figure), figure.source)).values():
        of = {line.figure.metric: line for line in group}
        for metric, lower in _NO_SMALLER.items():
            if metric in of and lower in of and of[metric].figure.value < of[lower].figure.value - 2 * ROUNDING:
                text = f"{metric} cannot be below the same run's {lower}, {of[lower].figure.value:g}"
                yield Fault(of[metric], "value", text)
        if "mIoU" in of and "pixel_accuracy" in of:
            yield from _above_its_accuracy(of["mIoU"], of["pixel_accuracy"].figure.value)


def _above_its_accuracy(line: Line, accuracy: float) -> Faults:
    """Each wrong pixel is missing in its class, whose union is no larger than all pixels: the classes' (1 − IoU) sum to
    at least the share of wrong pixels."""
    card = catalogue.datasets().get(line.figure.dataset)
    if card is None or not card.classes:
        return
    largest = 100 - (100 - accuracy) / len(card.classes)
    if line.figure.value > largest + 2 * ROUNDING:
        text = f"with a pixel accuracy of {accuracy:g}, mIoU of {len(card.classes)} classes is at most {largest:.1f}"
        yield Fault(line, "value", text)
