"""Track: one streaming pass over the sequences of a split, each kept as J and F per object and frame, and its masks.

Frames go through the network one at a time, whatever the batch size: what it computes must not depend on which
frames happen to share a batch. Decoding runs in threads ahead of it, measuring in threads behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.base.parallel import Progress
from bench.base.sample_columns import Item
from bench.data.picture_files import Image8
from bench.data.samples import Samples
from bench.data.sequences import videos_of
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.passes.engine import Engine
from bench.passes.features import Features
from bench.passes.image_pass import run_pass
from bench.passes.observations import manifest_of
from bench.protocols.davis.preset import DavisPreset
from bench.scoring.frame_rows import FrameRows

TRACKER_VERSION = 1
"""Raised whenever this pass would give other numbers or files."""
MASKS = "masks"
_COLUMNS = {
    "objects": Column("int32", rows=1),
    "J": Column("float64"),
    "F": Column("float64", like="J"),
    "digest": DIGEST,
    MASKS: Column("uint8"),
}


@dataclass(frozen=True)
class Tracks:
    """What a pass found."""

    rows: FrameRows
    manifest: str
    meta: dict[str, Any]


def tracking_store(cache: Path, key: str, samples: Samples, preset: DavisPreset, precision: str) -> ShardStore:
    """Where a pass under this recipe keeps what it found; `key` is the network's."""
    recipe = {
        "weights": key,
        "dataset": samples.card.id,
        "split": samples.split,
        "objects": samples.card.splits[samples.split].objects,
        "precision": precision,
        "preset": preset.resolved(),
        "track": TRACKER_VERSION,
    }
    return ShardStore.for_recipe(cache, "tracked", recipe, MASKS, _COLUMNS)


def track(
    features: Callable[[], Features],
    samples: Samples,
    preset: DavisPreset,
    store: ShardStore,
    engine: Engine,
    *,
    fresh: bool = False,
) -> Tracks:
    """J and F of all objects and frames; only sequences that `store` lacks are computed.

    `features` (called only when something is left to do) maps B×3×H×W normalised frames to B×D×h×w. What was found
    before an error or an interruption stays in the store, sequence by sequence.
    """

    def passes(todo: Sequence[int]) -> Iterator[Item]:
        from bench.protocols.davis.tracker import Tracker

        wanted = set(todo)
        videos = [video for i, video in enumerate(videos_of(samples)) if i in wanted]
        done, total = samples.images - sum(video.images for video in videos), samples.images
        extract = features()
        for video in videos:
            tracker = Tracker(video, samples.card.splits[samples.split].objects or "many", extract, preset, engine)
            yield tracker.run(_shifted(engine.progress, done, total))
            done += video.images

    # progress goes by frames, and every sequence is saved at once: it may take a minute
    quiet = replace(engine, progress=None)
    found, meta = run_pass(passes, samples, store, quiet, fresh=fresh, flush_seconds=0.0)
    items = [item for _, item in found.items()]
    manifest = manifest_of([sample.id for sample in samples], [item["digest"].tobytes() for item in items])
    return Tracks(frame_rows(samples, items), manifest, meta)


def _shifted(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    return (lambda done: progress(before + done, total)) if progress else lambda done: None


def frame_rows(samples: Samples, items: Sequence[Item]) -> FrameRows:
    """The rows of all sequences, one after the other, from the `objects`, `J` and `F` of each."""
    ids: list[str] = []
    columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("frame", "object", "J", "F")}
    for video, item in zip(videos_of(samples), items, strict=True):
        inner, objects = video.images - 2, int(item["objects"][0])
        columns["frame"].append(np.tile(np.arange(1, 1 + inner) + len(ids), objects))
        columns["object"].append(np.repeat(np.arange(1, 1 + objects), inner))
        for name in ("J", "F"):
            columns[name].append(item[name])
        ids += video.ids
    frame, number, similarity, accuracy = (np.concatenate(parts) for parts in columns.values())
    return FrameRows(tuple(ids), frame.astype(np.int32), number.astype(np.int32), similarity, accuracy)


def masks(samples: Samples, store: ShardStore, chosen: Sequence[int] | None = None) -> Iterator[Image8]:
    """The predicted ids of every frame of every sequence, or of the frames at `chosen` of all, in order, H×W.

    The first frame's are the annotation's.
    """
    ends = np.cumsum([video.images for video in videos_of(samples)])
    wanted = np.arange(ends[-1]) if chosen is None else np.asarray(chosen, np.int64)
    homes = np.searchsorted(ends, wanted, side="right")
    videos = np.unique(homes).tolist()
    for video, packed in zip(videos, store.iterate_apart(samples.keys, videos), strict=True):
        pictures = _unpack(packed)
        for frame in wanted[homes == video] - ends[video]:  # counted back from the sequence's end
            yield cv2.imdecode(pictures[frame], cv2.IMREAD_UNCHANGED)  # type: ignore[misc]


def _unpack(packed: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    count = int(packed[:4].view(np.uint32)[0])
    lengths = packed[4 : 4 + 4 * count].view(np.uint32)
    return np.split(packed[4 + 4 * count :], np.cumsum(lengths)[:-1])
