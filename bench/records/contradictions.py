"""Contradictions: what a record says, against what else it says, and against its rows.

Nothing but the record is needed: no card, no data, no other record. Figures are left to `bench.records.recount`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from bench.cards.presets import FIRST_SEED, Preset, fingerprint
from bench.protocols import registry
from bench.records.findings import Findings, doubt, problem
from bench.records.model_said import BY_MODEL
from bench.records.record import PLAIN, Record, class_names
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.mask_tables import mapping_of, predicted_ids, table_of
from bench.scoring.matching import iou_table, match
from bench.scoring.metric_names import METRICS, metric_name
from bench.scoring.rows import Rows

PREDICTIONS = re.compile(r"predictions([-+].*)?")
"""Protocol ids of scored predictions: all have a fingerprint of one kind (`bench.runs.score_folder`)."""
SIGNED = ("ari", "seed_ari", "J_decay", "F_decay")
"""Metrics that may be negative."""
_SLACK = 1e-6
"""Of a percentage: the order of a sum."""


def contradictions(record: Record, rows: Rows | None) -> Findings:
    """What a record itself, or its rows where it has any, deny of what it says of how it was made."""
    for part in (_of_fingerprint, _of_protocol, _of_model_entries, _of_seeds, _of_precision, _of_metrics):
        yield from part(record)
    if isinstance(rows, ConfusionRows):
        for look in (_of_labels, _of_sizes, _of_average, _of_clusters, _of_matching, _of_solvers):
            yield from look(record, rows)


# --- what the figure is defined by ---


def base_of(protocol: str) -> str | None:
    """The id of the built-in or installed protocol that a record's protocol id is of; None where it is of no such."""
    found = registry.parsed(protocol)
    return found[0] if found else None


def is_built_in(base: str | None) -> bool:
    """Whether a protocol is one of ours, all rules of which are known here."""
    return base in {entry.id for entry in registry.BUILT_IN}


def preset_of(record: Record) -> Preset | None:
    """A record's preset as the protocol's own type.

    None where the protocol is not here, or this version has other entries or values than the one that wrote it.
    """
    base, entries = base_of(record["protocol"]["id"]), record["protocol"]["preset"]
    if base is None:
        return None
    try:
        preset = registry.preset_type(base).model_validate(entries)
    except ValidationError:
        return None
    return preset if preset.resolved() == entries else None


def _of_fingerprint(record: Record) -> Findings:
    """It is the hash of protocol and preset as they stand in the record, whatever version wrote it."""
    name = record["protocol"]["id"]
    if PREDICTIONS.fullmatch(name):
        hashed = [name, "predictions"]
    elif base_of(name.removesuffix(registry.UNLABELLED)) is None:
        return  # under which name a protocol that is not here hashes its presets, nobody can tell
    else:
        some = registry.SOME_LABELLED if "judges" in record["dataset"] else ""
        hashed = [name] if name.endswith(registry.UNLABELLED) else [(base_of(name) or name) + some]
    said, preset = record["protocol"]["fingerprint"], record["protocol"]["preset"]
    if said not in [fingerprint(one, preset) for one in hashed]:
        yield problem("its fingerprint is not that of its protocol and preset: one of them was changed")


def _of_protocol(record: Record) -> Findings:
    name, said = record["protocol"]["id"], record["protocol"]["preset"]
    for key, value in (registry.parsed(name) or ("", {}))[1].items():
        if said.get(key) != value:
            yield problem(f"it is of {name}, and its preset has {key} = {_shown(said.get(key))}")


def _of_model_entries(record: Record) -> Findings:
    """Only normalisation and input belong to a model: with any other entry it would pass for another protocol's run."""
    own = record["protocol"].get("by_model")
    if own is None:
        return
    preset = record["protocol"]["preset"]
    if not isinstance(own, dict) or not own.keys() <= {*BY_MODEL} & {*preset}:
        yield problem("it says that the model decided entries of the preset that no model decides")
        return
    read = record.get("read")
    patch = _sides(read.get("patch") if isinstance(read, dict) else None)
    for key in own.keys() & {"input", "height"}:
        before, after = _sides(own[key]), _sides(preset[key])
        if len(patch) != 1 or len(before) != len(after) or not before:
            yield problem(f"it says that the model decided the entry {key}, and names no patch or no size")
        elif any(side % patch[0] for side in after):
            yield problem(f"it says that the model's patch of {patch[0]} decided {key} = {_shown(preset[key])}")


def _sides(value: Any) -> list[int]:
    """One or several numbers of pixels; none where one of them is no such number."""
    sides = value if isinstance(value, list) else [value]
    return sides if all(type(one) is int and 0 < one < 1 << 20 for one in sides) else []


def _shown(value: Any) -> str:
    """A value of a preset, short."""
    text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


# --- seeds and precision ---


def _of_seeds(record: Record) -> Findings:
    protocol, seeds = record["protocol"], record.get("seeds") or []
    if len(set(seeds)) < len(seeds):
        yield problem("it names a seed twice")
    for mark in protocol.get("variations", []):
        named = re.fullmatch(r"seeds(\d{1,10})x(\d{1,6})", mark)
        if named and seeds != list(range(int(named[1]), int(named[1]) + min(int(named[2]), 1 + len(seeds)))):
            yield problem(f"its variation is {mark}, and its seeds are others")
    if protocol.get("variations") and not protocol.get("modified"):
        yield doubt(f"it names variations ({', '.join(protocol['variations'])}), and says that nothing was modified")
    preset = preset_of(record) if is_built_in(base_of(protocol["id"])) else None
    if preset is not None and bool(preset.num_seeds) != bool(seeds):
        draws = (
            "it names seeds, and its protocol draws nothing" if seeds else "it names no seeds, and its protocol draws"
        )
        yield problem(f"{draws} at random")


def _of_precision(record: Record) -> Findings:
    cost, marks = record.get("cost"), record["protocol"].get("variations", [])
    precision = cost.get("precision") if isinstance(cost, dict) else None
    if isinstance(precision, str) and precision != PLAIN and precision not in marks:
        yield doubt(f"it was computed in {precision[:40]}, and its variations do not name that")


# --- figures ---


def _of_metrics(record: Record) -> Findings:
    for name, said in record["metrics"].items():
        least = -100.0 if name in SIGNED else 0.0
        values = [said["value"], *said["per_seed"]]
        if name in METRICS and not all(least - _SLACK <= value <= 100 + _SLACK for value in values):
            yield problem(f"it says {metric_name(name)} {said['value']:.2f}, which no percentage of this kind can be")


# --- rows of images with labels ---


def labelled_pixels(rows: ConfusionRows, seed: int) -> npt.NDArray[np.int64]:
    """3×n, sorted: image, class and number of labelled pixels of every class that an image's label has."""
    own, classes = rows.seeds[seed], rows.num_classes
    places, back = np.unique(own.image.astype(np.int64) * classes + own.true, return_inverse=True)
    pixels = np.zeros(len(places), np.int64)
    np.add.at(pixels, back, own.count)
    kept = pixels > 0
    return np.stack([places[kept] // classes, places[kept] % classes, pixels[kept]])


def predictions_leave_pixels_out(preset: Mapping[str, Any]) -> bool:
    """Whether pixels count nowhere by what was predicted of them, so that two models count others of one image."""
    return preset.get("extra") == "dropped" and bool(preset.get("extra_clusters"))


def _of_labels(record: Record, rows: ConfusionRows) -> Findings:
    """Seeds draw clusters, not labels."""
    if predictions_leave_pixels_out(record["protocol"]["preset"]):
        return
    first = labelled_pixels(rows, 0)
    for number in range(1, len(rows.seeds)):
        if not np.array_equal(first, labelled_pixels(rows, number)):
            seeds = record.get("seeds") or range(len(rows.seeds))
            names = [seeds[i] if i < len(seeds) else i for i in (0, number)]
            yield problem(f"its rows of seed {names[1]} are of other labelled pixels than those of seed {names[0]}")
            return


def _of_sizes(record: Record, rows: ConfusionRows) -> Findings:
    preset = record["protocol"]["preset"]
    side = preset.get("input")
    fixed = preset.get("grid") == "input" and preset.get("fit", "squash") in ("squash", "crop")
    known = fixed and isinstance(side, list) and all(type(one) is int for one in side)
    if not known or len(side) != 2 or not is_built_in(base_of(record["protocol"]["id"])):
        return
    image, _, pixels = labelled_pixels(rows, 0)
    if len(image) and np.bincount(image, pixels).max() > side[0] * side[1] + 0.5:
        yield problem(f"an image has more pixels in its rows than its input size, {side[0]}×{side[1]}")


def _of_average(record: Record, rows: ConfusionRows) -> Findings:
    """Which classes a mean takes in is for the preset to say: left to the rows, it could be the best one alone."""
    name = record["protocol"]["id"]
    base = base_of(name)
    classes, preset = class_names(record), dict(preset_of(record) or ())
    if not (is_built_in(base) or PREDICTIONS.fullmatch(name)) or (base in _OBJECTS and not (classes and preset)):
        return
    wanted = _averaged(preset, classes) if base in _OBJECTS else None
    if rows.counted != wanted:
        took, meant = (rows.num_classes if one is None else len(one) for one in (rows.counted, wanted))
        yield problem(f"its rows average over {took} of {rows.num_classes} classes, its preset over {meant}")


_OBJECTS = ("retrieval-21", "retrieval-7")
"""Protocols whose presets leave classes out of the mean."""


def _averaged(preset: Mapping[str, Any], classes: list[str]) -> tuple[int, ...] | None:
    """The classes that retrieval's mean takes in; None for all (`bench.protocols.retrieval.scoring.paint`)."""
    void, objects = preset["void_classes"], preset["averaged"] == "objects"
    kept = tuple(i for i, name in enumerate(classes) if name not in void and not (objects and i == 0))
    return kept if len(kept) < len(classes) else None


def _of_clusters(record: Record, rows: ConfusionRows) -> Findings:
    base = base_of(record["protocol"]["id"])
    if not rows.labels.shape[1] or not is_built_in(base):
        return
    if record["protocol"]["preset"].get("classes_from") == "halves":
        return  # each half has its own classes
    if base != "clustering":
        yield problem(f"its rows have a cluster for each image, which {base} makes none of")
        return
    for number, own in enumerate(rows.seeds):
        ids = predicted_ids(rows, number)
        if ids is not None:
            painted = np.unique(ids * (rows.num_classes + 1) + own.predicted) // (rows.num_classes + 1)
            if len(np.unique(painted)) < len(painted):
                yield problem("its rows paint one cluster with two classes")
                return


def _of_matching(record: Record, rows: ConfusionRows) -> Findings:
    """One-to-one matching has one largest sum: several clusters on a class could have more, other ones less."""
    preset = preset_of(record) if base_of(record["protocol"]["id"]) == "clustering" else None
    said = dict(preset or ())
    if said.get("matching") not in ("iou", "pixels") or said["matched_on"] is not None or not rows.labels.shape[1]:
        return
    if said["classes_from"] == "halves":
        return  # each half has its own classes
    for number in range(len(rows.seeds)):
        table, mapping = table_of(rows, number), mapping_of(rows, number)
        if table is None or mapping is None or said["clusters"] >= 1 << 15:
            return
        table = np.pad(table, ((0, max(0, said["clusters"] + 1 - len(table))), (0, 0)))
        worth = iou_table(table) if said["matching"] == "iou" else table.astype(np.float64)
        best, own = (_sum_of(worth, ids) for ids in (match(table, said["matching"]), mapping))
        if abs(best - own) > _SLACK * max(1.0, best):
            yield doubt("its clusters have not the classes that its preset's matching would give them")
            return


def _sum_of(worth: npt.NDArray[np.float64], mapping: npt.NDArray[np.int64]) -> float:
    """What a mapping of ids to classes is worth; an id without a class adds nothing."""
    ids = np.flatnonzero(mapping >= 0)
    return float(worth[ids, mapping[ids]].sum())


def _of_solvers(record: Record, rows: ConfusionRows) -> Findings:
    """Sums of no pixels are what no solver comes to."""
    if rows.solver_sums is None:
        return
    hit, predicted, labelled = np.split(rows.solver_sums, 3, axis=-1)
    painted, there = (part.sum(axis=-1, dtype=np.float64) for part in (predicted, labelled))
    if (hit > np.minimum(predicted, labelled)).any() or (painted > there * (1 + _SLACK)).any():
        yield problem("its solver_sums have more right pixels than there are pixels")


def solver_sums_fit(record: Record, rows: ConfusionRows) -> bool:
    """Whether the sums of our solver are, under the record's own seeds, those of its rows.

    They need not be in a true record: another device may have found the ones that were kept. Then no check rests on
    the distance that they give.
    """
    sums = rows.solver_sums
    if sums is None:
        return True
    places = [(number, seed - FIRST_SEED) for number, seed in enumerate(record.get("seeds") or [])]
    known = [(number, place) for number, place in places if 0 <= place < sums.shape[1] and number < len(rows.seeds)]
    return all(np.array_equal(sums[0, place], rows.sums(number)) for number, place in known)
