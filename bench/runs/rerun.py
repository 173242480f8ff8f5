"""Rerun: settles from a record what it was a run of, and does that again."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.base.errors import BadInput, WrongName
from bench.base.files import cache_folder, display, is_ordinary_file, require_writable
from bench.cards import catalogue
from bench.cards.presets import Preset, override
from bench.networks.adapters import NAME, adapters
from bench.networks.find_model import find_model
from bench.passes.cache import again_where_damaged
from bench.protocols import registry
from bench.protocols.base import Settings, collect_warnings
from bench.records.model_said import BY_MODEL, by_model, is_of_file, network_of
from bench.records.record import SCORED, Record, Stored
from bench.runs.plan import make_plan
from bench.runs.run import carry_out
from bench.runs.same_run import (
    require_same_data,
    require_same_manifests,
    require_same_network,
    require_same_plan,
    require_same_weights,
)


def rerun(
    earlier: Stored, results: Path, settings: Settings, *, model: str | None = None, dataset: str | None = None
) -> Stored:
    """Do the run of a record again, by what the record says, and write the new record below `results`.

    `settings` say how this machine runs it, and where weights and data lie; `model` and `dataset` name the cards or
    files of those that have no built-in card. Raises BadInput where the same run cannot be done here: other weights,
    data, preset or protocol than the record's, with what differs.
    """
    record = earlier.record
    base, card = _protocol(earlier), dataset or _dataset(record)
    settings = replace(settings, **_conditions(earlier, base, card))
    _require_entries(earlier, card, base, settings)
    require_writable(results, "record", "--keep")
    name, settings = _find_subject(record, model, settings)
    warn, warnings = collect_warnings(settings)
    plan = make_plan(name, card, base, settings, warn)
    require_same_plan(record, plan)
    require_same_data(earlier, plan, settings)
    again = again_where_damaged(lambda: carry_out(plan, results, settings, warn, warnings))
    require_same_manifests(record, again.record)
    return again


def _protocol(earlier: Stored) -> str:
    """The protocol's own id. Raises BadInput for one that does not run here."""
    said = earlier.record["protocol"]["id"]
    if said.startswith(SCORED):
        raise BadInput(
            f"{display(earlier.path)} counts predictions that were given: there is no run to do again",
            "`bench score FOLDER` counts them again, and `bench check --against` compares the records.",
        )
    found = registry.parsed(said.removesuffix(registry.UNLABELLED))
    if found is None:
        raise BadInput(
            f"the protocol of {display(earlier.path)}, {said}, is not installed here",
            "Install the package that it is of; `bench list protocols` shows those that are here.",
        )
    return found[0]


def _conditions(earlier: Stored, base: str, card: str) -> dict[str, Any]:
    """The settings that the record decides."""
    record = earlier.record
    dataset, limited = record["dataset"], record["dataset"]["limited"]
    return {
        "split": dataset["split"],
        "limit": (dataset.get("sequences") or dataset["images"]) if limited else None,
        "precision": "bfloat16" if "bfloat16" in record["protocol"].get("variations", ()) else "float32",
        "entries": _entries(earlier, base, card),
        **_seeds(earlier, base),
    }


def _entries(earlier: Stored, base: str, card: str) -> dict[str, Any]:
    """Every entry of the record's preset, those too that were left out at their defaults: the card may differ there.

    What the model decided is left to it again, from the value that the protocol had.
    """
    kind, preset = registry.preset_type(base), earlier.record["protocol"]["preset"]
    if unknown := [key for key in preset if key not in kind.model_fields]:
        environment = earlier.record.get("environment")
        made_by = environment.get("bench") if isinstance(environment, dict) else None
        raise BadInput(
            f"the preset of {display(earlier.path)} has the entry '{unknown[0][:40]}', which {base} does not have here",
            f"Run it with the version that made it{f', bench {str(made_by)[:40]}' if made_by else ''}.",
        )
    entries = {**_left_out(kind, preset), **preset}
    entries.pop("classifier", None)  # the checkpoint decides that
    default = catalogue.dataset(card).protocols.preset(base)
    own = {} if default is None else default.model_dump(mode="json")
    for key, value in _by_model(earlier).items():
        entries[key] = value
        if value == own.get(key):
            del entries[key]
    # text is read as JSON where it is JSON: a split may be called 2017
    return {key: json.dumps(value) if isinstance(value, str) else value for key, value in entries.items()}


def _left_out(kind: type[Preset], preset: dict[str, Any]) -> dict[str, Any]:
    """The later entries at their defaults, without those that have no effect beside the others."""
    defaults = {key: kind.model_fields[key].default for key in kind.later}
    try:
        unread = kind.model_validate(defaults | preset).unread()
    except ValidationError:  # `_require_entries` says so
        return defaults
    return {key: value for key, value in defaults.items() if key not in unread}


def _by_model(earlier: Stored) -> dict[str, Any]:
    """The entries that the record says the model decided, with the protocol's own values."""
    told, preset = by_model(earlier.record), earlier.record["protocol"]["preset"]
    return {key: told[key] for key in BY_MODEL if key in told and key in preset}


def _require_entries(earlier: Stored, dataset: str, base: str, settings: Settings) -> None:
    """Raises BadInput for an entry of the record's preset that can have no such value here, or no effect."""
    default, kept = catalogue.dataset(dataset).protocols.preset(base), earlier.record["protocol"]["preset"]
    if default is None:
        return  # `make_plan` says so
    try:
        unread = override(default, settings.entries).unread()
    except WrongName as error:
        problem = error.problem.removeprefix("--set ")
        raise BadInput(f"the preset of {display(earlier.path)} cannot be run: {problem}", error.remedy) from error
    for key in unread.keys() & kept.keys():
        raise BadInput(
            f"the preset of {display(earlier.path)} has the entry '{key}', which has no effect: {unread[key]}",
            "No run writes such a record: it was changed by hand.",
        )


def _seeds(earlier: Stored, base: str) -> dict[str, int]:
    seeds = earlier.record.get("seeds") or []
    if not seeds or "seeds" not in registry.preset_type(base).model_fields:
        return {}
    if seeds != list(range(seeds[0], seeds[0] + len(seeds))):
        raise BadInput(
            f"the seeds of {display(earlier.path)} do not count up by one: {', '.join(map(str, seeds[:10]))}",
            "No run has such seeds: the record was changed by hand.",
        )
    return {"first_seed": seeds[0], "num_seeds": len(seeds)}


def _dataset(record: Record) -> str:
    """The id of a built-in card. Raises WrongName for a data set that has none."""
    identifier = str(record["dataset"]["id"])
    if identifier not in catalogue.datasets():
        raise WrongName(f"{identifier} is no built-in data set", "Give its card with --dataset CARD.")
    return identifier


def _find_subject(record: Record, given: str | None, settings: Settings) -> tuple[str, Settings]:
    """What names the model, and the settings that find it. Raises BadInput where it has other weights.

    A card says its own id and supervision; of a file, or an adapter's model, they are those of the record.
    """
    entry = record["model"]
    name = given or _model(record, settings)
    if name == str(settings.weights):
        settings = replace(settings, weights=None)
    cache, trust = cache_folder(settings.cache), settings.trust_code
    subject = find_model(name, settings.weights, cache, lambda message: None, trust_code=trust)
    require_same_weights(record, subject)
    require_same_network(record, subject, settings.warn or (lambda message: None))
    if subject.card is None:
        settings = replace(settings, name=str(entry["id"]), supervision=entry["supervision"])
    return name, settings


def _scheme(record: Record) -> str:
    """The adapter that a record's model is of; empty where it is of none."""
    found = NAME.fullmatch(str(record["model"].get("weights_source") or ""))
    scheme = found["scheme"] if found else str(network_of(record).get("source"))
    return scheme if scheme in adapters() else ""


def _model(record: Record, settings: Settings) -> str:
    """The built-in card, or the file, that a record is of. Raises BadInput where neither is here."""
    entry = record["model"]
    identifier, source = str(entry["id"]), str(entry.get("weights_source") or "")
    if identifier in catalogue.models():
        return identifier
    if scheme := _scheme(record):
        # an adapter may fetch and run what a name tells it to: the user says so, not a record
        raise BadInput(
            f"{identifier} is {source[:200]}, a model of the adapter '{scheme}'",
            "If you trust the name, give it with --model"
            + (", and the file with --weights." if is_of_file(record) else "."),
        )
    if settings.weights is not None:
        return str(settings.weights)
    if source == "in memory":
        raise BadInput(
            f"{identifier} was a module in memory, which no record holds",
            "Call bench.evaluate with it, and compare the two records with `bench check --against`.",
        )
    file = Path(re.split(r"[/\\]", source)[-1] or ".")
    if is_ordinary_file(file):
        return f"./{file}"
    raise BadInput(
        f"the weights of {identifier} ({source or 'no file is named'}, SHA-256 {entry['weights_sha256'][:12]}…) are "
        "not here",
        "Give the file with --weights FILE, or the model's own card with --model CARD.",
    )
