"""Describe: puts model, data, figures and comparisons together as a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.base.environment import environment, now, peak_memory_mb
from bench.data.samples import Samples
from bench.networks.reading.watched import ShapeRead
from bench.networks.subject import Subject
from bench.protocols.base import Result, Run
from bench.records import published
from bench.records.record import Record
from bench.records.schema import SCHEMA
from bench.scoring.rows import Context


def describe(
    model: dict[str, Any],
    samples: Samples,
    protocol: dict[str, Any],
    seeds: tuple[int, ...],
    measured: Result,
    cut: Sequence[Samples] = (),
) -> Record:
    """The record of a measurement, all but its cost.

    `protocol` is the record's entry, preset included; `cut` are the splits of which it saw a part.
    """
    card = samples.card
    context = Context(protocol["preset"], card.classes, seeds, measured.extra, measured.mappings)
    return {
        "schema": SCHEMA,
        "model": model,
        "dataset": {
            "id": card.id,
            "title": card.title,
            "split": samples.split,
            **_size(samples),
            "manifest": measured.manifest,
            "limited": bool(cut),
            "cut": {each.split: _size(each) for each in cut if each.split != samples.split},
            "layout": samples.layout,
            **({} if samples.labelled or measured.rows.comparable else {"labelled": False}),
        },
        "protocol": protocol,
        "seeds": list(seeds),
        **measured.rows.entries(context),
        "observed": measured.observed,
        "solver": measured.solver,
        **measured.detail,
    }


def describe_read(run: Run[Any], shape: ShapeRead) -> dict[str, Any]:
    """What was read of the network: which layer, its shape at which input, and how positions got there."""
    subject, preset = run.subject, run.preset
    layer, patch = getattr(preset, "features", None), subject.structure.patch if subject.structure else None
    stated = zip(subject.normalisation, (preset.mean, preset.std), strict=True)
    told: dict[str, Any] = {
        "layer": subject.given or layer or subject.layer or (None if subject.architecture else "last"),
        "features": dict(zip(("width", "rows", "columns"), shape.features, strict=True)),
        "input": list(shape.input),
        "stride": list(shape.stride),
        "patch": patch,
        "normalisation": "the model's" if all(own == used for own, used in stated) else "the preset's",
    }
    positions = _positions(subject, shape)
    return told | ({"positions": positions} if positions else {})


def _positions(subject: Subject, shape: ShapeRead) -> str:
    """Whether position embeddings were interpolated, in words; empty for a network without any that would be."""
    structure = subject.structure
    if structure is None or structure.grid is None or structure.patch is None:
        return ""
    used = tuple(side // structure.patch for side in shape.input)
    trained, here = (f"{rows}×{columns}" for rows, columns in (structure.grid, used))
    by = subject.origin.get("library") or structure.family
    return f"{trained}, as trained" if used == structure.grid else f"interpolated from {trained} to {here} by {by}"


def _size(samples: Samples) -> dict[str, Any]:
    """How many images were seen and how many there officially are; of video, how many sequences as well."""
    official = samples.card.splits[samples.split]
    size: dict[str, Any] = {"images": samples.images, "official_images": official.images}
    if samples.card.kind == "video":
        size |= {"sequences": len(samples), "official_sequences": official.sequences}
    return size


def complete(
    made: Record, cost: dict[str, Any], solver_gap: float | None, authors: dict[str, list[float]] | None = None
) -> None:
    """Add what is known at the end: how the figures compare, what they cost, where and when they were made.

    `authors` is what the authors' solver gives, as rows have it.
    """
    made["solver_gap"] = solver_gap
    if authors:
        made["authors"] = published.authors_entry(authors)
    made["published"] = {
        metric: published.compare(made, figure)
        for metric, figure in published.answers_to(made).items()
        if metric in made["metrics"]
    }
    made["cost"] = {"peak_memory_mb": peak_memory_mb()} | cost
    made["environment"] = environment()
    made["created"] = now()
