"""Work: fetches what jobs need and runs them, one after the other. What fails ends its own rows, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.base.errors import Warn
from bench.base.files import require_writable
from bench.passes.cache import again_where_damaged
from bench.protocols.base import Plan, Settings, collect_warnings
from bench.records.published import Published
from bench.records.record import Stored
from bench.reproduce.earlier import answering, of_plan, records_of
from bench.reproduce.plan import Job, Row, jobs_of
from bench.reproduce.supply import Need, Supply, needs_of
from bench.runs.plan import make_plan
from bench.runs.run import carry_out

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Means:
    """What jobs are run with."""

    supply: Supply
    settings: Callable[[str], Settings]
    """How to run on a data set, by its id. Their number of seeds holds where anything is drawn at random."""
    results: Path
    """Where records are written."""
    records: Path
    """Where records of earlier runs are looked for."""
    tell: Tell = lambda line: None
    """Takes a line before each step."""


@dataclass(frozen=True)
class Done:
    """What came of a job: its record, or why there is none."""

    stored: Stored | None = None
    error: Exception | None = None


def work(rows: Sequence[Row], means: Means) -> dict[Job, Done]:
    """Do every job of the rows that no record answers to yet."""
    jobs = jobs_of(rows)
    stored = records_of(jobs, means.records)
    done: dict[Job, Done] = {}
    settings = means.settings("")
    if settings.limit is None:
        for job, found in _answered(rows, stored, settings.num_seeds).items():
            means.tell(f"{job.what}: the record is there, and nothing is run")
            done[job] = Done(found)
    left = [job for job in jobs if job not in done]
    lacking = fetch([need for job in left for need in needs_of(job)], means)
    for number, job in enumerate(left, start=1):
        means.tell(f"{number} of {len(left)}: {job.what}")
        missing = next((lacking[need] for need in needs_of(job) if need in lacking), None)
        done[job] = Done(error=missing) if missing else _run(job, stored, means)
    return done


def answered(rows: Sequence[Row], records: Path, num_seeds: int | None) -> dict[Job, Stored]:
    """The jobs of which a record below a folder answers to every figure, so that nothing is to be run."""
    return _answered(rows, records_of(jobs_of(rows), records), num_seeds)


def _answered(rows: Sequence[Row], stored: Sequence[Stored], num_seeds: int | None) -> dict[Job, Stored]:
    found = {job: answering(job, _figures(job, rows), stored, num_seeds) for job in jobs_of(rows)}
    return {job: one for job, one in found.items() if one is not None}


def _figures(job: Job, rows: Sequence[Row]) -> list[Published]:
    return [row.figure for row in rows if row.job == job]


def fetch(needs: Sequence[Need], means: Means) -> Mapping[Need, Exception]:
    """Fetch the files of all needs, each once; those that cannot be had, and why."""
    lacking: dict[Need, Exception] = {}
    for need in dict.fromkeys(needs):
        try:
            means.supply.fetch(need)
        except Exception as error:  # noqa: BLE001 - the other rows go on, and the table says it
            lacking[need] = error
    return lacking


def _run(job: Job, stored: Sequence[Stored], means: Means) -> Done:
    try:
        settings = replace(means.settings(job.dataset), split=job.split, entries=job.settings)
        require_writable(means.results, "record", "--results")
        tell = settings.warn
        quiet, known = collect_warnings(replace(settings, warn=None))
        plan, settings = _plan(job, settings, quiet)
        if found := of_plan(plan, stored):
            means.tell("the record is there, and nothing is run")
            return Done(found)
        settings = replace(settings, warn=tell)
        warn, warnings = collect_warnings(settings)
        for warning in known:
            warn(warning)
        return Done(again_where_damaged(lambda: carry_out(plan, means.results, settings, warn, warnings)))
    except Exception as error:  # noqa: BLE001 - the other rows go on, and the table says it
        return Done(error=error)


def _plan(job: Job, settings: Settings, warn: Warn) -> tuple[Plan, Settings]:
    """The plan of a job. A number of seeds is for those that draw anything at random, which only the plan knows."""
    plain = replace(settings, num_seeds=None)
    plan = make_plan(job.model, job.dataset, job.protocol, plain, warn)
    if not plan.seeds or settings.num_seeds in (None, len(plan.seeds)):
        return plan, plain
    return make_plan(job.model, job.dataset, job.protocol, settings, warn), settings
