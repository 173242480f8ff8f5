"""Compare: two records with the same preset on the same images, paired image by image over their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.base.errors import BadInput, WrongName
from bench.records.audit import audit
from bench.records.model_said import protocol_preset
from bench.records.record import Record, Stored, check_rows, class_names, precision_of, rows_path
from bench.scoring import rows as rows_of
from bench.scoring.bootstrap import RESAMPLES
from bench.scoring.paired import Difference, Part, bounds, known
from bench.scoring.rows import Rows

AGAIN = "Run the evaluation again."
_SEEN = {
    "dataset": "images or labels",
    "bank": "bank",
    "fitted_on": "images to cluster",
    "boxes": "annotated boxes",
}
"""Entries of a record with a manifest of what was seen, and what that is."""


@dataclass(frozen=True)
class Comparison:
    """B − A."""

    a: Stored
    b: Stored
    metric: str
    metrics: dict[str, Difference]
    """Every metric that the rows give; `metric` is the one asked for."""
    parts: tuple[Part, ...]
    unit: str
    """What was drawn, and what `parts` are: images and classes, or sequences."""
    resamples: int

    @property
    def chosen(self) -> Difference:
        """The difference asked for."""
        return self.metrics[self.metric]

    @property
    def same_seeds(self) -> bool:
        """Whether both were run under the same seeds."""
        return bool(self.a.record.get("seeds") == self.b.record.get("seeds"))

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        dataset, protocol = self.a.record["dataset"], self.a.record["protocol"]
        key = "per_class" if self.unit == "images" else "per_sequence"
        parts = {part.name: {k: v for k, v in asdict(part).items() if k != "name"} for part in self.parts}
        return {
            "a": _who(self.a),
            "b": _who(self.b),
            "dataset": {name: dataset[name] for name in ("id", "split", "images", "manifest", "limited")},
            "protocol": {"id": protocol["id"], "fingerprint": protocol["fingerprint"]},
            "metric": self.metric,
            **_figures(self.chosen),
            "metrics": {name: _figures(one) for name, one in self.metrics.items()},
            key: parts,
            "resamples": self.resamples,
            "drawn": self.unit,
        }


def one_model(a: Record, b: Record) -> bool:
    """Whether two records, of one preset on the same images, are of the same weights: then only seeds differ."""
    return bool(a["model"]["weights_sha256"] == b["model"]["weights_sha256"])


def _figures(one: Difference) -> dict[str, Any]:
    tested = one.tested
    return {
        "values": [known(one.first), known(one.second)],
        "difference": known(one.difference),
        "interval": tested and (tested.low, tested.high),
        "p": tested and tested.p,
        "covers": tested and tested.covers,
        "found_with_80_percent": tested and tested.found,
        "ci95_over_images": bounds(one),
    }


def _who(stored: Stored) -> dict[str, Any]:
    model = stored.record["model"]
    return {
        "path": stored.path.as_posix(),
        "model": {key: model.get(key, model["id"]) for key in ("id", "title", "weights_sha256", "supervision")},
        "seeds": stored.record.get("seeds", []),
        "precision": precision_of(stored.record),
    }


def compare(a: Stored, b: Stored, metric: str | None = None, resamples: int = RESAMPLES) -> Comparison:
    """B − A of a metric with its interval, and of every class or sequence.

    The metric is mIoU by default, J&F of video. Raises BadInput where the two cannot be compared, with the reason,
    WrongName for a metric that the rows do not give.
    """
    _require_same_split(a.record, b.record)
    _require_same_recipe(a.record, b.record)
    _require_same_data(a.record, b.record)
    first = _load(a, "A")
    _require_comparable(first, "A")
    metric = metric or first.comparable[0]
    _require_metric(metric, first.comparable, a.record, b.record)
    rows = (first, _load(b, "B"))
    _require_comparable(rows[1], "B", like=first)
    names = [own.part_names(class_names(stored.record)) for own, stored in zip(rows, (a, b), strict=True)]
    _require_same_classes(names[0], names[1])
    preset = a.record["protocol"]["preset"]
    a, b = _audited(a, b)
    try:
        paired = rows[0].pair(rows[1], preset, names[0], resamples, one_model=one_model(a.record, b.record))
    except ValueError as error:
        raise BadInput(
            f"the rows of A and B do not belong together, though their records do: {error}", AGAIN
        ) from error
    return Comparison(a, b, metric, paired.metrics, paired.parts, paired.unit, resamples)


def _require_same_recipe(a: Record, b: Record) -> None:
    if a["protocol"]["fingerprint"] == b["protocol"]["fingerprint"]:
        return
    remedy = (
        "Compare runs with the same protocol and preset: give both the same --protocol, --solver, --clusters, --set."
    )
    if any("by_model" in one["protocol"] for one in (a, b)) and _of_the_protocol(a) == _of_the_protocol(b):
        return  # they differ only in what belongs to their models
    if a["protocol"]["id"] != b["protocol"]["id"]:
        raise BadInput(f"A is {a['protocol']['id']}, B is {b['protocol']['id']}: these are two protocols", remedy)
    one, other = a["protocol"]["preset"], b["protocol"]["preset"]
    keys = _differing(one, other)
    differ = ", ".join(f"{key} is {_said(one, key)} in A and {_said(other, key)} in B" for key in keys)
    marks = f"fingerprints {a['protocol']['fingerprint'][:8]} and {b['protocol']['fingerprint'][:8]}"
    raise BadInput(f"A and B have different presets: {differ or marks}", remedy)


def _of_the_protocol(record: Record) -> tuple[str, dict[str, Any]]:
    """A protocol's id and preset, with its own values where the model decided: of normalisation and patch."""
    return record["protocol"]["id"], protocol_preset(record)


def _said(preset: Mapping[str, Any], key: str) -> object:
    return "not set" if preset.get(key) is None else preset[key]


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def unlike(a: Record, b: Record) -> tuple[str, str]:
    """In what two runs of one model, split and protocol differ, each side in words: `5 seeds from 1234`."""
    one, other = _conditions(a), _conditions(b)
    keys = _differing(one, other)
    keys = [key for key in keys if key != "fingerprint"] or keys  # which stands for entries of the preset
    before, after = (" and ".join(side.get(key, f"no {key}") for key in keys) for side in (one, other))
    return before, after


def _conditions(record: Record) -> dict[str, str]:
    protocol, seeds = record["protocol"], record.get("seeds") or []
    others = [mark for mark in protocol.get("variations", []) if not mark.startswith("seeds")]
    return {
        "seeds": f"{len(seeds)} seed{'s' * (len(seeds) != 1)}" + (f" from {seeds[0]}" if seeds else ""),
        "images": f"{record['dataset']['images']} images",
        "variation": " ".join(others) or "no variation",
        "fingerprint": f"fingerprint {protocol['fingerprint'][:8]}",
    } | {key: f"{key}={value}" for key, value in protocol["preset"].items()}


def _require_same_split(a: Record, b: Record) -> None:
    sets = [_split(record) for record in (a, b)]
    if sets[0] != sets[1]:
        what = "splits" if a["dataset"]["id"] == b["dataset"]["id"] else "data sets"
        raise BadInput(
            f"A is on {sets[0]}, B on {sets[1]}: these are two {what}", "Compare runs on one data set and split."
        )


def _split(record: Record) -> str:
    return f"{record['dataset']['id']} {record['dataset']['split']}"


def _require_same_data(a: Record, b: Record) -> None:
    remedy = "Run both on the same files, with the same --limit."
    counts = [record["dataset"]["images"] for record in (a, b)]
    if counts[0] != counts[1]:
        raise BadInput(f"A has {counts[0]} images of {_split(a)}, B has {counts[1]}", remedy)
    for where, what in _SEEN.items():
        seen = [_manifest(record, where) for record in (a, b)]
        if seen[0] != seen[1]:
            raise BadInput(f"A and B used different {what}: their manifests differ", remedy)


def _manifest(record: Record, where: str) -> str | None:
    entry = record.get(where)
    return entry.get("manifest") if isinstance(entry, dict) else None


def _load(stored: Stored, name: str) -> Rows:
    """A record's rows. Raises BadInput where they are missing, damaged, or not those of the record."""
    if problem := check_rows(stored):
        raise BadInput(f"{name} ({stored.path}) has no valid rows: {problem}", AGAIN)
    return rows_of.read(rows_path(stored))


def _require_comparable(rows: Rows, name: str, like: Rows | None = None) -> None:
    if not rows.comparable:
        raise BadInput(f"{name} was made without labels: it has no figure to compare", "Compare runs with labels.")
    if like is not None and rows.comparable != like.comparable:
        raise BadInput("the rows of A and B are of two kinds, though their records are of one", AGAIN)


def _require_same_classes(one: Sequence[str], other: Sequence[str]) -> None:
    if one != other:
        differ = next((pair for pair in zip(one, other, strict=False) if pair[0] != pair[1]), None)
        said = f"'{differ[0]}' in A is '{differ[1]}' in B" if differ else f"{len(one)} and {len(other)}"
        raise BadInput(f"A and B have different classes: {said}", "Compare runs on one data set and split.")


def _audited(a: Stored, b: Stored) -> tuple[Stored, Stored]:
    """Both as they may be shown. Raises BadInput for a record that is not to be trusted."""
    found = audit([a], [b])
    for name, one in zip("AB", found, strict=True):
        if one.problem:
            raise BadInput(f"{name} ({one.stored.path}) cannot be trusted: {one.problem}", AGAIN)
    return found[0].stored, found[1].stored


def _require_metric(metric: str, known: Sequence[str], a: Record, b: Record) -> None:
    if metric not in known:
        why = ": its value for each image is not kept" if metric in {**a["metrics"], **b["metrics"]} else ""
        raise WrongName(f"'{metric}' cannot be compared{why}", f"--metric takes {', '.join(known)} for these records.")
    for name, record in (("A", a), ("B", b)):
        if metric not in record["metrics"]:
            have = ", ".join(record["metrics"])
            raise BadInput(f"{name} has no {metric}, only {have}", "Choose a metric that both have with --metric.")
