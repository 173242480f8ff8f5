"""Score: counts figures from the predictions of any program, given as PNGs, in the same way as for a run."""

from __future__ import annotations

import functools
import hashlib
import re
import time
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from bench.base.errors import BadInput, Warn, WrongName
from bench.base.escaping import storable
from bench.base.files import cache_folder, require_writable, sha256_file
from bench.base.packed_arrays import Ragged
from bench.base.parallel import default_workers, prefetch
from bench.cards import catalogue
from bench.cards.card import ID_PATTERN, Id, as_id, require_model_id
from bench.cards.datasets import DatasetCard
from bench.cards.models import UNKNOWN
from bench.cards.presets import fingerprint
from bench.data.decoding import read_label, read_prediction, require_classes
from bench.data.find_samples import find_samples
from bench.data.first_look import oddities
from bench.data.samples import Sample, Samples, require_label_files, require_labelled_pixels, without_label
from bench.passes.image_pass import short_digest
from bench.passes.observations import manifest_of
from bench.protocols.base import Result, Settings, collect_warnings
from bench.protocols.davis.given_masks import measure_masks
from bench.records import record
from bench.records.record import Stored
from bench.runs.label_warnings import warn_of_lone_class
from bench.runs.make_record import complete, describe
from bench.runs.prediction_warnings import warn_of_background, warn_of_masks, warn_of_others, warn_of_palettes
from bench.runs.predictions import read_about, seed_folders
from bench.scoring import imagenet_s_figures
from bench.scoring.id_counts import Counts, Painted, contingency, given_classes, matched_by_images, matched_classes
from bench.scoring.matching import Mapping

Matching = Literal["none", "iou", "pixels", "images"]
"""What gives cluster ids their classes; `none` where the ids are classes already."""


class Painter(BaseModel):
    """What `predictions.json` says of the protocol that painted a folder, as far as a record's name takes it in."""

    id: Id
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    modified: bool = False
    variations: Annotated[list[Annotated[str, Field(pattern=r"^[a-z0-9]{1,40}$")]], Field(max_length=8)] = []


def score_folder(
    folder: Path,
    dataset: str,
    results: Path,
    settings: Settings,
    *,
    matching: Matching = "none",
    supervision: str | None = None,
) -> Stored:
    """Score `<id>.png` of every image of a split: class ids, or cluster ids that `matching` gives classes to.

    Several sets, in folders `seed-<number>`, are scored as seeds. Writes a record and its rows below `results`.
    Raises BadInput for predictions that are missing, damaged, of another size, or no class ids.
    """
    started = time.perf_counter()
    warn, warnings = collect_warnings(settings)
    require_writable(results, "record", "--results")
    card = catalogue.dataset(dataset)
    sets = seed_folders(folder)
    if card.kind == "video" and matching != "none":
        raise WrongName(f"{card.id} is video: --match {matching} works on single images", "Leave --match out.")
    split, cache = settings.split or card.default_split, cache_folder(settings.cache)
    whole = find_samples(card, split, settings.data_root, cache, settings.stage("writing shapes"))
    samples = whole.first(settings.limit).by_id()
    card = samples.card
    require_label_files(samples, "scoring", "Name a split that has labels with --split.")
    if lacking := without_label(samples):
        warn(f"{lacking}: predictions of the others are scored")
        samples = samples.with_labels()
    if card.kind == "video" and sets[0][0] is not None:
        raise BadInput(f"{folder} holds several sets of masks", f"Score them one by one: {sets[0][1]} first.")
    warn_of_others([below for _, below in sets], whole, warn)
    for odd in oddities(whole):
        warn(odd)
    seeds = tuple(seed for seed, _ in sets if seed is not None)
    if card.kind == "video":
        measured, content = measure_masks(folder, samples, settings)
        contents = [content]
    else:
        measured, contents = _measure_sets(sets, samples, matching, settings, storable(folder.name), warn)
    warn_of_lone_class(measured.rows, card, warn)
    model = model_entry(folder, contents, settings.name, supervision)
    protocol = _protocol_entry(card, matching, seeds, _painter(folder))
    made = describe(model, samples, protocol, seeds, measured, (samples,) if samples.limited else ())
    seconds = time.perf_counter() - started
    complete(made, {"seconds": seconds, "images_per_second": samples.images * len(sets) / seconds}, 0.0)
    made["warnings"] = warnings
    if settings.warn and (found := record.of_other_weights(made, results)):
        settings.warn(
            f"this run overwrites {found[0]}, a record of different predictions; "
            "to keep both, give another model id with --name"
        )
    return Stored(record.write(made, measured.rows, results), made)


def _measure_sets(
    sets: Sequence[tuple[int | None, Path]],
    samples: Samples,
    matching: Matching,
    settings: Settings,
    name: str,
    warn: Warn,
) -> tuple[Result, list[str]]:
    """What sets of class or cluster ids come to, and a hash of each set."""
    painted = [
        _read_set(below, samples, matching, settings, number, len(sets)) for number, (_, below) in enumerate(sets)
    ]
    require_labelled_pixels(any(len(table) for table in painted[0].counts), samples)
    paths = [prediction_of(sample, below) for _, below in sets for sample in samples]
    warn_of_palettes(paths, samples.card, as_classes=matching == "none", warn=warn)
    if matching == "none":
        warn_of_masks(painted, samples.card, warn)
    elif matching == "images":
        warn_of_background(painted[0], warn)
    measured = _measure(painted, matching, len(samples.card.classes), name)
    return measured, [one.meta["predictions"] for one in painted]


def _read_set(
    folder: Path, samples: Samples, matching: Matching, settings: Settings, number: int, sets: int
) -> Painted:
    """Count one set of predictions, in threads."""
    require_predictions(folder, samples)
    progress = settings.stage("scoring")
    read = functools.partial(_read_one, folder=folder, card=samples.card, matching=matching)
    bands, tables, digests, content = [], [], [], hashlib.sha256()
    with ThreadPoolExecutor(settings.workers or default_workers(), "bench-loader") as pool:
        for done, (table, digest, own) in enumerate(prefetch(pool, read, samples, depth=32), start=1):
            by_boundaries = table.shape[1] == 5
            bands += [table] if by_boundaries else []
            tables.append(imagenet_s_figures.counts_of(table) if by_boundaries else table)
            digests.append(digest)
            content.update(own)
            if progress:
                progress(number * len(samples) + done, sets * len(samples))
    manifest = manifest_of(samples.ids, digests)
    about = {"predictions": content.hexdigest()}
    return Painted(samples.ids, Ragged.of(tables), manifest, about, Ragged.of(bands) if bands else ())


def require_predictions(folder: Path, samples: Samples) -> None:
    """Raises BadInput unless there is `<id>.png` for every sample."""
    missing = [sample.id for sample in samples if not prediction_of(sample, folder).is_file()]
    if missing:
        raise BadInput(
            f"{folder / missing[0]}.png is missing ({len(missing)} of {len(samples)} images have no prediction)",
            "Give every image of the split a prediction named <id>.png; --split and --limit choose the images.",
        )


def prediction_of(sample: Sample, folder: Path) -> Path:
    """Where a sample's prediction lies: accents in either of Unicode's forms, endings in capitals or not."""
    forms = [] if sample.id.isascii() else [unicodedata.normalize(form, sample.id) for form in ("NFC", "NFD")]
    paths = [folder / f"{name}{ending}" for ending in (".png", ".PNG") for name in (sample.id, *forms)]
    return next((path for path in paths if path.is_file()), paths[0])


def _read_one(sample: Sample, folder: Path, card: DatasetCard, matching: Matching) -> tuple[Counts, bytes, bytes]:
    """One image's table, the hash of its image and label as a run has it, and the hash of its prediction.

    The table is one of bands where the data set's figures need them.
    """
    path = prediction_of(sample, folder)
    digest = bytes.fromhex(sha256_file(sample.image))
    by_boundaries = card.figures == "imagenet-s"
    label, label_digest = (None, b"") if sample.label is None else read_label(sample.label, card)
    remedy = "Resize the predictions (nearest) to the label's own size before saving."
    predicted, own = read_prediction(path, card, None if label is None else label.shape, "its label", remedy)
    if matching == "none":
        require_classes(predicted, path, card, "Give class ids; for cluster ids use --match iou, pixels or images.")
    if label is None:
        return np.empty((0, 5 if by_boundaries else 3), np.int64), short_digest(digest), own
    table = (imagenet_s_figures.band_table if by_boundaries else contingency)(predicted, label, card.labels.ignore)
    if matching == "none":
        # a pixel left open is a wrong prediction, whatever its class
        table[table[:, 0] == card.labels.ignore, 0] = len(card.classes)
    return table, short_digest(digest + label_digest), own


def _measure(painted: Sequence[Painted], matching: Matching, classes: int, name: str) -> Result:
    solver = {"library": "scipy", "algorithm": f"Hungarian on {matching}"}
    mappings: tuple[Mapping, ...] = ()
    detail: dict[str, Any] = {}
    if matching == "none":
        rows, solver = given_classes(painted, classes), {"algorithm": "none: class ids were given"}
    elif matching == "images":
        rows, mappings, detail = matched_by_images(painted, classes)
    else:
        rows, mappings = matched_classes(painted, matching, classes)
    extra = imagenet_s_figures.painted_figures(painted, mappings, classes) if painted[0].bands else {}
    return Result(rows, painted[0].manifest, solver, {"predictions": name}, extra, mappings, detail)


def _protocol_entry(
    card: DatasetCard, matching: Matching, seeds: Sequence[int], painter: dict[str, Any]
) -> dict[str, Any]:
    """Absent classes count as the data set's own protocols have it; video has none.

    What is known of the run that made the predictions is a part of the fingerprint: another run has another record.
    """
    own = [dict(found)["absent"] for found in map(card.protocols.preset, ("linear", "clustering")) if found]
    preset = {"matching": matching, "grid": "label"}
    if card.kind == "images":
        preset["absent"] = own[0] if own else "zero"
    if card.figures != "classes":
        preset["figures"] = card.figures
    name = "predictions"
    if painter:
        preset["painted_by"] = f"{painter['id']}@{painter['fingerprint']}"
        name += f"-{painter['id'].replace('+', '-')}"  # what follows a + is the matching
    return {
        "id": name if matching == "none" else f"{name}+{matching}",
        "fingerprint": fingerprint("predictions", preset),
        "preset": preset,
        "modified": painter.get("modified", False),
        "variations": painter.get("variations", []),
        "published_recipe": False,
        "deterministic": not seeds,
    }


def _painter(folder: Path) -> dict[str, Any]:
    """The protocol's entry of `predictions.json`: what this program painted them by; empty where that is not known."""
    try:
        return Painter.model_validate((read_about(folder) or {}).get("protocol")).model_dump()
    except ValidationError:
        return {}


def model_entry(folder: Path, contents: Sequence[str], name: str | None, supervision: str | None) -> dict[str, Any]:
    """Whose predictions these are: as said, else as `predictions.json` has it, else by the folder's name and content.

    The content has a part in it because `predictions` is what everybody calls such a folder.
    """
    digest = hashlib.sha256("".join(contents).encode()).hexdigest()
    entry: dict[str, Any] = {
        "id": f"{as_id(folder.resolve().name) or 'predictions'}-{digest[:8]}",
        "title": storable(folder.resolve().name),
        "initialisation": UNKNOWN,
        "prior": UNKNOWN,
        "supervision": UNKNOWN,
    }
    entry |= {key: value for key, value in _said_beside(folder).items() if key in entry}
    if name is not None:
        require_model_id(name)
        entry |= {"id": name, "title": name}
    if supervision is not None:
        entry["supervision"] = supervision
    return entry | {"weights_sha256": digest, "weights_source": "predictions made elsewhere"}


def _said_beside(folder: Path) -> dict[str, str]:
    """The model's entry of `predictions.json`, as far as it is sound."""
    entry = (read_about(folder) or {}).get("model")
    if not isinstance(entry, dict) or not re.fullmatch(ID_PATTERN, str(entry.get("id"))):
        return {}
    return {key: value for key, value in entry.items() if isinstance(value, str)}
