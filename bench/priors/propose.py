"""Propose: makes the masks of a split in parallel, with a manifest beside them. It can be resumed."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench._version import __version__
from bench.base.errors import BadEnvironment, BadInput, Warn, WrongName
from bench.base.files import atomic_write, require_writable
from bench.base.parallel import Progress, end_with_parent
from bench.data.decoding import size_of
from bench.data.samples import Sample, Samples
from bench.priors.masks import FOREGROUND, mask_path, read_values, write_mask
from bench.priors.methods import Method
from bench.priors.reader import MANIFEST, SCHEMA, read_manifest

RECIPE = ("method", "parameters", "dataset", "split")
"""The manifest's entries that must agree, or masks of two kinds would lie in one folder."""


@dataclass(frozen=True)
class Outcome:
    """What became of one sample."""

    id: str
    kept: bool = False
    skipped: str = ""
    note: str = ""


@dataclass
class Report:
    """What became of a split."""

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def kept(self) -> int:
        """Masks that were there already."""
        return sum(outcome.kept for outcome in self.outcomes)

    @property
    def skipped(self) -> dict[str, int]:
        """How many samples have no mask, by reason."""
        return dict(Counter(outcome.skipped for outcome in self.outcomes if outcome.skipped))

    @property
    def written(self) -> int:
        """Masks that were made now."""
        return len(self.outcomes) - self.kept - sum(self.skipped.values())

    @property
    def images_per_second(self) -> float:
        """Of the samples that were not there already."""
        return (len(self.outcomes) - self.kept) / self.seconds if self.seconds else 0.0


def propose(
    method: Method,
    samples: Samples,
    out: Path,
    *,
    workers: int,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    warn: Warn = lambda message: None,
) -> Report:
    """Write a mask `<id>.png` (0 and 255, the image's size) for every sample that gets one, and the manifest.

    `limit` takes only the first samples. Masks made in the same way that are there, whole and newer than what they
    are made from, are kept; `fresh` removes those in `out` first. What was written before an error or an
    interruption stays.

    Raises WrongName where `out` holds masks made in another way, or PNG files from elsewhere; BadInput for files that
    cannot be used or when no sample gets a mask; BadEnvironment where `out` cannot be written.
    """
    chosen = samples.first(limit)
    warnings = method.check(chosen)
    recipe = dict(zip(RECIPE, (method.id, method.parameters, samples.card.id, samples.split), strict=True))
    before = _claim(out, recipe, fresh)
    for message in warnings:
        warn(message)
    report, started = Report(), time.perf_counter()
    # first of all, so that even after a kill the folder is known as ours
    _write_manifest(out, recipe, method, samples, report, before)
    try:
        for outcome in _in_parallel(partial(_make, method, out), chosen.entries, workers, method.processes):
            report.outcomes.append(outcome)
            if progress:
                progress(len(report.outcomes), len(chosen))
    finally:
        report.seconds = time.perf_counter() - started
        _write_manifest(out, recipe, method, samples, report, before)
    _say_what_was_odd(report, warn)
    if sum(report.skipped.values()) == len(chosen):
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.skipped.items())
        raise BadInput(f"none of the {len(chosen)} images gets a mask ({reasons})", "Use another method or folder.")
    return report


def _claim(out: Path, recipe: dict[str, Any], fresh: bool) -> dict[str, Any]:
    """Make sure that `out` has no masks made in another way; returns the manifest in it, or an empty one."""
    require_writable(out, "masks", "--out")
    ours = (out / MANIFEST).is_file()
    if not ours and next(out.rglob("*.png"), None) is not None:
        raise WrongName(
            f"{out} holds PNG files that `bench priors` did not make", "Give an empty or a new folder with --out."
        )
    if fresh:
        for path in out.rglob("*.png"):
            path.unlink()
        return {}
    before = (read_manifest(out) or {}) if ours else {}
    for key in RECIPE if before else ():
        if before.get(key) != recipe[key]:
            raise WrongName(
                f"{out} holds masks that were made in another way: {key} is {_short(before.get(key))}, not "
                f"{_short(recipe[key])}",
                "Give another folder with --out, or --fresh to remove them and start again.",
            )
    return before


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_parallel(
    make: Callable[[Sample], Outcome], entries: Sequence[Sample], workers: int, processes: bool
) -> Iterator[Outcome]:
    """Outcomes in the order of the samples."""
    cv2.setNumThreads(1)  # the workers are the parallelism
    workers = min(workers, len(entries))
    if workers == 1:
        yield from map(make, entries)
    elif not processes:
        with ThreadPoolExecutor(workers) as threads:
            yield from threads.map(make, entries)
    else:
        # spawned, not forked: a fork of a process whose libraries run threads may hang
        with ProcessPoolExecutor(workers, get_context("spawn"), _prepare_worker) as pool:
            try:
                yield from pool.map(make, entries)
            except BrokenProcessPool as error:
                raise BadEnvironment(
                    "a worker process was killed, most likely because memory ran out",
                    "Finished masks are kept; the same command with fewer --workers continues from there.",
                ) from error


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent lets its workers finish their image
    cv2.setNumThreads(1)
    end_with_parent()


def _make(method: Method, out: Path, sample: Sample) -> Outcome:
    """Propose and write one mask, unless it is there."""
    path = mask_path(out, sample.id)
    if _is_good(path, sample, method):
        return Outcome(sample.id, kept=True)
    proposal = method.propose(sample)
    with _writing(path):
        if proposal.mask is None:
            path.unlink(missing_ok=True)
        else:
            write_mask(path, proposal.mask)
    return Outcome(sample.id, skipped=proposal.skipped, note=proposal.note)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadEnvironment(
            f"cannot write {path}: {error.strerror or error}",
            "Free disk space or correct the permissions; finished masks are kept, and the same command continues from "
            "there.",
        ) from error


def _is_good(path: Path, sample: Sample, method: Method) -> bool:
    """Whether a mask is there, newer than what it is made from, whole, of the image's size and binary."""
    try:
        made = path.stat().st_mtime_ns
        sources = method.sources(sample)
        if not sources or any(source.stat().st_mtime_ns > made for source in sources):
            return False
        values = read_values(path, size_of(sample))
    except (OSError, BadInput):
        return False
    return bool(np.isin(values, (0, FOREGROUND)).all())


def _write_manifest(
    out: Path, recipe: dict[str, Any], method: Method, samples: Samples, report: Report, before: dict[str, Any]
) -> None:
    """Say how the masks in `out` were made; what is known of samples not reached, or kept, is carried over."""
    unreached = {sample.id for sample in samples} - {outcome.id for outcome in report.outcomes}
    unmade = unreached | {outcome.id for outcome in report.outcomes if outcome.kept}
    skipped = {key: why for key, why in before.get("skipped", {}).items() if key in unreached}
    skipped |= {outcome.id: outcome.skipped for outcome in report.outcomes if outcome.skipped}
    notes = {key: note for key, note in before.get("notes", {}).items() if key in unmade}
    notes |= {outcome.id: outcome.note for outcome in report.outcomes if outcome.note}
    masks = sum(mask_path(out, sample.id).is_file() for sample in samples)
    manifest = {
        "schema": SCHEMA,
        **recipe,
        "supervision": method.supervision,
        "bench_version": __version__,
        "images": len(samples),
        "masks": masks,
        "complete": masks + len(skipped) == len(samples),
        "skipped": skipped,
        "notes": notes,
    }
    with _writing(out / MANIFEST), atomic_write(out / MANIFEST) as stream:
        stream.write((json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())


def _say_what_was_odd(report: Report, warn: Warn) -> None:
    for note, count in Counter(outcome.note for outcome in report.outcomes if outcome.note).items():
        first = next(outcome.id for outcome in report.outcomes if outcome.note == note)
        warn(f"{count} of {len(report.outcomes)} images: {note}, of which only 255 is foreground; the first is {first}")
