"""Recount: counts a record's figures from its rows again.

A record is a text that anybody can edit; its rows are the counts that it was computed from. `bench.records.audit`
uses this. What differs from the rows is a reason not to trust the record at all. What no row gives
(a figure of boundaries, the interval of a very large run, a distance between solvers that was measured elsewhere) is
claimed: it is told apart wherever it is shown, and no check rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from bench.base.errors import BadInput
from bench.records.contradictions import solver_sums_fit
from bench.records.published import authors_entry
from bench.records.record import Record, Stored, check_rows, class_names, rows_path
from bench.scoring import rows as rows_of
from bench.scoring.cluster_rows import ClusterRows
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.frame_rows import FrameRows
from bench.scoring.mask_tables import UNKNOWN
from bench.scoring.rows import Context, Rows

AGREE = 1e-6
"""Points by which a record's figure may differ from what its rows give: the order of a sum."""
ROUNDED = 1e-3
"""Pixels by which a mean count may differ: records have it rounded."""
MOST_RESAMPLING = 1_000_000
"""Numbers that a resample may take up (`Rows.resampling`): beyond that, drawing 2000 takes more than a few seconds."""
INTERVAL = ("low", "high", "images", "seeds")
"""The entries of the interval of a figure."""
SOLVER_GAP = "solver_gap"
"""The name of the distance between solvers among `Stored.claimed`."""
PARTS = ("per_class", "per_sequence", "confusion", "cluster_to_class", "clusters")
"""Names of a record's parts among `Stored.claimed`."""


@dataclass(frozen=True)
class Recount:
    """What came of counting a record again."""

    problem: str | None = None
    """Why its figures are not to be trusted; None if they are."""
    claimed: frozenset[str] = frozenset()
    """What no row gives: `SOLVER_GAP`, `PARTS`, metrics, and `interval_name` of metrics."""


def interval_name(metric: str) -> str:
    """The name of a metric's interval among `Stored.claimed`."""
    return f"{metric}.ci95"


def recount(stored: Stored, look: Callable[[Rows], str | None] = lambda rows: None) -> Recount:
    """Hold all that a record says of figures against its rows.

    `look` gets the rows first, so that they are read once; what it returns is a reason not to trust the record.
    """
    if problem := check_rows(stored):
        return Recount(problem)
    try:
        rows = rows_of.read(rows_path(stored))
        if problem := look(rows):
            return Recount(problem)
        return Recount(*held_against(stored.record, rows))
    except BadInput as error:
        return Recount(error.problem)
    except (ValueError, LookupError, ArithmeticError, MemoryError) as error:
        return Recount(f"{rows_path(stored)} cannot be counted: {error}")


def held_against(record: Record, rows: Rows) -> tuple[str | None, frozenset[str]]:
    """The first thing that a record says otherwise than its rows, None if there is none; and what no row gives."""
    if problem := next(_size_problems(record, rows), None):
        return problem, frozenset()  # nothing can be counted by a record of other rows
    counted = _counted(record, rows)
    claimed: set[str] = set()
    looks = (
        *(_metric_problems, _part_problems, _optimism_problems),
        *(_gap_problems, _authors_problems, _interval_problems),
    )
    problems = (problem for look in looks for problem in look(record, rows, counted, claimed))
    return next(problems, None), frozenset(claimed)


def _counted(record: Record, rows: Rows, *, intervals: bool = False) -> dict[str, Any]:
    """What a run with these rows would have written: `bench.scoring.rows.Rows.entries`."""
    preset = record["protocol"]["preset"]
    seeds = tuple(record.get("seeds") or range(len(next(iter(record["metrics"].values()))["per_seed"])))
    extra = rows.further(preset, record["metrics"].keys())
    return rows.entries(Context(preset, class_names(record), seeds, extra, intervals=intervals))


# --- what was measured ---


def _size_problems(record: Record, rows: Rows) -> Iterator[str]:
    dataset, seen = record["dataset"], len(rows.ids)
    grouped = isinstance(rows, ClusterRows)
    if grouped == dataset.get("labelled", True):
        yield "it says that there were no labels, its rows have some" if not grouped else "its rows have no labels"
    said = dataset.get("judges", dataset["images"])
    if said != seen or said > dataset["images"]:
        what = f"{said} images with labels of {dataset['images']}" if "judges" in dataset else f"{said} images"
        yield f"it says {what}, its rows have {seen}"
    seeds = len(getattr(rows, "seeds", (None,)))  # rows of video are of one
    if max(1, len(record.get("seeds") or ())) != seeds:
        yield f"it says {len(record.get('seeds') or ())} seeds, its rows have {seeds}"
    if isinstance(rows, FrameRows) and dataset.get("sequences", len(rows.sequences)) != len(rows.sequences):
        yield f"it says {dataset['sequences']} sequences, its rows have {len(rows.sequences)}"
    yield from _condition_problems(record, rows)


def _condition_problems(record: Record, rows: Rows) -> Iterator[str]:
    """What a record says of how it was made, and what else in it, or in its rows, denies."""
    dataset, protocol, seeds = record["dataset"], record["protocol"], record.get("seeds") or ()
    for what in ("images", "sequences"):
        seen, official = dataset.get(what), dataset.get(f"official_{what}")
        if not dataset["limited"] and seen is not None and official is not None and seen < official:
            yield f"it says that it is of the whole split, and of {seen} of {official} {what}"
    if protocol.get("deterministic") and seeds:
        yield "it says that nothing was drawn at random, and names seeds"
    clusters, known = protocol["preset"].get("clusters"), _clusters_of(rows)
    if known and protocol.get("deterministic"):
        yield "it says that nothing was drawn at random, its rows have clusters"
    if known and isinstance(clusters, int) and clusters < known:
        yield f"it says {clusters} clusters, its rows have {known}"


def _clusters_of(rows: Rows) -> int:
    """How many clusters the rows know of, at least."""
    if isinstance(rows, ClusterRows):
        return rows.clusters
    return int(rows.labels.max(initial=-1)) + 1 if isinstance(rows, ConfusionRows) else 0


# --- figures ---


def _metric_problems(record: Record, rows: Rows, counted: Mapping[str, Any], claimed: set[str]) -> Iterator[str]:
    for name, said in record["metrics"].items():
        given = counted["metrics"].get(name)
        if given is None:
            claimed.add(name)
            given = {"per_seed": said["per_seed"], "std": _spread(said["per_seed"])}
        elif len(said["per_seed"]) != len(given["per_seed"]):
            yield f"it has {name} of {len(said['per_seed'])} seeds, its rows of {len(given['per_seed'])}"
        yield from _differing(
            name, [said["value"], *said["per_seed"]], [np.mean(given["per_seed"]), *given["per_seed"]]
        )
        if said.get("std") is not None or name not in claimed:
            yield from _differing(f"a deviation of {name} of", [said.get("std")], [given["std"]])
        if interval := said.get("interval"):
            if "interval" not in given:
                yield f"it has an interval of the figure {name}, its rows give none"
            else:
                ends, known = ([one[key] for key in INTERVAL] for one in (interval, given["interval"]))
                yield from _differing(f"an interval of the figure {name} with", ends, known)
        elif "interval" in given:
            yield f"it has no interval of the figure {name}, its rows give one"


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _interval_problems(record: Record, rows: Rows, counted: Mapping[str, Any], claimed: set[str]) -> Iterator[str]:
    """Last, as it takes longest."""
    said = {name: entry["ci95"] for name, entry in record["metrics"].items() if entry.get("ci95")}
    if not said or len(rows.ids) == 1:  # of one image none is shown, though earlier versions wrote one
        return
    loose = said.keys() if rows.resampling > MOST_RESAMPLING else said.keys() & claimed
    claimed |= {interval_name(name) for name in loose}
    given = _counted(record, rows, intervals=True)["metrics"] if said.keys() - loose else {}
    for name in said.keys() - loose:
        if "ci95" not in given[name]:
            yield f"it has an interval of {name}, its rows give none"
        else:
            yield from _differing(f"an interval of {name} with an end at", said[name], given[name]["ci95"])


def _differing(
    what: str, said: Sequence[float | None], given: Sequence[float | None], agree: float = AGREE
) -> Iterator[str]:
    """The first value that is not what the rows give."""
    for one, other in zip_longest(said, given):
        if not _same(one, other, agree):
            yield f"it says {what} {_shown(one)}, its rows give {_shown(other)}"
            return


def _same(one: float | None, other: float | None, agree: float) -> bool:
    return one is other if one is None or other is None else abs(one - other) <= agree


def _shown(value: float | None) -> str:
    return "none" if value is None or math.isnan(value) else f"{value:.4f}"


# --- what figures are made of ---


def _part_problems(record: Record, rows: Rows, counted: Mapping[str, Any], claimed: set[str]) -> Iterator[str]:
    if said := record.get("per_class"):
        if len(said) == len(counted.get("per_class", ())) == getattr(rows, "num_classes", None):
            for (name, value), given in zip(said.items(), counted["per_class"].values(), strict=True):
                yield from _differing(f"IoU of {name}", [value], [given])
        else:
            yield f"it has {len(said)} classes, its rows another number"
        named = (record.get("confusion") or {}).get("classes", list(said))
        if named != list(said):
            yield "it names its classes otherwise in per_class than in confusion"
    yield from _confusion_problems(record.get("confusion"), counted.get("confusion"))
    yield from _sequence_problems(record.get("per_sequence") or {}, counted.get("per_sequence", {}))
    yield from _map_problems(record.get("cluster_to_class") or [], rows.mappings(), claimed)
    if (clusters := record.get("clusters")) and clusters != counted.get("clusters"):
        yield "its clusters' sizes are not those of its rows"


def _optimism_problems(record: Record, rows: Rows, counted: Mapping[str, Any], claimed: set[str]) -> Iterator[str]:
    said, given = record.get("optimism") or {}, counted.get("optimism", {})
    for name, value in said.items():
        if name not in given:
            yield f"it has the optimism of {name}, its rows do not give it"
        else:
            yield from _differing(f"an optimism of {name} of", [value], [given[name]])


def _confusion_problems(said: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> Iterator[str]:
    if not said or said.get("mean") is None:  # a large one is left to the rows
        return
    if given is None or [len(row) for row in said["mean"]] != [len(row) for row in given["mean"] or ()]:
        yield "its confusion matrix is of another size than its rows"
    else:
        for row, other in zip(said["mean"], given["mean"], strict=True):
            yield from _differing("in the confusion matrix", row, other, ROUNDED)


def _sequence_problems(said: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in said.items():
        other = given.get(name)
        if other is None:
            yield f"it has the sequence {name}, its rows do not"
            return
        for key, value in entry.items():
            yield from _differing(f"{key} of {name}", [value], [other.get(key)])


def _map_problems(said: Sequence[Sequence[int]], given: Sequence[Sequence[int]], claimed: set[str]) -> Iterator[str]:
    if said and not given:
        claimed.add("cluster_to_class")
        return
    if said and len(said) != len(given):
        yield f"it has cluster_to_class of {len(said)} seeds, its rows of {len(given)}"
    for mine, other in zip(said, given, strict=False):
        for number, (one, known) in enumerate(zip_longest(mine, other, fillvalue=UNKNOWN)):
            if known not in (UNKNOWN, one):
                yield f"it says that predicted id {number} is class {one}, its rows have class {known}"
                return


# --- the distance to the authors' solver, which widens what a check admits ---


def _gap_problems(record: Record, rows: Rows, counted: Mapping[str, Any], claimed: set[str]) -> Iterator[str]:
    said = record.get(SOLVER_GAP)
    if not said:
        return
    preset = record["protocol"]["preset"]
    solved = preset.get("solver") not in (None, "minibatch")
    given = rows.solver_gap(preset) if solved else 0.0
    if given is None or (isinstance(rows, ConfusionRows) and not solver_sums_fit(record, rows)):
        claimed.add(SOLVER_GAP)
    else:
        yield from _differing("a distance between solvers of", [said], [given])


def _authors_problems(record: Record, rows: Rows, counted: Mapping[str, Any], claimed: set[str]) -> Iterator[str]:
    if not (said := record.get("authors")):
        return
    per_seed = rows.authors(record["protocol"]["preset"])
    if per_seed is None or (isinstance(rows, ConfusionRows) and not solver_sums_fit(record, rows)):
        claimed.add(SOLVER_GAP)
        return
    given = authors_entry(per_seed)
    if said["seeds"] != given["seeds"] or said["metrics"].keys() != given["metrics"].keys():
        yield f"it has the authors' solver over {said['seeds']} seeds, its rows over {given['seeds']}"
        return
    for name, entry in said["metrics"].items():
        other = given["metrics"][name]
        yield from _differing(
            f"{name} of the authors' solver", [entry["value"], entry["std"]], [other["value"], other["std"]]
        )
