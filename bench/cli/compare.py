"""`bench compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.completion import records
from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import NameOrPath
from bench.cli.settings import echo_remarks, echo_table, echo_wrapped, records_folder, results_option

if TYPE_CHECKING:
    from bench.records.record import Stored
    from bench.report.compare import Comparison
    from bench.scoring.paired import Difference, Part

_EPILOG = """
A and B are records: a path, MODEL/DATASET-SPLIT/PROTOCOL below --results, or the MODEL if it has a single record.

p is two-sided: the chance of a difference at least as large between models that are equally good.

\b
Examples:
  bench compare random-shapes maskcontrast-shapes
  bench compare random-shapes/shapes-val/clustering again/clustering.json
  bench compare before.json after.json --metric pixel_accuracy --json
"""


@click.command(epilog=_EPILOG)
@click.argument("a", metavar="A", type=NameOrPath(), shell_complete=records)
@click.argument("b", metavar="B", type=NameOrPath(), shell_complete=records)
@click.option(
    "--metric",
    help="mIoU, pixel_accuracy or mean_class_accuracy; for video J_mean, J_recall, J_decay, F_mean, F_recall, F_decay "
    "or JF_mean; of saliency max_f and its others, of discovery corloc or box_iou. [default: mIoU; for video JF_mean; "
    "max_f; corloc]",
)
@click.option(
    "--resamples", type=click.IntRange(100, 1_000_000), default=2000, show_default=True, help="Number of resamples."
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@results_option
def compare(a: str, b: str, metric: str | None, resamples: int, as_json: bool, results: Path | None) -> int:
    """Compare two records with the same preset on the same images: B − A, its 95 % interval and p.

    They are for the figures: what new images, clustered again, and new seeds would give. What images alone would give,
    clusters and seeds fixed, stands below, and beside each class.
    """
    from bench.records.audit import remarks
    from bench.records.find import find
    from bench.records.record import dumps, precision_of
    from bench.report.compare import compare as compare_records

    folder = records_folder(results)
    found = compare_records(find(a, folder), find(b, folder), metric, resamples)
    echo_remarks(remarks([found.a, found.b]))
    _warn_of_precision(*(precision_of(stored.record) for stored in (found.a, found.b)))
    if as_json:
        emit(dumps(found.as_json()))
    else:
        _print(found)
    return 0


def _warn_of_precision(a: str, b: str) -> None:
    if a != b and a and b:
        echo_warning(f"A was computed in {a}, B in {b}: a part of the difference is rounding")


def _print(found: Comparison) -> None:
    """Print the comparison as text."""
    from bench.base.files import display

    record, chosen = found.a.record, found.chosen
    dataset, protocol = record["dataset"], record["protocol"]
    values = ((found.a, chosen.first), (found.b, chosen.second))
    echo_table([_who(name, found.metric, *pair) for name, pair in zip("AB", values, strict=True)])
    for name, (stored, _) in zip("AB", values, strict=True):
        echo(f"record of {name}: {display(stored.path)}")
    for name, (stored, _) in zip("AB", values, strict=True):
        echo_wrapped(stored.record["model"]["supervision"], f"supervision of {name}: ")
    limited, modified = dataset["limited"], protocol.get("modified")
    echo_wrapped(
        f"{dataset['id']} {dataset['split']}, {dataset['images']} images{' (limited)' if limited else ''}, "
        f"{protocol['id']}{' (modified)' if modified else ''}, fingerprint {protocol['fingerprint'][:8]}"
    )
    echo()
    echo_wrapped(f"{found.metric}: B − A = {chosen.difference:+.2f}{_test(chosen)}")
    for line in _verdict(chosen, found):
        echo_wrapped(line)
    if not found.parts:
        return
    title = "CLASS" if found.unit == "images" else "SEQUENCE"
    rows = [_cells(part) for part in found.parts]
    echo()
    if found.unit == "images":
        echo("Of each class, over images alone, all else fixed:")
    echo_table([(title, f"{'A':>6}", f"{'B':>6}", f"{'B − A':>7}", f"95 % OVER {found.unit.upper()}"), *rows])


def _who(name: str, metric: str, stored: Stored, value: float) -> tuple[str, ...]:
    record = stored.record
    seeds, spread = len(record.get("seeds", [])), record["metrics"][metric].get("std")
    over = f"± {spread:.2f} over {seeds} seeds" if spread is not None else "one seed" if seeds else "no seeds"
    marks = "".join(f", {variation}" for variation in record["protocol"].get("variations", []))
    return name, record["model"]["id"], f"{metric} {value:5.2f}", over + marks


def _test(one: Difference) -> str:
    tested = one.tested
    if tested is None:
        return ""
    p = "p < 0.0001" if tested.p < 0.0001 else f"p = {tested.p:.2g}"
    return f", 95 % interval {tested.low:+.2f} to {tested.high:+.2f}, {p}"


def _verdict(chosen: Difference, found: Comparison) -> list[str]:
    """What the test says, what it covers, and what it would find."""
    from bench.scoring.paired import SEEDS

    tested = chosen.tested
    images = ""
    if not math.isnan(chosen.low):
        images = f"Over {found.unit} alone, all else fixed: {chosen.low:+.2f} to {chosen.high:+.2f} "
        images += f"({found.resamples} resamples)."
    if tested is None:
        return [_untested(chosen, found), *([images] if images else [])]
    outside = tested.low > 0 or tested.high < 0
    if tested.covers == SEEDS and found.same_seeds:
        said = "A and B are the same model under the same seeds."
        said += " They should be equal: versions, machine or precision differ." if chosen.difference else ""
    elif tested.covers == SEEDS:
        said = "A and B are the same model under other seeds"
        said += ": seeds alone moved it, further than usual." if outside else ", within its spread."
    elif outside:
        said = f"B is {'higher' if tested.low > 0 else 'lower'} than A: the interval lies {_side(tested.low)} 0."
    else:
        said = "No difference is shown: the interval contains 0."
    if tested.covers == SEEDS:
        apart = f"Of pairs of such runs, {100 * tested.p:.0f} % lie at least as far apart."
        return [said] if found.same_seeds else [said, apart]
    lines = [
        said,
        f"The interval and p are for {tested.covers}.",
        f"A true difference of {tested.found:.1f} points would be found in 80 % of such comparisons.",
    ]
    same = (tested.low, tested.high) == (chosen.low, chosen.high)  # where nothing but images is drawn
    return lines + ([images] if images and not same else [])


def _side(low: float) -> str:
    return "above" if low > 0 else "below"


def _untested(chosen: Difference, found: Comparison) -> str:
    from bench.records.intervals import obstacle_of
    from bench.report.compare import one_model

    if math.isnan(chosen.low):
        return "Nothing is shown: there is a single thing to draw from."
    if one_model(found.a.record, found.b.record):
        return "A and B are the same model; one seed each does not say how far apart seeds lie."
    why = obstacle_of(found.a.record)
    if why:
        return f"No verdict: {why}, and clusterings differ by more than images do."
    return (
        "No verdict: the rows of A or B have no subsamples (parts of the images, clustered again), and clusterings "
        "differ by more than images do. Run both again: from the cache it takes seconds."
    )


def _cells(part: Part) -> tuple[str, ...]:
    def number(value: float | None, form: str, width: int) -> str:
        return f"{'–' if value is None else format(value, form):>{width}}"

    bounds = "" if part.ci95 is None else f"{part.ci95[0]:+7.2f} to {part.ci95[1]:+7.2f}"
    return (
        part.name,
        number(part.a, ".2f", 6),
        number(part.b, ".2f", 6),
        number(part.difference, "+.2f", 7),
        bounds,
    )
