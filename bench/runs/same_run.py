"""Same run: whether a plan is the run that a record tells of, and if not, in what the two differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.base.errors import BadInput, Warn
from bench.base.files import said, sha256_file
from bench.base.parallel import default_workers, prefetch
from bench.data.samples import Sample, Samples
from bench.data.sequences import Video, videos_of
from bench.networks.subject import Subject
from bench.passes.image_pass import short_digest
from bench.passes.observations import manifest_of
from bench.protocols import registry
from bench.protocols.base import Plan, Settings
from bench.records.model_said import network_of
from bench.records.record import Record, Stored, check_rows, rows_path
from bench.scoring import rows as rows_of

_OTHERS = {"bank": "bank", "fit": "fitted_on", "match": "matched_on", "val": "selected_on"}
"""Part of another split in a protocol → where a record has its manifest."""
_CHANGED = "The record was changed by hand, or another version counted otherwise: no run of this version is the same."


def require_same_weights(record: Record, subject: Subject) -> None:
    """Raises BadInput where a model has other weights than the record's."""
    said, here = record["model"]["weights_sha256"], subject.weights_sha256
    if said != here:
        drawn = "Weights that are drawn from a seed depend on the versions of numpy, torch and the library."
        seeded = subject.weights_source.startswith("generated") or "seed" in subject.origin
        raise BadInput(
            f"these are not the weights of the record: {subject.weights_source} has SHA-256 {here[:12]}…, the record "
            f"{said[:12]}…",
            drawn if seeded else "Give the file with --weights FILE.",
        )


def require_same_network(record: Record, subject: Subject, warn: Warn) -> None:
    """Raises BadInput where a network of another library was built otherwise than the record's, from equal weights.

    Another version of the library is only said: whether it computes the same is what the run shows.
    """
    told, here = network_of(record), subject.origin
    if "source" not in told or "source" not in here:
        return
    for key in ("class", "options", "config_sha256", "code_sha256", "channels"):
        _require(f"the network's {key}", _as_built(told.get(key)), _as_built(here.get(key)), "Name it as it was then.")
    before, now = (f"{one.get('library')} {one.get('version')}" for one in (told, here))
    if before != now:
        warn(f"the record's network was built by {before[:80]}, and here by {now}")


def _as_built(value: Any) -> Any:
    """Options without the user's word for the cache, which builds nothing."""
    return {key: one for key, one in value.items() if key != "cache_key"} if isinstance(value, dict) else value


def require_same_plan(record: Record, plan: Plan) -> None:
    """Raises BadInput unless a plan is of the record's model, data set, protocol, preset and seeds."""
    protocol, preset = record["protocol"], plan.preset.resolved()
    _require("model", record["model"]["id"], plan.subject.id, "Name the model that the record is of with --model.")
    _require("data set", record["dataset"]["id"], plan.card.id, "Give the data set's own card with --dataset CARD.")
    for key in {**protocol["preset"], **preset}:
        _require(f"preset entry {key}", protocol["preset"].get(key), preset.get(key), _CHANGED)
    grouped = protocol["id"].endswith(registry.UNLABELLED)
    labels = "The data have labels that they had not then, or none where they had some."
    _require("labels", not grouped, not plan.grouped, labels)
    _require("fingerprint", protocol["fingerprint"][:16], plan.fingerprint[:16], _CHANGED)
    _require("protocol", protocol["id"], plan.protocol, "Give the data set's own card with --dataset CARD.")
    _require("seeds", list(record.get("seeds") or ()), list(plan.seeds), _CHANGED)
    _require("what the model decided", protocol.get("by_model") or {}, dict(plan.by_model), _CHANGED)
    _require("variations", protocol.get("variations", []), list(plan.variations), _CHANGED)


def is_same_run(earlier: Stored, plan: Plan) -> bool:
    """Whether a plan is the run that a record tells of: by weights, preset, seeds and ids of images, not by what is in
    the images."""
    try:
        require_same_weights(earlier.record, plan.subject)
        require_same_plan(earlier.record, plan)
        _require_same_ids(earlier, plan.samples, plan.judges)
        _require_same_parts(earlier.record, plan)
    except BadInput:
        return False
    return True


def _require(what: str, earlier: Any, here: Any, remedy: str) -> None:
    if earlier != here:
        raise BadInput(
            f"this would be another run: {what} is {_shown(earlier)} in the record, and {_shown(here)} here", remedy
        )


def _shown(value: Any) -> str:
    return "not there" if value is None else str(value)[:80]


# --- data ---


def require_same_data(earlier: Stored, plan: Plan, settings: Settings) -> None:
    """Raises BadInput unless the images and labels are the record's, by their ids and the content of their files.

    A protocol of another package may sum its data up in its own way: what that gives is compared after the run.
    """
    _require_same_ids(earlier, plan.samples, plan.judges)
    _require_same_parts(earlier.record, plan)
    if registry.protocols()[plan.base] not in registry.BUILT_IN:
        return
    record = earlier.record
    _require_content(record["dataset"], plan.samples, settings)
    for part, samples in plan.others.items():
        entry = record.get(_OTHERS.get(part, ""))
        if isinstance(entry, dict) and "manifest" in entry:
            used = samples.first(getattr(plan.preset, "bank_images", None)) if part == "bank" else samples
            _require_content(entry, used, settings)


def require_same_manifests(earlier: Record, again: Record) -> None:
    """Raises BadInput unless two records are of the same images and labels, in the evaluated split and all others."""
    for where in ("dataset", *_OTHERS.values()):
        one, other = earlier.get(where), again.get(where)
        if isinstance(one, dict) and isinstance(other, dict) and one.get("manifest") != other.get("manifest"):
            split = other.get("split", earlier["dataset"]["split"])
            raise BadInput(f"the images or labels of {split} are not those of the record: their manifests differ", DATA)


DATA = "Give the folder of the data that the record was made with: --data-root PATH."


def _require_same_parts(record: Record, plan: Plan) -> None:
    """Raises BadInput where the record saw only a part of another split, and here is another part of it."""
    for samples in (each for each in plan.others.values() if each.split != plan.samples.split):
        part = record["dataset"].get("cut", {}).get(samples.split)
        if (part is not None) != samples.limited or (part and part["images"] != samples.images):
            seen = f"{part['images']} images" if part else "the whole"
            raise BadInput(f"the record is of {seen} of {samples.split}, {samples.images} images are here", DATA)


def _require_same_ids(earlier: Stored, samples: Samples, judges: Sequence[int] | None) -> None:
    """Raises BadInput where images are missing, or others are there; by numbers alone where the rows are not there.

    `judges` are the places of those that the rows have; None for all. The others are told by the manifest alone.
    """
    here, dataset = _ids(samples), earlier.record["dataset"]
    here = here if judges is None else [here[place] for place in judges]
    there_were = dataset.get("judges", dataset["images"])
    known = None if check_rows(earlier) else tuple(rows_of.read(rows_path(earlier)).ids)
    if known is None and len(here) != there_were:
        raise BadInput(f"the record has {there_were} images of {samples.split}, {len(here)} are here", DATA)
    if known is None or known == tuple(here):
        return
    raise BadInput(f"the images of {samples.split} here are not those of the record: {_differing(known, here)}", DATA)


def _differing(known: Sequence[str], here: Sequence[str]) -> str:
    """Which ids two lists do not share: how many, and the first."""
    said = []
    for one, other, what in ((known, set(here), "missing"), (here, set(known), "new")):
        names = [name for name in one if name not in other]
        said += [f"{len(names)} {'is' if len(names) == 1 else 'are'} {what} ('{names[0][:80]}')"] if names else []
    return " and ".join(said) or "an earlier version took them in another order than by id"


def _ids(samples: Samples) -> Sequence[str]:
    if samples.card.kind == "video":
        return [name for video in videos_of(samples) for name in video.ids]
    return samples.ids


def _require_content(entry: dict[str, Any], samples: Samples, settings: Settings) -> None:
    if manifest_of_files(samples, settings) != entry["manifest"]:
        count = f"the record has {_shown(entry.get('images'))} images, here are {samples.images}"
        same = "the ids are the same, so some image or label has another content"
        raise BadInput(
            f"the images or labels of {samples.split} at {samples.root} are not those of the record: "
            + (same if entry.get("images") == samples.images else count),
            DATA,
        )


def manifest_of_files(samples: Samples, settings: Settings) -> str:
    """The manifest that a pass over these samples will have, from their files alone. Raises BadInput, naming a file."""
    progress, digests = settings.stage("comparing data"), []
    with ThreadPoolExecutor(settings.workers or default_workers(), "bench-loader") as pool:
        for done, digest in enumerate(prefetch(pool, _digest, samples, depth=32), start=1):
            digests.append(digest)
            if progress:
                progress(done, len(samples))
    return manifest_of([sample.id for sample in samples], digests)


def _digest(sample: Sample) -> bytes:
    hashes = b"".join(map(_hash, _files(sample)))
    return short_digest(hashes)


def _files(sample: Sample) -> Iterator[Path]:
    """Its image and its label; of a sequence those of every frame, in turn."""
    if isinstance(sample, Video):
        for pair in zip(sample.frames, sample.labels, strict=True):
            yield from pair
    else:
        yield sample.image
        if sample.label is not None:
            yield sample.label


def _hash(path: Path) -> bytes:
    try:
        return bytes.fromhex(sha256_file(path))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {said(error)}", "Restore the file.") from error
