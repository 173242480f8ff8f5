"""Records: one JSON file per run, with everything that is needed to check or to repeat its figures.

Beside each lies `<same name>.rows.npz`, whose hash the record holds. The rows are written first and the
record last, both atomically, so a record always has its rows.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.escaping import json_text
from bench.base.files import said, sha256_file, write_with
from bench.base.folders import LOCAL
from bench.base.json_files import read_json
from bench.records.schema import upgraded
from bench.scoring.confusion_rows import ConfusionRows
from bench.scoring.rows import Rows

EXAMPLES = "examples.json"
"""What the folder of pictures beside a record calls its own index, which is no record."""
LARGEST = 1 << 24
"""Bytes of a record, at most. One of 920 classes and 500 clusters has a tenth of that."""
LARGEST_ROWS = 1 << 30
"""Bytes of a rows file, at most."""
PLAIN = "float32"
"""The precision of the network's arithmetic that needs no mark."""
_PRECISION = re.compile(r"b?float\d{1,3}")
SCORED = "predictions"
"""Begins the protocol's id where `bench score` counted predictions that were given, and nothing was run."""
Record = dict[str, Any]


def file_name(record: Record) -> str:
    """`<protocol>.json` for the data set's own preset on the full split; a name of its own for the rest."""
    protocol = record["protocol"]
    if not protocol.get("modified") and not record["dataset"]["limited"]:
        return f"{protocol['id']}.json"
    marks = [f"{protocol['id']}@{protocol['fingerprint'][:8]}", *protocol.get("variations", [])]
    if record["dataset"]["limited"]:
        marks.append(f"limit{record['dataset'].get('sequences', record['dataset']['images'])}")
    return "-".join(marks) + ".json"


def precision_of(record: Record) -> str:
    """What the network computed in, `float32` or `bfloat16`; empty where it is not known, as of given predictions.

    The mark in a record's name and what it says of its cost should agree; where either names another than float32, it
    is that.
    """
    cost = record.get("cost")
    said = [*record["protocol"].get("variations", []), cost.get("precision") if isinstance(cost, dict) else None]
    known = [name for name in said if isinstance(name, str) and _PRECISION.fullmatch(name)]
    return next((name for name in known if name != PLAIN), PLAIN if known else "")


def other_precision(record: Record) -> str | None:
    """Why a figure stands beside none that was computed in float32; None where nothing speaks against it."""
    precision = precision_of(record)
    return None if precision in ("", PLAIN) else f"the network computed in {precision}, not in {PLAIN}"


def shortfall(record: Record) -> str | None:
    """What a limited run has not seen, or which images of a split of known size had no labels; None for a whole one."""
    dataset = record["dataset"]
    if not dataset["limited"]:
        if "judges" in dataset and dataset.get("official_images"):
            return f"judged on {dataset['judges']} of {dataset['images']} images: the others have no labels"
        return None
    others = "".join(
        f", {size['images']} of {size.get('official_images') or 'the'} {split} images"
        for split, size in dataset.get("cut", {}).items()
    )
    return f"run on {dataset['images']} images{others}: not the whole split{'s' if others else ''}"


def write(record: Record, rows: Rows, results: Path) -> Path:
    """Write rows and record below `results`; returns the record's path.

    A file of another fingerprint is never replaced: then the name with the fingerprint in it is used.
    """
    path = place(record, results)
    rows_path = path.with_name(path.name.removesuffix(".json") + ".rows.npz")
    rows.write(rows_path)
    complete = record | {"rows": {"file": rows_path.name, "sha256": sha256_file(rows_path)}}
    write_with(path, lambda stream: stream.write(dumps(complete).encode()))
    record.update(complete)
    return path


def place(record: Record, results: Path) -> Path:
    """The path below `results` that `write` gives a record."""
    model, dataset = record["model"]["id"], record["dataset"]
    return _free_path(results / model / f"{dataset['id']}-{dataset['split']}", record)


def of_other_weights(made: Record, results: Path) -> tuple[Path, str] | None:
    """Which record `write` will replace although it is of other weights, and their hash; None where none is lost.

    The name of a model does not tell its weights apart.
    """
    path = place(made, results)
    try:
        before = read(path)["model"]["weights_sha256"]
    except BadInput:  # nothing there, or nothing that could be lost
        return None
    return None if before == made["model"]["weights_sha256"] else (path, before)


def examples_folder(path: Path) -> Path:
    """Where the pictures of the record at `path` lie."""
    return path.with_name(path.name.removesuffix(".json") + ".examples")


def dumps(value: Any) -> str:
    """JSON as records and `--json` have it; nothing in it acts on a terminal. A NaN is a bug and raises ValueError."""
    return json_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def _free_path(folder: Path, record: Record) -> Path:
    """The first name for a record that no file of another fingerprint holds."""
    mine = record["protocol"]["fingerprint"]
    path = folder / file_name(record)
    marks = path.name.removesuffix(".json").partition("@")[2][8:]
    for length in (8, 16, len(mine)):
        if _is_free(path, mine):
            break
        path = folder / f"{record['protocol']['id']}@{mine[:length]}{marks}.json"
    return path


def _is_free(path: Path, mine: str) -> bool:
    """Whether a run of fingerprint `mine` may write here: nothing there, its own record, or no JSON object."""
    try:
        entry = read_json(path, LARGEST, any_number=True)
        return bool(entry["protocol"]["fingerprint"] == mine)
    except (OSError, ValueError, LookupError, TypeError):
        return True  # nothing that any version of this program wrote


def read(path: Path) -> Record:
    """Read, convert and validate a record. Raises BadInput for a file that is damaged or no record."""
    try:
        value = read_json(path, LARGEST)
        _require_text(value)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is damaged: {said(error)}", "Remove the file, or run the evaluation again.") from error
    record, problem = upgraded(value)
    if problem:
        raise BadInput(f"{path} is not a record of this program: {problem}", "Remove the file from the results folder.")
    return record


def _require_text(value: Any) -> None:
    """Raises ValueError for half a pair of surrogates, which a JSON escape can make and which is no text."""
    json.dumps(value, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Stored:
    """A record and where it lies."""

    path: Path
    record: Record
    claimed: frozenset[str] = frozenset()
    """Its parts that nobody counted again, as `bench.records.recount` names them."""
    doubts: tuple[str, ...] = ()
    """Why it is neither ranked nor held against a published figure, by `bench.records.audit`; none if it may be."""
    notes: tuple[str, ...] = ()
    """What else is to be said of it."""


NO_ROWS = "the record names no rows file"


def read_all(results: Path) -> tuple[list[Stored], list[str]]:
    """All records below a folder, and a line for each JSON file that could not be read as one."""
    found, problems = [], []
    for path in json_files(results):
        try:
            found.append(Stored(path, read(path)))
        except BadInput as error:
            problems.append(error.problem)
    return found, problems


def check_rows(stored: Stored) -> str | None:
    """What is wrong with a record's rows file; None if it is there and fits its hash."""
    rows = stored.record.get("rows")
    if rows is None:
        return NO_ROWS
    path = rows_path(stored)
    try:
        same = sha256_file(path, LARGEST_ROWS) == rows["sha256"]
        return None if same else f"{path.name} does not fit the record's hash"
    except FileNotFoundError:
        return f"{path.name} is missing"
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read: {said(error)}"


def rows_path(stored: Stored) -> Path:
    """Where a record's rows lie: beside it, whatever folder the record may name."""
    return stored.path.parent / Path(stored.record["rows"]["file"]).name


def json_files(results: Path) -> list[Path]:
    """What may be records below a folder, sorted: its JSON files but those that belong to pictures.

    One in `local/` goes before one of the same place outside: what was run here before what came with the program.
    """
    # unlike `rglob`, it passes over what cannot be listed, and follows no link to another folder
    names = (Path(folder, name) for folder, *inside in os.walk(results) for part in inside for name in part)
    found = sorted(path for path in names if path.suffix == ".json" and path.name != EXAMPLES)
    own = {path.relative_to(results / LOCAL) for path in found if path.is_relative_to(results / LOCAL)}
    return [path for path in found if path.relative_to(results) not in own]


def class_names(record: Record) -> list[str]:
    """The names of a record's classes, by index; none where it has none."""
    names = (record.get("confusion") or {}).get("classes") or record.get("per_class") or ()
    return list(names)


def classes_without_labels(stored: Stored) -> tuple[int, int]:
    """Of the classes that the means take in, how many no label has; and how many they are. (0, 0) without classes.

    Raises BadInput where the rows file is missing or damaged.
    """
    if not isinstance(stored.record.get("confusion"), dict):
        return 0, 0
    rows = ConfusionRows.read(rows_path(stored))
    labelled = rows.sums(0)[2 * rows.num_classes :][slice(None) if rows.counted is None else list(rows.counted)]
    return int((labelled == 0).sum()), len(labelled)


def confusion_table(stored: Stored) -> npt.NDArray[np.float64] | None:
    """(C+1)×C pixel counts, `ConfusionRows.mean_confusion`: from the record, or from its rows file if it is left there.

    None for a record that has no confusion matrix. Raises BadInput where the rows file is missing or damaged.
    """
    entry = stored.record.get("confusion")
    if not isinstance(entry, dict):
        return None
    if isinstance(entry.get("mean"), list):
        return np.array(entry["mean"], np.float64)
    if problem := check_rows(stored):
        raise BadInput(f"{stored.path}: {problem}", "Run the evaluation again.")
    try:
        return ConfusionRows.read(rows_path(stored)).mean_confusion()
    except ValueError as error:
        raise BadInput(f"{stored.path}: {error}", "Run the evaluation again.") from error
