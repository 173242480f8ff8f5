"""Among: what records of one data set say of each other.

Records of the same images have the same ids and the same labelled pixels, whatever the model; and two models have not
the same predictions. Records that come with the program are witnesses, wherever the others lie.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.folders import LOCAL, folder
from bench.cards import catalogue
from bench.records.contradictions import (
    PREDICTIONS,
    base_of,
    is_built_in,
    labelled_pixels,
    predictions_leave_pixels_out,
)
from bench.records.findings import Finding, doubt, note, problem
from bench.records.record import Record, Stored, check_rows, json_files, read, rows_path
from bench.scoring import rows as rows_of
from bench.scoring.cluster_rows import ClusterRows
from bench.scoring.confusion_rows import ConfusionRows, SeedRows
from bench.scoring.frame_rows import FrameRows
from bench.scoring.image_rows import ImageRows
from bench.scoring.rows import Rows

Array = npt.NDArray[Any]
Said = Iterator[tuple[int, Finding]]
"""The number of a record, and what is found of it."""


@dataclass(frozen=True)
class Facts:
    """What of a record's rows is held against other records: hashes, and how pixels were counted."""

    counting: tuple[Any, ...]
    """Two records of the same images that are equal in this have the same labelled pixels."""
    ids: str
    """Of the images' ids."""
    labels: str
    """Of the images' labelled pixels."""
    predictions: tuple[str, ...]
    """Of each seed's rows, whatever the ids; none of rows so plain that two networks could have them."""


@dataclass(frozen=True)
class One:
    """A record among others."""

    stored: Stored
    facts: Facts
    folder: int
    """The number of the folder of records that it was read from; -1 for a witness."""

    @property
    def record(self) -> Record:
        """The record."""
        return self.stored.record

    @property
    def model(self) -> str:
        """The model's id."""
        return str(self.record["model"]["id"])

    @property
    def weights(self) -> str:
        """The hash of its weights."""
        return str(self.record["model"]["weights_sha256"])

    @property
    def name(self) -> str:
        """What it is called on pages, which tell no machine's folders."""
        dataset = self.record["dataset"]
        return f"{self.model}/{dataset['id']}-{dataset['split']}/{self.stored.path.name}"

    @property
    def limited(self) -> bool:
        """Whether it is of a part of its split, and so ranked with nothing."""
        return bool(self.record["dataset"]["limited"])


def facts_of(record: Record, rows: Rows) -> Facts:
    """What is kept of a record's rows, once they were read."""
    ids = "\n".join(rows.ids)
    if isinstance(rows, ConfusionRows):
        labels: Sequence[Array] = [labelled_pixels(rows, 0)]
        seeds = [_sorted(rows, own) for own in rows.seeds if len(np.unique(own.predicted)) > 1]
    elif isinstance(rows, FrameRows):
        labels = [rows.frame, rows.object]
        seeds = [[*labels, rows.similarity, rows.accuracy]] if len(np.unique(rows.similarity)) > 1 else []
    elif isinstance(rows, ClusterRows):
        labels = [rows.totals]
        seeds = [[own.image, own.cluster, own.pixels] for own in rows.seeds if len(np.unique(own.cluster)) > 1]
    elif isinstance(rows, ImageRows):
        labels = rows.annotated
        seeds = [list(rows.predicted)] if rows.predicted else []
    else:
        raise ValueError("rows of an unknown kind")
    digests = tuple(_hash(columns) for columns in seeds)
    return Facts(_counting(record, rows), _hash([], ids), _hash(labels), digests)


def _sorted(rows: ConfusionRows, own: SeedRows) -> list[Array]:
    """A seed's pixels, each place once, in an order of their own: rows in another order are the same rows."""
    places = own.image.astype(np.int64) * rows.num_classes + own.true
    places, back = np.unique(places * (rows.num_classes + 1) + own.predicted, return_inverse=True)
    pixels = np.zeros(len(places), np.int64)
    np.add.at(pixels, back, own.count)
    return [places[pixels > 0], pixels[pixels > 0]]


def _counting(record: Record, rows: Rows) -> tuple[Any, ...]:
    name, preset = record["protocol"]["id"], record["protocol"]["preset"]
    dataset = record["dataset"]
    data = (dataset["id"], dataset["split"], dataset["manifest"], type(rows).__name__)
    ours = is_built_in(base_of(name)) or PREDICTIONS.fullmatch(name)
    if not ours or not isinstance(rows, ConfusionRows):
        return (*data, name, record["protocol"]["fingerprint"])
    grid = str(preset.get("grid", "label"))
    if grid == "patch":  # how many there are, and of what, is the network's
        read = record.get("read")
        seen = read.get("features") if isinstance(read, dict) else None
        return (*data, rows.num_classes, grid, name, record["protocol"]["fingerprint"], str(seen))
    seen = ("input", "resizing", "fit", "label_resizing") if grid != "label" else ()
    how = ("void_classes", "drop_last_batch", *seen)
    told = [str(preset.get("ignored")), *(str(preset.get(key) or "") for key in how)]  # of those ignored, 0 is a class
    if predictions_leave_pixels_out(preset):
        told += [name, str(record["model"].get("weights_sha256")), str(record.get("seeds"))]
    return (*data, rows.num_classes, grid, *told)


def _hash(arrays: Sequence[Array], ids: str = "") -> str:
    digest = hashlib.sha256(ids.encode(errors="surrogatepass"))
    for array in arrays:
        wide = np.ascontiguousarray(array, np.float64 if array.dtype.kind == "f" else np.int64)
        digest.update(f"|{wide.shape}|".encode())
        digest.update(wide.tobytes())
    return digest.hexdigest()


# --- all of it ---


def among(found: Sequence[One]) -> list[list[Finding]]:
    """Per record what others deny of it."""
    every = [*found, *witnesses([one.stored for one in found])]
    said: list[list[Finding]] = [[] for _ in found]
    for look in (_of_data_sets, _of_labels, _of_predictions, _of_weights, _of_runs):
        for number, finding in look(every):
            if number < len(found):  # nothing is said of a witness
                said[number].append(finding)
    return said


def witnesses(stored: Sequence[Stored]) -> list[One]:
    """The records that come with the program and are of the same images as any of these, without themselves."""
    manifests = {entry.record["dataset"]["manifest"] for entry in stored}
    own = {entry.path.resolve() for entry in stored}
    return [
        one
        for entry in _shipped()
        if entry.record["dataset"]["manifest"] in manifests and entry.path.resolve() not in own
        if (one := _witness(entry)) is not None
    ]


@cache
def _shipped() -> tuple[Stored, ...]:
    """The records that come with the program, also where a run of the same name was made here."""
    inside = [one for one in folder("results").glob("*") if one.is_dir() and one.name != LOCAL]
    found = []
    for path in sorted(path for one in inside for path in json_files(one)):
        try:
            found.append(Stored(path, read(path)))
        except BadInput:  # `bench check` of that folder says so
            continue
    return tuple(found)


def _witness(entry: Stored) -> One | None:
    """None for one whose rows are not those that it came with."""
    try:
        if check_rows(entry) is None:
            return One(entry, facts_of(entry.record, rows_of.read(rows_path(entry))), -1)
    except (BadInput, ValueError, LookupError):
        pass
    return None


def _groups(every: Sequence[One], keys: Callable[[One], Iterable[Hashable]]) -> Iterator[list[int]]:
    """The numbers of records that have a key in common, where several have."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for number, one in enumerate(every):
        for key in keys(one):
            found[key].append(number)
    yield from (group for group in found.values() if len(group) > 1)


def _unlike(
    every: Sequence[One], group: Sequence[int], say: Callable[[One], Hashable], *, vote: bool = False
) -> Iterator[tuple[int, list[One], bool]]:
    """Of a group that should say one thing, each record that may be wrong, and records that say otherwise.

    With `vote` a witness is right, else the majority; the last value tells whether there was either.
    """
    said: dict[Hashable, list[One]] = defaultdict(list)
    for number in group:
        said[say(every[number])].append(every[number])
    if len(said) == 1:
        return
    first, second, *_ = sorted(said.values(), key=len, reverse=True)
    vouched = next((ones for ones in said.values() if any(one.folder < 0 for one in ones)), None)
    right = vouched or (first if len(first) > len(second) else None) if vote else None
    for number in group:
        mine = said[say(every[number])]
        if mine is not right:
            yield number, right or (second if mine is first else first), right is not None


# --- the same images ---


def _of_data_sets(every: Sequence[One]) -> Said:
    """The images and labels of one built-in data set are not those of another."""
    known = catalogue.datasets()

    def manifest(one: One) -> list[str]:
        dataset = one.record["dataset"]
        # the first images of two data sets may be the same
        return [dataset["manifest"]] if dataset["id"] in known and not dataset["limited"] else []

    for group in _groups(every, manifest):
        for number, others, _ in _unlike(every, group, lambda one: str(one.record["dataset"]["id"]), vote=True):
            mine = every[number].record["dataset"]["id"]
            yield number, problem(f"it is of {mine}, and its images are those of {others[0].name}")


def _of_labels(every: Sequence[One]) -> Said:
    """The same files have the same ids and, decoded by one card, the same labelled pixels."""
    for group in _groups(every, lambda one: [one.facts.counting]):
        for number, others, decided in _unlike(every, group, lambda one: (one.facts.ids, one.facts.labels), vote=True):
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            said = f"its ids or labelled pixels are not those of {others[0].name}{more}, of the same images"
            mine = every[number]
            if mine.record["dataset"]["id"] in catalogue.datasets() or mine.facts.ids != others[0].facts.ids:
                yield number, problem(said if decided else f"{said}: one of them was changed")
            else:
                yield number, doubt(f"{said}: one of them, or the card, was changed")


# --- the same predictions ---


def _of_predictions(every: Sequence[One]) -> Said:
    """Other weights do not give the same predictions, down to the pixel, on every image under a seed."""
    told: set[int] = set()
    for group in _groups(every, lambda one: dict.fromkeys(one.facts.predictions)):
        kinds = {(one.model, one.weights, _is_painted(one)): one for one in (every[n] for n in reversed(group))}
        by_trust = sorted(kinds.values(), key=_trust, reverse=True)
        for number in group if len(kinds) > 1 else ():
            other = next((one for one in by_trust if _denies(one, every[number])), None)
            if other is not None and number not in told:
                told.add(number)
                yield number, _same_rows(every[number], other)


def _denies(one: One, mine: One) -> bool:
    """Whether two records of the same rows cannot both be right, and it may be `mine` that is wrong."""
    if one.model == mine.model and (_is_painted(one) or _is_painted(mine)):
        return False  # predictions of the model, which were saved and scored: the hash is that of the pictures
    both_known = {one.model, mine.model} <= catalogue.models().keys() and one.model != mine.model
    return (one.weights != mine.weights or both_known) and _trust(one) >= _trust(mine)


def _is_painted(one: One) -> bool:
    return PREDICTIONS.fullmatch(one.record["protocol"]["id"]) is not None


def _trust(one: One) -> int:
    """How well it is known whose weights these are: by a card's hash, by a card's seed, by nothing."""
    card = catalogue.models().get(one.model)
    if card is None or card.drawn:
        return 0 if card is None else 2
    return 3 if card.weights_sha256 == one.weights else 1


def _same_rows(mine: One, other: One) -> Finding:
    known = {mine.model, other.model} & catalogue.models().keys()
    if mine.model == other.model or not known or (mine.limited and other.limited):
        return note(f"its rows are, to the pixel, those of {other.name}, a record of other weights")
    # a copy of a catalogue's weights in another file, under a name of its own, is that model still
    kind = problem if len(known) > 1 else doubt
    return kind(f"its rows are, to the pixel, those of {other.name}, a record of {other.model}")


def _of_weights(every: Sequence[One]) -> Said:
    """Of a catalogue's model that no card has the hash of: which of two files is the model's, nobody can tell."""

    def unpinned(one: One) -> list[str]:
        card = catalogue.models().get(one.model)
        return [] if card is None or _is_painted(one) or card.weights_sha256 else [one.model]

    for group in _groups(every, unpinned):
        for number, others, _ in _unlike(every, group, lambda one: one.weights):
            yield number, note(f"it has other weights under the id {every[number].model} than {others[0].name}")


# --- the same run ---


def _of_runs(every: Sequence[One]) -> Said:
    for group in _groups(every, lambda one: [(one.folder, *_identity(one.record))] if one.folder >= 0 else []):
        for number, others, _ in _unlike(every, group, lambda one: one.facts.predictions):
            yield number, note(f"{others[0].stored.path} is of the same run, with other figures")


def _identity(record: Record) -> tuple[Any, ...]:
    dataset, protocol = record["dataset"], record["protocol"]
    run = (record["model"]["id"], dataset["id"], dataset["split"], dataset["images"], dataset["manifest"])
    return (*run, protocol["id"], protocol["fingerprint"], *protocol.get("variations", []), *record.get("seeds", []))
