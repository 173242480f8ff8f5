"""Track: one streaming pass over the sequences of a split, each kept as J and F per object and frame, and its masks.

Frames go through the network one at a time, whatever the batch size: what it computes must not depend on which
frames happen to share a batch. Decoding runs in threads ahead of it, measuring in threads behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.base.parallel import Progress, prefetch
from bench.base.sample_columns import Item
from bench.cards.presets import DavisPreset
from bench.data.decoding import Image8, require_size
from bench.data.preprocessing import normalise, resize_image
from bench.data.samples import Samples
from bench.data.sequences import Frame, Video, count_objects, read_frame, videos_of
from bench.passes.engine import Engine, arithmetic, call, halving
from bench.passes.image_pass import require_finite, run_pass, short_digest
from bench.passes.observations import manifest_of
from bench.passes.shards import ShardStore
from bench.protocols.davis.propagation import Propagation, paint, shares
from bench.protocols.linear.training import Features, feature_map
from bench.scoring.frame_rows import FrameRows
from bench.scoring.j_and_f import Values, score_ids

TRACKER_VERSION = 1
"""Raised whenever this pass would give other numbers or files."""
MASKS = "masks"
STRIDE = 8
"""Of the networks' feature maps: inputs are made a multiple of it."""
AHEAD = 4
"""Frames decoded ahead of the network, and measured behind it, per sequence."""


@dataclass(frozen=True)
class Tracks:
    """What a pass found."""

    rows: FrameRows
    manifest: str
    meta: dict[str, Any]


def tracking_store(
    cache: Path, weights_sha256: str, samples: Samples, preset: DavisPreset, precision: str
) -> ShardStore:
    """Where a pass under this recipe keeps what it found."""
    recipe = {
        "weights": weights_sha256,
        "dataset": samples.card.id,
        "split": samples.split,
        "objects": samples.card.splits[samples.split].objects,
        "precision": precision,
        "preset": preset.resolved(),
        "track": TRACKER_VERSION,
    }
    return ShardStore.for_recipe(cache, "tracked", recipe, MASKS)


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
        wanted = set(todo)
        videos = [video for i, video in enumerate(videos_of(samples)) if i in wanted]
        done, total = samples.images - sum(video.images for video in videos), samples.images
        extract = features()
        for video in videos:
            tracker = _Tracker(video, samples.card.splits[samples.split].objects or "many", extract, preset, engine)
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


def _pack(pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """PNGs as one array of bytes: their number, their lengths, then they themselves."""
    head = np.array([len(pictures), *map(len, pictures)], np.uint32)
    return np.concatenate([head.view(np.uint8), *pictures])


def _unpack(packed: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    count = int(packed[:4].view(np.uint32)[0])
    lengths = packed[4 : 4 + 4 * count].view(np.uint32)
    return np.split(packed[4 + 4 * count :], np.cumsum(lengths)[:-1])


FrameResult = tuple[Values, Values, npt.NDArray[np.uint8]]
"""Of one frame: J and F per object, and the predicted ids as the bytes of a PNG."""


class _Tracker:
    """One sequence on its way through the network."""

    def __init__(self, video: Video, objects: str, extract: Features, preset: DavisPreset, engine: Engine) -> None:
        self.video, self.annotated, self.extract = video, objects, extract
        self.preset, self.engine = preset, engine
        self.objects = 0
        self.size: tuple[int, ...] = ()
        self.context: Propagation | None = None

    def run(self, report: Callable[[int], None]) -> Item:
        """Carry the first frame's objects through and measure. Raises BadInput naming the frame."""
        cv2.setNumThreads(1)  # the threads below are the parallelism
        found: list[FrameResult] = []
        waiting: deque[Future[FrameResult]] = deque()
        digest = b""
        with ThreadPoolExecutor(max(1, self.engine.workers), "bench-video") as pool:
            try:
                frames = prefetch(pool, self._load, range(self.video.images), AHEAD)
                for number, (frame, image) in enumerate(frames):
                    predicted = self._predict(number, frame, image)
                    waiting.append(pool.submit(_measure, frame.ids, predicted, self.objects))
                    digest += frame.digest
                    while len(waiting) > AHEAD:
                        found.append(waiting.popleft().result())
                    report(number + 1)
                found += [one.result() for one in waiting]
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        inner = found[1:-1]
        return {
            "objects": np.array([self.objects], np.int32),
            "J": np.stack([similarity for similarity, _, _ in inner], axis=1).reshape(-1),
            "F": np.stack([accuracy for _, accuracy, _ in inner], axis=1).reshape(-1),
            "digest": np.frombuffer(short_digest(digest), np.uint8),
            MASKS: _pack([picture for _, _, picture in found]),
        }

    def _load(self, number: int) -> tuple[Frame, Image8]:
        """A frame, and its image resized to the input."""
        frame = read_frame(self.video, number, self.annotated)
        size = input_size(frame.ids.shape, self.preset.height)
        return frame, resize_image(frame.image, size, self.preset.interpolation)

    def _predict(self, number: int, frame: Frame, image: Image8) -> Image8:
        """The ids of one frame, H×W."""
        (features,) = halving(self._forward, [image], self.engine)
        require_finite(self.video.frames[number], bool(torch.isfinite(features).all()))
        # similarities are float32 always: --precision is the network's
        with torch.inference_mode(), arithmetic(replace(self.engine, precision="float32")):
            if self.context is None:
                self.objects, self.size = count_objects(frame, self.video), frame.ids.shape
                ids = torch.from_numpy(frame.ids).to(features.device)
                self.context = Propagation(features, shares(ids, self.objects, features.shape[-2:]), self.preset)
                return frame.ids
            path, remedy = self.video.frames[number], "All frames of a sequence must have one size."
            require_size(path, frame.ids, self.size, "its sequence began with", remedy)
            return paint(self.context.step(features), self.size, stretch=self.preset.stretch).cpu().numpy()

    def _forward(self, images: Sequence[Image8]) -> list[Tensor]:
        with torch.inference_mode(), arithmetic(self.engine):
            batch = torch.from_numpy(np.stack(images)).to(self.engine.device)
            return list(feature_map(call(self.extract, normalise(batch, self.preset)), len(images)))


def _measure(annotation: Image8, predicted: Image8, objects: int) -> FrameResult:
    return *score_ids(annotation, predicted, objects), cv2.imencode(".png", predicted)[1].reshape(-1)


def input_size(size: tuple[int, ...], height: int) -> tuple[int, int]:
    """(height, width) of the network's input: of `height`, in the frame's proportions, multiples of the stride."""
    scaled = (height, size[1] * height / size[0])
    rows, columns = (max(1, round(side / STRIDE)) * STRIDE for side in scaled)
    return rows, columns
