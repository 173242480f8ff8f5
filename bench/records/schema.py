"""The schema of records: the keys that a record must have, and how records of earlier schemas are converted.

A record of an earlier schema is converted step by step where `CONVERTERS` has the steps; any other is refused with the
reason, and never taken for a record. More keys than those below are welcome, and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, ValidationError

from bench.cards.card import Id, SplitName

SCHEMA = 1
"""The schema that this version writes."""

CONVERTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema n → what makes a record of schema n one of n + 1. Schema 1 is the first."""

Number = Annotated[float, AllowInfNan(False)]
Name = Annotated[str, Field(max_length=1000)]
"""A text that stands on many pages."""
METRICS = 100
"""At most: each has a page of its own, which links to all others."""
SEEDS = 1000
ProtocolId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._+-]{0,119}$")]
"""Longer than other ids: that of scored predictions has the painter's in it."""


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class _Model(_Entry):
    id: Id
    weights_sha256: Name
    supervision: Name
    title: Name = ""
    initialisation: Name | None = None
    prior: Name | None = None
    images: Name | None = None
    """The images that the weights have seen."""
    overlaps: Annotated[dict[Id, Name], Field(max_length=METRICS)] = {}
    """Data set → what these have to do with it."""


class _Size(_Entry):
    images: int
    official_images: int | None = None
    sequences: int | None = None
    official_sequences: int | None = None


class _Dataset(_Size):
    id: Id
    split: SplitName
    images: Annotated[int, Field(ge=0)]
    manifest: Name
    limited: bool
    labelled: bool = True
    judges: Annotated[int, Field(ge=1)] = 1
    """How many of the images have labels and stand in the rows, where the others only had a part in what was learnt.
    Left out where all stand in the rows."""
    title: Name | None = None
    cut: dict[str, _Size] = {}
    """Other splits that had a part in the run, and of which it saw only a part."""


class _Preset(_Entry):
    solver: Name | None = None
    absent: Literal["zero", "skip", "skip+void"] = "zero"


class _Protocol(_Entry):
    id: ProtocolId
    fingerprint: Name
    preset: _Preset
    modified: bool = False
    published_recipe: bool = False
    deterministic: bool = False
    variations: Annotated[list[Name], Field(max_length=METRICS)] = []


class _Interval(_Entry):
    low: Number
    high: Number
    images: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    seeds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Metric(_Entry):
    value: Number
    per_seed: Annotated[list[Number], Field(min_length=1, max_length=SEEDS)]
    std: Number | None = None
    ci95: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    """Over images, given what was fitted."""
    interval: _Interval | None = None
    """For the figure: the mean of the procedure over new samples and seeds."""


class _Confusion(_Entry):
    classes: list[str]
    mean: list[list[Number]] | None = None
    """None for a table of many classes, which is left to the rows file."""


class _Spread(_Entry):
    value: Number
    std: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Authors(_Entry):
    seeds: Annotated[int, Field(ge=2, le=SEEDS)]
    metrics: Annotated[dict[Name, _Spread], Field(min_length=1, max_length=METRICS)]


class _Rows(_Entry):
    file: str
    sha256: str


class _Record(_Entry):
    model: _Model
    dataset: _Dataset
    protocol: _Protocol
    metrics: Annotated[dict[Name, _Metric], Field(min_length=1, max_length=METRICS)]
    seeds: Annotated[list[int], Field(max_length=SEEDS)] = []
    per_class: dict[str, Number | None] = {}
    per_sequence: dict[str, dict[str, Number]] = {}
    confusion: _Confusion | None = None
    cluster_to_class: list[list[int]] = []
    clusters: list[dict[str, Any]] = []
    examples: dict[str, Any] = {}
    solver_gap: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    optimism: dict[Name, Number] = {}
    """Metric → points that it is higher for being matched on the evaluated labels."""
    authors: _Authors | None = None
    rows: _Rows | None = None
    created: Name = ""


def upgraded(value: Any) -> tuple[dict[str, Any], str | None]:
    """A JSON value as a record of today's schema, and what keeps it from being one (None if nothing does)."""
    if not isinstance(value, dict):
        return {}, "it is not a JSON object"
    schema = value.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int):
        return {}, f"schema {repr(schema)[:40]} instead of {SCHEMA}"
    if schema > SCHEMA:
        return {}, f"schema {schema} is of a later version of this program, which reads {SCHEMA}"
    record = dict(value)
    for step in range(schema, SCHEMA):
        if step not in CONVERTERS:
            return {}, f"schema {schema} is older than this program can convert to {SCHEMA}"
        try:
            record = CONVERTERS[step](record) | {"schema": step + 1}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return {}, f"it cannot be converted from schema {step}: {error}"
    return record, _problem(record)


def _problem(record: dict[str, Any]) -> str | None:
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        if first["type"] == "missing":
            return f"'{where}' is missing"
        if first["type"].endswith("_type"):
            return f"'{where}' has the wrong type"
        return f"'{where}': {first['msg'][0].lower()}{first['msg'][1:]}"
    return None
