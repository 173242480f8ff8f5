"""Score masks of another program: PNGs of object ids, one per frame, with the same metrics as a run."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.base.errors import BadInput
from bench.base.parallel import default_workers, prefetch
from bench.base.sample_columns import Item
from bench.data.picture_files import Image8
from bench.data.samples import Samples
from bench.data.sequences import Video, count_objects, read_frame, read_objects, videos_of
from bench.passes.image_pass import short_digest
from bench.passes.observations import manifest_of
from bench.protocols.base import Result, Settings
from bench.protocols.davis.sequence_pass import frame_rows
from bench.scoring.j_and_f import Values, score_ids


@dataclass(frozen=True)
class _Task:
    """One frame to measure."""

    video: Video
    number: int
    objects: int


@dataclass(frozen=True)
class _Done:
    """J and F of a frame's objects (none where it is not evaluated), and hashes of its data and of its mask."""

    similarity: Values
    accuracy: Values
    digest: bytes
    own: bytes


def measure_masks(folder: Path, samples: Samples, settings: Settings) -> tuple[Result, str]:
    """J and F of `<sequence>/<frame>.png` below `folder`; also returns a hash of the masks.

    The first and the last frame are not evaluated and need no mask. Raises BadInput for a mask that is missing,
    damaged or of another size, and for an id above the sequence's number of objects.
    """
    annotated = samples.card.splits[samples.split].objects or "many"
    _require_masks(folder, samples)
    counts = [count_objects(read_frame(video, 0, annotated), video) for video in videos_of(samples)]
    progress, content, done = settings.stage("scoring"), hashlib.sha256(), 0
    items: list[Item] = []
    read = functools.partial(_measure, folder=folder, annotated=annotated)
    with ThreadPoolExecutor(settings.workers or default_workers(), "bench-loader") as pool:
        for video, objects in zip(videos_of(samples), counts, strict=True):
            frames = []
            for one in prefetch(pool, read, (_Task(video, i, objects) for i in range(video.images)), depth=16):
                frames.append(one)
                content.update(one.own)
                done += 1
                if progress:
                    progress(done, samples.images)
            items.append(_item(objects, frames))
    manifest = manifest_of([video.id for video in samples], [item["digest"].tobytes() for item in items])
    solver = {"algorithm": "none: object ids were given"}
    result = Result(frame_rows(samples, items), manifest, solver, {"predictions": folder.name})
    return result, content.hexdigest()


def _item(objects: int, frames: Sequence[_Done]) -> Item:
    """What a run would have kept of a sequence, but its masks."""
    digest = short_digest(b"".join(one.digest for one in frames))
    return {
        "objects": np.array([objects], np.int32),
        "J": np.stack([one.similarity for one in frames[1:-1]], axis=1).reshape(-1),
        "F": np.stack([one.accuracy for one in frames[1:-1]], axis=1).reshape(-1),
        "digest": np.frombuffer(digest, np.uint8),
    }


def _evaluated(samples: Samples) -> Iterator[str]:
    for video in videos_of(samples):
        yield from video.ids[1:-1]


def _require_masks(folder: Path, samples: Samples) -> None:
    wanted = list(_evaluated(samples))
    if missing := [name for name in wanted if not (folder / f"{name}.png").is_file()]:
        raise BadInput(
            f"{folder / missing[0]}.png is missing ({len(missing)} of {len(wanted)} evaluated frames have no mask)",
            "Give every frame except the first and the last a mask named <sequence>/<frame>.png.",
        )


def _measure(task: _Task, folder: Path, annotated: str) -> _Done:
    frame = read_frame(task.video, task.number, annotated)
    if task.number in (0, task.video.images - 1):
        return _Done(np.empty(0), np.empty(0), frame.digest, b"")
    path = folder / f"{task.video.ids[task.number]}.png"
    remedy = "Resize the masks (nearest) to the frame's own size before saving."
    predicted, own = read_objects(path, frame.ids.shape, "its frame", remedy)
    if annotated == "one":
        predicted = (predicted > 0).astype(np.uint8)
    _require_ids(predicted, task, path)
    return _Done(*score_ids(frame.ids, predicted, task.objects), frame.digest, own)


def _require_ids(predicted: Image8, task: _Task, path: Path) -> None:
    if (highest := int(predicted.max())) > task.objects:
        raise BadInput(
            f"{path} holds the id {highest}, but '{task.video.id}' has {task.objects} "
            f"object{'s' if task.objects > 1 else ''}",
            "Use the ids of the first frame's annotation.",
        )
