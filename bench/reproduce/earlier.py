"""Earlier: a record of the same run that is there already, so that nothing is run twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.protocols.base import Plan
from bench.records.audit import sound
from bench.records.published import Published, answers, incomparable, is_outdated
from bench.records.record import Stored, read_all
from bench.reproduce.plan import Job
from bench.runs.same_run import is_same_run


def records_of(jobs: Sequence[Job], folder: Path) -> list[Stored]:
    """The records below a folder that may be of these jobs and that can be trusted, the newest first."""
    wanted = {(job.model, job.dataset, job.split) for job in jobs}
    stored, _ = read_all(folder)
    mine = [one for one in stored if _of(one) in wanted]
    trusted = [one for one in sound(mine)[0] if not one.doubts]
    return sorted(trusted, key=lambda one: str(one.record.get("created", "")), reverse=True)


def _of(stored: Stored) -> tuple[str, str, str]:
    record = stored.record
    return record["model"]["id"], record["dataset"]["id"], record["dataset"]["split"]


def answering(job: Job, figures: Sequence[Published], stored: Sequence[Stored], num_seeds: int | None) -> Stored | None:
    """A record that answers to all figures of a job, so that not even its files are needed; None without one."""
    comparable = [figure for figure in figures if figure.comparable]
    return next(
        (
            one
            for one in stored
            if comparable
            and one.record["model"]["id"] == job.model
            and all(_answers(one, figure) for figure in comparable)
            and _has_seeds(one, num_seeds)
        ),
        None,
    )


def _answers(one: Stored, figure: Published) -> bool:
    unclaimed = figure.metric in one.record["metrics"] and figure.metric not in one.claimed
    return unclaimed and answers(one.record, figure) and incomparable(one.record, figure) is None


def _has_seeds(one: Stored, num_seeds: int | None) -> bool:
    seeds = one.record.get("seeds") or ()
    return num_seeds is None or not seeds or len(seeds) == num_seeds


def of_plan(plan: Plan, stored: Sequence[Stored]) -> Stored | None:
    """A record of the very run that is planned; None without one.

    One of an earlier version, which did not measure the distance to the authors' solver, is made anew from the cache.
    """
    return next((one for one in stored if is_same_run(one, plan) and not is_outdated(one.record)), None)
