"""Cost: about how long the jobs of a paper take, also before their files are here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.base.errors import BenchError
from bench.base.files import cache_folder
from bench.cards import catalogue
from bench.cards.presets import Preset
from bench.protocols import registry
from bench.protocols.base import Protocol, Settings
from bench.reproduce.plan import Job
from bench.runs.estimate import size_of
from bench.runs.plan import engine_for
from bench.runs.timings import kept_seconds, shape_of

TIMING = "timing each kind of network once, which may take a minute; the cache keeps it …"


@dataclass(frozen=True)
class Cost:
    """About what the network's part of a job takes. Reading, clustering and counting come on top."""

    images: int
    """That the network sees, an image as often as it is seen."""
    seconds: float
    shared: bool = False
    """Whether an earlier job of the list has the network see the same images, which costs nothing here."""


def costs_of(jobs: Iterable[Job], settings: Settings, tell: Callable[[str], None]) -> dict[Job, Cost | None]:
    """The cost of each job, from a network with drawn weights that sees an image; None where nothing can be timed.

    Timings of earlier calls are kept in the cache; `tell` gets a line before the first that is not there.
    """
    told = cache(lambda: tell(TIMING))
    timed: dict[tuple[Any, ...], float | None] = {}
    seen: set[tuple[Any, ...]] = set()
    found: dict[Job, Cost | None] = {}
    for job in jobs:
        if catalogue.dataset(job.dataset).kind == "video":
            found[job] = None  # cards count sequences, and nobody says how many frames they have
            continue
        preset, size = _settled(job), size_of(_settled(job))
        shape = (repr(shape_of(catalogue.model(job.model))), size)
        if shape not in timed:
            timed[shape] = _seconds(job, preset, settings, told)
        each = timed[shape]
        images, shared = 0, False
        for split, times in _passes(job, preset):
            key = (job.model, job.dataset, split, size)
            if preset.needs_saliency and key in seen:
                shared = True
                continue
            seen.add(key)
            official = catalogue.dataset(job.dataset).splits[split].size or 0
            images += times * min(official, settings.limit or official)
        found[job] = None if each is None else Cost(images, images * each, shared)
    return found


def _seconds(job: Job, preset: Preset, settings: Settings, before: Callable[[], None]) -> float | None:
    """Of an image; None where a library cannot build the network before its files are here."""
    engine = engine_for(settings, lambda message: None)
    try:
        return kept_seconds(catalogue.model(job.model), preset, engine, cache_folder(settings.cache), before)
    except BenchError:
        return None


def _settled(job: Job) -> Preset:
    """The preset with the classifier that comes with the weights, which needs no training."""
    preset = job.preset()
    architecture = catalogue.model(job.model).architecture
    if architecture is not None and architecture.classes and "classifier" in type(preset).model_fields:
        return preset.model_copy(update={"classifier": "released"})
    return preset


def _passes(job: Job, preset: Preset) -> Sequence[tuple[str, int]]:
    """The splits that the network sees, and how often."""
    room: Protocol[Any] = registry.load(registry.parse(job.protocol)[0])
    epochs = getattr(preset, "epochs", 1)
    splits = catalogue.dataset(job.dataset).splits
    try:
        others = room.splits(preset, job.split)
    except BenchError:
        others = {}
    trained = [(split, epochs if part == "train" else 1) for part, split in others.items() if split in splits]
    return [(job.split, 1), *trained]
