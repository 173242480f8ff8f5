"""Tracker: one sequence on its way through the network, and its objects through its frames.

See docs/protocols.md#davis.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.base.errors import BadInput
from bench.base.parallel import prefetch
from bench.base.sample_columns import Item
from bench.data.picture_files import Image8
from bench.data.preprocessing import normalise, resize_image
from bench.data.sequences import Frame, Video, count_objects, read_frame
from bench.passes.engine import Engine, arithmetic, call, halving
from bench.passes.features import Features, feature_map, require_variety
from bench.passes.image_pass import require_finite, short_digest
from bench.protocols.davis.preset import DavisPreset
from bench.protocols.davis.propagation import Propagation, paint, shares
from bench.protocols.davis.sequence_pass import MASKS
from bench.scoring.j_and_f import Values, score_ids

AHEAD = 4
"""Frames decoded ahead of the network, and measured behind it, per sequence."""
FrameResult = tuple[Values, Values, npt.NDArray[np.uint8]]
"""Of one frame: J and F per object, and the predicted ids as the bytes of a PNG."""


class Tracker:
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
        size = input_size(frame.ids.shape, self.preset.height, self.preset.multiple)
        return frame, resize_image(frame.image, size, self.preset.interpolation)

    def _predict(self, number: int, frame: Frame, image: Image8) -> Image8:
        """The ids of one frame, H×W."""
        (features,) = halving(self._forward, [image], self.engine)
        require_finite(self.video.frames[number], bool(torch.isfinite(features).all()))
        # similarities are float32 always: --precision is the network's
        with torch.inference_mode(), arithmetic(replace(self.engine, precision="float32")):
            if self.context is None:
                require_variety(features, 0, str(self.video.frames[number]))
                self.objects, self.size = count_objects(frame, self.video), frame.ids.shape
                ids = torch.from_numpy(frame.ids).to(features.device)
                self.context = Propagation(features, shares(ids, self.objects, features.shape[-2:]), self.preset)
                return frame.ids
            self._require_size(frame.ids.shape, self.video.frames[number])
            return paint(self.context.step(features), self.size, stretch=self.preset.stretch).cpu().numpy()

    def _require_size(self, size: tuple[int, ...], path: Path) -> None:
        if size != self.size:
            (height, width), (first_height, first_width) = size, self.size
            raise BadInput(
                f"{path} is {width}×{height} pixels, the first frame of its sequence {first_width}×{first_height}",
                "Give all frames of a sequence the same size.",
            )

    def _forward(self, images: Sequence[Image8]) -> list[Tensor]:
        with torch.inference_mode(), arithmetic(self.engine):
            batch = normalise(torch.from_numpy(np.stack(images)).to(self.engine.device), self.preset)
            return list(feature_map(call(self.extract, batch), batch))


def _measure(annotation: Image8, predicted: Image8, objects: int) -> FrameResult:
    return *score_ids(annotation, predicted, objects), cv2.imencode(".png", predicted)[1].reshape(-1)


def input_size(size: tuple[int, ...], height: int, multiple: int) -> tuple[int, int]:
    """(height, width) of the network's input: of `height`, in the frame's proportions, both multiples of `multiple`."""
    scaled = (height, size[1] * height / size[0])
    rows, columns = (max(1, round(side / multiple)) * multiple for side in scaled)
    return rows, columns


def _pack(pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """PNGs as one array of bytes: their number, their lengths, then they themselves."""
    head = np.array([len(pictures), *map(len, pictures)], np.uint32)
    return np.concatenate([head.view(np.uint8), *pictures])
