"""Export: from a model, or from the predictions of any program, to a submission."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench._version import __version__
from bench.base.errors import BadInput, WrongName
from bench.base.files import atomic_write, cache_folder, require_writable
from bench.base.parallel import default_workers, prefetch
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.models import UNKNOWN
from bench.cards.presets import FIRST_SEED
from bench.data.decoding import read_prediction, size_of
from bench.data.find_samples import find_samples
from bench.data.samples import Sample, Samples
from bench.passes.cache import again_where_damaged
from bench.protocols import registry
from bench.protocols.base import Plan, Result, Run, Settings
from bench.protocols.prediction_maps import Map, paint_clusters
from bench.runs.plan import make_plan, run_of
from bench.runs.predictions import encode_rgb, seed_folders
from bench.runs.score_folder import model_entry, prediction_of, require_predictions
from bench.submission.form import (
    DATASET,
    MATCH,
    METHOD,
    SPLIT,
    match_text,
    method_text,
    read_match_file,
    require_server,
)

if TYPE_CHECKING:
    from torch import nn

Ids = Literal["classes", "clusters"]
_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member: equal predictions give equal bytes."""


@dataclass(frozen=True)
class Exported:
    """A submission that was written."""

    path: Path
    split: str
    images: int
    track: str


def export_run(
    model: str | Path | nn.Module,
    dataset: str,
    out: Path,
    settings: Settings,
    *,
    protocol: str = "clustering",
    ids: Ids = "classes",
    track: str | None = None,
) -> Exported:
    """Paint a split, labelled or not, and write the submission `out`, atomically.

    By `clustering` with the centres of the split that the preset fits, and the classes that they have on the one it
    matches on; by `distance-matching` with the bank's. `ids` says whether the PNGs hold classes or clusters, which
    `match.json` then translates. The seed is `settings.first_seed`. Raises BenchError as `bench.runs.run.perform` does.
    """
    require_server(catalogue.dataset(dataset))
    require_writable(out.parent, "submission", "--out")
    warn = settings.warn or (lambda message: None)
    draws = "seeds" in registry.preset_type(registry.parse(protocol)[0]).model_fields
    one_seed = replace(settings, num_seeds=1) if draws else settings
    plan = make_plan(model, dataset, protocol, one_seed, warn, for_submission=True)
    registry.load(plan.base).require_submission(plan, ids)
    settled = _track(plan, track)
    return again_where_damaged(lambda: _export(plan, run_of(plan, settings, warn), out, ids, settled))


def _export(plan: Plan, run: Run[Any], out: Path, ids: Ids, track: str) -> Exported:
    """Measure, paint and write."""
    measured: Result = registry.load(plan.base).measure(run)
    assert measured.paint is not None
    painted, match = measured.paint(0, None), None
    if ids == "clusters":
        match = match_text(measured.mappings[0].tolist())
        # one-to-one, so a class tells its cluster
        clusters = np.zeros(len(plan.card.classes), np.int64)
        clusters[measured.mappings[0]] = np.arange(len(measured.mappings[0]))
        painted = paint_clusters(painted, clusters, plan.card.labels.ignore)
    members = _encoded(zip(measured.rows.ids, painted, strict=True), len(plan.samples), run.settings)
    method = method_text(_method_of(plan, measured, ids, track))
    _write(out, members, match, lambda: method)
    return Exported(out, plan.samples.split, len(plan.samples), track)


def _track(plan: Plan, wanted: str | None) -> str:
    """The benchmark's track: free where a saliency map has a part, else as the user says.

    See docs/data.md#submissions-to-imagenet-s.
    """
    seen = plan.subject.training
    if plan.preset.needs_saliency or "saliency" in f"{seen.prior} {seen.supervision}":
        if wanted not in (None, "free"):
            raise WrongName(
                f"a saliency map has a part in {plan.subject.id} by {plan.protocol}: its track is 'free'",
                "Leave --track out.",
            )
        return "free"
    return wanted or UNKNOWN


def _method_of(plan: Plan, measured: Result, ids: Ids, track: str) -> dict[str, Any]:
    subject, detail = plan.subject, measured.detail
    return {
        "method": f"{subject.title}, {plan.protocol}",
        "model": subject.id,
        DATASET: plan.card.id,
        SPLIT: plan.samples.split,
        "images": len(plan.samples),
        "track": track,
        "labels seen": subject.training.supervision,
        "initialisation": subject.training.initialisation,
        "prior": subject.training.prior,
        "weights sha256": subject.weights_sha256,
        "protocol": plan.protocol,
        "fingerprint": plan.fingerprint,
        "preset": json.dumps(plan.preset.resolved()),
        "seed": plan.seeds[0] if plan.seeds else None,
        "ids": ids,
        "clusters fitted on": _said(detail.get("fitted_on")),
        "clusters matched on": _said(detail.get("matched_on")),
        "labelled bank": _said(detail.get("bank")),
        "harness": f"bench {__version__}",
    }


def _said(entry: dict[str, Any] | None) -> str | None:
    """What a record says of a split, on a line."""
    return None if entry is None else f"{entry['split']}, {entry['images']} images, manifest {entry['manifest']}"


# --- predictions of any program ---


def export_folder(
    folder: Path,
    dataset: str,
    out: Path,
    settings: Settings,
    *,
    supervision: str | None = None,
    track: str | None = None,
) -> Exported:
    """Write the submission `out` from `<id>.png` of every image of a split, encoded as the data set's labels are.

    Of several sets, in folders `seed-<number>`, that of `settings.first_seed` is taken. The ids are classes, or those
    of clusters where a `match.json` lies beside them. Raises BadInput for predictions that are missing, damaged, of
    another size or out of range, naming the first.
    """
    card = catalogue.dataset(dataset)
    require_server(card)
    require_writable(out.parent, "submission", "--out")
    split = settings.split or card.default_split
    samples = find_samples(card, split, settings.data_root, cache_folder(settings.cache)).by_id()
    if samples.limited and settings.warn:
        settings.warn(f"{samples.root} holds {len(samples)} of the {card.splits[split].size} {split} images")
    below = _one_set(folder, FIRST_SEED if settings.first_seed is None else settings.first_seed)
    require_predictions(below, samples)
    match = read_match_file(below / MATCH, len(card.classes)) if (below / MATCH).is_file() else None
    content = hashlib.sha256()

    def method() -> bytes:
        entry = model_entry(folder, [content.hexdigest()], settings.name, supervision)
        return method_text(_method_of_folder(entry, samples, track or UNKNOWN, content.hexdigest(), match))

    members = _encoded(_read_all(below, samples, match, content), len(samples), settings)
    table = (below / MATCH).read_bytes() if match else None
    _write(out, members, table, method)
    return Exported(out, split, len(samples), track or UNKNOWN)


def _one_set(folder: Path, seed: int) -> Path:
    sets = dict(seed_folders(folder))
    if None in sets:
        return sets[None]
    if seed not in sets:
        raise WrongName(
            f"{folder} has no predictions of seed {seed}",
            f"Give one of its seeds with --seed: {', '.join(map(str, sets))}.",
        )
    return sets[seed]


def _read_all(below: Path, samples: Samples, match: dict[int, int] | None, content: Any) -> Iterator[tuple[str, Map]]:
    """Every image's id and map; the files' hashes go into `content`, in order."""
    read = functools.partial(_read_one, below=below, card=samples.card, match=match)
    with ThreadPoolExecutor(default_workers(), "bench-loader") as pool:
        for sample, (ids, digest) in zip(samples, prefetch(pool, read, samples, depth=32), strict=True):
            content.update(digest)
            yield sample.id, ids


def _read_one(sample: Sample, below: Path, card: DatasetCard, match: dict[int, int] | None) -> tuple[Map, bytes]:
    path = prediction_of(sample, below)
    remedy = "Resize the predictions (nearest) to the image's own size before saving."
    ids, digest = read_prediction(path, card, size_of(sample), "its image", remedy)
    known, where = (match.keys(), MATCH) if match else (set(range(len(card.classes))), card.id)
    if strange := set(np.unique(ids).tolist()) - known:
        raise BadInput(
            f"{path} holds the id {min(strange)}, which {where} does not have",
            f"Give class ids, or cluster ids with a {MATCH} beside the predictions.",
        )
    return ids, digest


def _method_of_folder(
    entry: dict[str, Any], samples: Samples, track: str, digest: str, match: dict[int, int] | None
) -> dict[str, Any]:
    return {
        "method": entry["title"],
        "model": entry["id"],
        DATASET: samples.card.id,
        SPLIT: samples.split,
        "images": len(samples),
        "track": track,
        "labels seen": entry["supervision"],
        "initialisation": entry["initialisation"],
        "prior": entry["prior"],
        "predictions sha256": digest,
        "ids": "classes" if match is None else "clusters",
        "harness": f"bench {__version__}",
    }


# --- the archive ---


def _encoded(named: Iterable[tuple[str, Map]], images: int, settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Name in the archive and PNG of every map, encoded in threads."""
    progress = settings.stage("writing submission")
    with ThreadPoolExecutor(settings.workers or default_workers(), "bench-writer") as pool:
        for done, member in enumerate(prefetch(pool, _encode, named, depth=32), start=1):
            yield member
            if progress:
                progress(done, images)


def _encode(named: tuple[str, Map]) -> tuple[str, bytes]:
    name, ids = named
    data = io.BytesIO()
    encode_rgb(ids).save(data, "PNG")
    return f"{name}.png", data.getvalue()


def _write(out: Path, members: Iterable[tuple[str, bytes]], match: bytes | None, method: Callable[[], bytes]) -> None:
    """Write the archive as the members come; it is there when it is whole."""
    with atomic_write(out) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, data in members:
            _add(archive, name, data)
        if match is not None:
            _add(archive, MATCH, match)
        _add(archive, METHOD, method())


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system = 3  # else the archive would depend on the system that it was written on
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)  # stored: PNGs are compressed already
