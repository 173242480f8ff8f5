"""Score foreground: figures of saliency or of discovery from masks or boxes that any program wrote."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.base.errors import Warn, WrongName
from bench.base.escaping import storable
from bench.base.files import cache_folder, require_writable, sha256_file
from bench.base.parallel import default_workers, prefetch
from bench.base.sample_columns import Columns, Item
from bench.cards import catalogue
from bench.cards.presets import Preset, fingerprint, override
from bench.data.annotated_boxes import manifest_of_boxes, require_boxes
from bench.data.boxes import read_boxes
from bench.data.decoding import size_of
from bench.data.find_samples import find_samples
from bench.data.first_look import oddities
from bench.data.grey_maps import read_map
from bench.data.predicted_boxes import Predicted, read_predicted
from bench.data.samples import Sample, Samples, require_images, require_label_files
from bench.protocols.base import Result, Settings, collect_warnings
from bench.protocols.discovery import scoring as of_boxes
from bench.protocols.discovery.preset import DiscoveryPreset
from bench.protocols.saliency import scoring as of_maps
from bench.protocols.saliency.preset import MapsPreset
from bench.protocols.saliency.protocol import say_undefined
from bench.records import record
from bench.records.record import SCORED, Stored
from bench.runs.make_record import complete, describe
from bench.runs.prediction_warnings import warn_of_others
from bench.runs.score_folder import model_entry, prediction_of, require_predictions
from bench.scoring.corloc import box_of

BOXES = "boxes.json"
"""The file of boxes in a folder."""


def score_foreground(
    source: Path, dataset: str, protocol: str, results: Path, settings: Settings, *, supervision: str | None = None
) -> Stored:
    """Score a folder of masks `<id>.png` by `saliency`, or boxes by `discovery`; write a record and its rows.

    Boxes are a JSON file, `boxes.json` in a folder, or those around the masks of a folder. Raises BadInput for what is
    missing, damaged or of another size, WrongName for a protocol or an entry that cannot be.
    """
    started = time.perf_counter()
    warn, warnings = collect_warnings(settings)
    require_writable(results, "record", "--results")
    card = catalogue.dataset(dataset)
    preset = _preset(card.protocols.preset(protocol), protocol, dataset, settings)
    require_images(card, f"--protocol {protocol}")
    split, cache = settings.split or card.default_split, cache_folder(settings.cache)
    whole = find_samples(card, split, settings.data_root, cache, settings.stage("writing shapes"))
    samples = whole.first(settings.limit).by_id()
    for odd in oddities(whole):
        warn(odd)
    if source.is_dir():
        warn_of_others([source], whole, warn)
    if isinstance(preset, MapsPreset):
        require_label_files(samples, "scoring", "Name a split that has labels with --split.")
        measured, content = _measure_maps(source, samples, preset, settings, warn)
    else:
        measured, content = _measure_boxes(source, samples, whole, preset, settings)
    entry = _protocol_entry(protocol, preset)
    made = describe(
        model_entry(source, [content], settings.name, supervision),
        samples,
        entry,
        (),
        measured,
        (samples,) if samples.limited else (),
    )
    seconds = time.perf_counter() - started
    complete(made, {"seconds": seconds, "images_per_second": len(samples) / seconds}, 0.0)
    made["warnings"] = warnings
    if settings.warn and (found := record.of_other_weights(made, results)):
        settings.warn(
            f"this run overwrites {found[0]}, a record of different predictions; "
            "to keep both, give another model id with --name"
        )
    return Stored(record.write(made, measured.rows, results), made)


def _preset(own: Preset | None, protocol: str, dataset: str, settings: Settings) -> MapsPreset | DiscoveryPreset:
    """The data set's preset with what the user set. Raises WrongName for what has no part in scoring."""
    if own is None:
        raise WrongName(f"{dataset} has no preset for {protocol}", f"[protocols.{protocol}] in its card adds it.")
    if not isinstance(own, (MapsPreset, DiscoveryPreset)):
        raise WrongName(f"--protocol {protocol} is not for predictions", "Use saliency, discovery, or leave it out.")
    preset = override(own, settings.entries)
    assert isinstance(preset, (MapsPreset, DiscoveryPreset))
    unread = dict.fromkeys(set(type(preset).model_fields) - set(preset.figures), "the predictions are given")
    for key in settings.entries:
        if key in (unread | preset.unread()):
            reason = (unread | preset.unread())[key]
            raise WrongName(f"the entry '{key}' has no effect here: {reason}", "Leave the entry out.")
    return preset.model_copy(update=preset.settled())


def _protocol_entry(protocol: str, preset: MapsPreset | DiscoveryPreset) -> dict[str, Any]:
    resolved = preset.resolved()
    entries = {key: resolved[key] for key in preset.figures if key in resolved}
    return {
        "id": f"{SCORED}-{protocol}",
        "fingerprint": fingerprint(SCORED, entries),
        "preset": entries,
        "modified": False,
        "variations": [],
        "published_recipe": False,
        "deterministic": True,
    }


# --- masks ---


def _measure_maps(
    source: Path, samples: Samples, preset: MapsPreset, settings: Settings, warn: Warn
) -> tuple[Result, str]:
    require_predictions(source, samples)
    progress, content = settings.stage("scoring"), hashlib.sha256()
    count = functools.partial(_count_map, folder=source, samples=samples, preset=preset)
    items: dict[bytes, Item] = {}
    for key, (item, own) in zip(samples.keys, _in_threads(count, samples, settings), strict=True):
        items[key] = item
        content.update(own)
        if progress:
            progress(len(items), len(samples))
    columns = Columns.of_items(items)
    rows = of_maps.rows_of(samples, columns)
    say_undefined(rows, preset, warn)
    solver = {"algorithm": "none: masks were given"}
    result = Result(rows, of_maps.manifest(samples, columns), solver, {"predictions": storable(source.name)})
    return result, content.hexdigest()


def _count_map(sample: Sample, folder: Path, samples: Samples, preset: MapsPreset) -> tuple[Item, bytes]:
    shares, own = read_map(prediction_of(sample, folder), size_of(sample))
    digest = bytes.fromhex(sha256_file(sample.image))
    return of_maps.count_one(sample, shares, digest, samples, preset), own


def _in_threads(read: Any, samples: Samples, settings: Settings) -> Iterator[Any]:
    with ThreadPoolExecutor(settings.workers or default_workers(), "bench-loader") as pool:
        yield from prefetch(pool, read, samples, depth=32)


# --- boxes ---


def _measure_boxes(
    source: Path, samples: Samples, whole: Samples, preset: DiscoveryPreset, settings: Settings
) -> tuple[Result, str]:
    require_boxes(samples)
    file = source / BOXES if source.is_dir() else source
    if file.is_file() or not source.is_dir():
        given = read_predicted(file, samples.ids, whole.ids)
    else:
        given = _around_masks(source, samples, settings)
    annotated = read_boxes(samples)
    images = (bytes.fromhex(sha256_file(sample.image)) for sample in samples)
    rows = of_boxes.rows_of(samples, [given.boxes[name] for name in samples.ids], annotated, hard=preset.hard)
    observed = {"predictions": storable(source.name)} | of_boxes.about(rows)
    solver = {"algorithm": "none: boxes were given"}
    detail = {"boxes": {"manifest": manifest_of_boxes(samples)}}
    return Result(rows, of_boxes.manifest(samples, images), solver, observed, detail=detail), given.digest.hex()


def _around_masks(folder: Path, samples: Samples, settings: Settings) -> Predicted:
    """The box around each image's mask."""
    require_predictions(folder, samples)
    content, boxes = hashlib.sha256(), {}
    read = functools.partial(_around_mask, folder=folder)
    for name, (box, own) in zip(samples.ids, _in_threads(read, samples, settings), strict=True):
        boxes[name] = box
        content.update(own)
    return Predicted(boxes, content.digest())


def _around_mask(sample: Sample, folder: Path) -> tuple[Any, bytes]:
    shares, own = read_map(prediction_of(sample, folder), size_of(sample))
    mask = shares > 0.5
    height, width = mask.shape
    return (np.array(box_of(mask, 1, (height, width))) if mask.any() else None), own
