"""Observe: one streaming forward pass over a split, each image kept as an `Observation` (spec §3, 1-3)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadEnvironment, BadInput, Warn, WrongName
from bench.observations import SHARD, Observation, Observations, ObservationStore, stack
from bench.preprocess import normalise, resize_image, resize_nearest
from bench.presets import INPUT_ENTRIES, Preset
from bench.samples import Image8, Sample, Samples, check_sizes, read_image, read_label

NEAR = 1e-4
"""Logits this close to the threshold may fall on either side of it by rounding."""
FLUSH_SECONDS = 30.0

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Loaded:
    """One sample, decoded and resized."""

    image: Image8
    label: Image8 | None
    size: tuple[int, int]
    digest: bytes


@dataclass
class Engine:
    """How a pass is run: nothing here may change a figure beyond floating point, except `precision`."""

    device: torch.device
    precision: Precision = "float32"
    batch_size: int = 8
    workers: int = 2
    progress: Progress | None = None
    warn: Warn = lambda message: None


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA where there is one. Raises BadEnvironment for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise WrongName(f"unknown device '{name}'", "Use auto, cpu, cuda or cuda:1.") from error
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadEnvironment(f"device '{name}' cannot be used: {reason}", "Use --device cpu or auto.") from error
    return device


def observation_recipe(weights_sha256: str, samples: Samples, preset: Preset, precision: str) -> dict[str, Any]:
    """All that decides what an observation of a sample is, but the sample itself."""
    entries = preset.resolved()
    shared = {key: entries[key] for key in INPUT_ENTRIES}
    return {
        "weights": weights_sha256,
        "dataset": samples.card.id,
        "split": samples.split,
        "classes": len(samples.card.classes),
        "ignore": samples.card.labels.ignore,
        "precision": precision,
        **shared,
    }


def observe(
    network: Callable[[], nn.Module],
    samples: Samples,
    preset: Preset,
    store: ObservationStore,
    engine: Engine,
    *,
    fresh: bool = False,
) -> Observations:
    """The observations of all samples; only those that `store` lacks are computed.

    `network` is called only when something is left to observe. It must return (embedding B×D×h×w, saliency
    logit B×h×w). What was observed before an error or an interruption stays in the store.
    """
    found: dict[bytes, Observation] = {} if fresh else store.known(samples.keys)
    todo = [i for i, key in enumerate(samples.keys) if key not in found]
    meta = store.read_meta()
    if todo:
        started = time.perf_counter()
        found.update(_observe_missing(network(), samples, todo, preset, store, engine, len(found)))
        seconds = time.perf_counter() - started
        meta = {
            "device": str(engine.device),
            "precision": engine.precision,
            "seconds": seconds,
            "images_per_second": len(todo) / seconds,
            "observed": len(todo),
        }
        store.write_meta(meta)
    observations = stack([s.id for s in samples], [found[key] for key in samples.keys], meta | {"fresh": len(todo)})
    _check_saliency(observations, preset, engine.warn)
    return observations


def _check_saliency(observations: Observations, preset: Preset, warn: Warn) -> None:
    empty = int((observations.areas == 0).sum())
    if empty == len(observations):
        raise BadInput(
            f"nothing is salient in any of the {empty} images (no saliency logit exceeds {preset.saliency_threshold})",
            "Is the saliency head trained? The threshold can be changed with --set saliency_threshold=…",
        )
    if empty:
        warn(f"{empty} of {len(observations)} images have no salient pixel; they stay in, with a zero prototype")


def _observe_missing(
    network: nn.Module,
    samples: Samples,
    todo: Sequence[int],
    preset: Preset,
    store: ObservationStore,
    engine: Engine,
    already: int,
) -> dict[bytes, Observation]:
    """Observe the samples at `todo`, saving shard by shard, and what there is on any way out."""
    found: dict[bytes, Observation] = {}
    unsaved: dict[int, dict[bytes, Observation]] = {}
    saved_at = time.monotonic()

    def save() -> None:
        for shard in list(unsaved):
            store.save(shard, unsaved[shard])
            # The masks are on disk now; memory must not grow with them.
            found.update((k, _without_mask(o)) for k, o in unsaved.pop(shard).items())

    try:
        passes = _forward_pass(network, (samples.entries[i] for i in todo), samples, preset, engine)
        for index, observation in zip(todo, passes, strict=True):
            unsaved.setdefault(index // SHARD, {})[samples.keys[index]] = observation
            if engine.progress:
                done = already + len(found) + sum(map(len, unsaved.values()))
                engine.progress(done, len(samples))
            if len(unsaved) > 1 or time.monotonic() - saved_at > FLUSH_SECONDS:
                save()
                saved_at = time.monotonic()
    finally:
        save()
    return found


def _without_mask(observation: Observation) -> Observation:
    return replace(observation, mask=np.empty(0, np.uint8))


def _forward_pass(
    network: nn.Module, entries: Iterable[Sample], samples: Samples, preset: Preset, engine: Engine
) -> Iterator[Observation]:
    """Decode in threads, run the network here, count pixels in threads again; in order throughout."""
    cv2.setNumThreads(1)  # the loader's threads are the parallelism
    card = samples.card

    def load(sample: Sample) -> tuple[Sample, Loaded]:
        image, digest = read_image(sample.image)
        label = None
        if sample.label is not None:
            label, label_digest = read_label(sample.label, card)
            check_sizes(sample, image, label)
            digest += label_digest
        return sample, Loaded(resize_image(image, preset.input, preset.interpolation), label, image.shape[:2], digest)

    with ThreadPoolExecutor(max(1, engine.workers), "bench-loader") as pool:
        loaded = _prefetch(pool, load, entries, depth=2 * engine.batch_size)
        waiting: deque[Future[Observation]] = deque()
        try:
            for batch in _batches(loaded, engine.batch_size):
                seen = _run(network, [item for _, item in batch], preset, engine)
                for (sample, item), (prototype, mask, near) in zip(batch, seen, strict=True):
                    if not np.isfinite(prototype).all():
                        raise BadInput(
                            f"the network gives NaN or infinity on {sample.image}",
                            "Its weights are damaged, or --precision is too low for them.",
                        )
                    waiting.append(pool.submit(_count, item, prototype, mask, near, card.labels.ignore))
                while len(waiting) > engine.batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _prefetch(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Results of `function` in order, at most `depth` of them computed ahead."""
    ahead: deque[Future[Result]] = deque()
    for item in items:
        ahead.append(pool.submit(function, item))
        if len(ahead) >= depth:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


Seen = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], int]


def _run(network: nn.Module, batch: Sequence[Loaded], preset: Preset, engine: Engine) -> list[Seen]:
    """Prototype, mask and near-threshold count of each image; a batch too large for memory is halved."""
    try:
        return _run_batch(network, batch, preset, engine)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise BadEnvironment(
                f"out of memory on {engine.device} with a single image",
                "Use --device cpu, or --set input='[…, …]' for a smaller input.",
            ) from error
    torch.cuda.empty_cache()
    engine.batch_size = max(1, len(batch) // 2)
    engine.warn(f"out of memory: going on with batches of {engine.batch_size}")
    half = engine.batch_size
    return _run(network, batch[:half], preset, engine) + _run(network, batch[half:], preset, engine)


def _run_batch(network: nn.Module, batch: Sequence[Loaded], preset: Preset, engine: Engine) -> list[Seen]:
    images = torch.from_numpy(np.stack([item.image for item in batch])).to(engine.device, non_blocking=True)
    with torch.inference_mode(), _arithmetic(engine):
        embedding, logit = check_output(_call(network, normalise(images, preset)), len(batch))
    with torch.inference_mode():
        prototypes, masks, near = summarise(embedding.float(), logit.float(), preset.input, preset.saliency_threshold)
        return list(zip(prototypes.cpu().numpy(), masks.cpu().numpy(), near.tolist(), strict=True))


def _is_out_of_memory(error: Exception) -> bool:
    """The CPU allocator has no exception of its own, only a message."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)


def _call(network: nn.Module, images: Tensor) -> Any:
    """The network's output. What it raises, except for lack of memory, becomes BadInput."""
    try:
        return network(images)
    except Exception as error:
        if _is_out_of_memory(error):
            raise
        raise BadInput(
            f"the network fails on images of shape {tuple(images.shape)}: {type(error).__name__}: {error}",
            "It must take B×3×H×W float32 images at the preset's input size.",
        ) from error


@contextlib.contextmanager
def _arithmetic(engine: Engine) -> Iterator[None]:
    """float32 means float32 (no TF32 on CUDA); bfloat16 means autocast."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(engine.device.type, torch.bfloat16, enabled=engine.precision == "bfloat16"):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def check_output(output: Any, images: int) -> tuple[Tensor, Tensor]:
    """The network's (embedding B×D×h×w, logit B×h×w). Raises BadInput if it returned anything else."""
    if isinstance(output, (tuple, list)) and len(output) == 2:
        embedding, logit = output
        if isinstance(embedding, Tensor) and isinstance(logit, Tensor):
            if logit.ndim == 4 and logit.shape[1] == 1:
                logit = logit[:, 0]
            if embedding.ndim == 4 and logit.ndim == 3 and len(embedding) == len(logit) == images:
                return embedding, logit
    shapes = [
        tuple(o.shape) if isinstance(o, Tensor) else type(o).__name__
        for o in (output if isinstance(output, (tuple, list)) else [output])
    ]
    raise BadInput(f"the network returned {shapes}", "Expected are (embedding B×D×h×w, saliency logit B×h×w).")


def summarise(
    embedding: Tensor, logit: Tensor, size: tuple[int, int], threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes B×D, salient masks B×H×W (bool) and near-threshold counts B, from maps of any resolution.

    The prototype is the sum over salient pixels of upsampled embedding × upsampled logit. Upsampling is
    linear, <up(E), S> = <E, upᵀ(S)>, so the one-channel S is brought down instead of the D-channel E up:
    the same sum without a D×H×W tensor per image.
    """
    full = (
        logit
        if logit.shape[-2:] == size
        else F.interpolate(logit[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    )
    masks = full > threshold
    weight = full * masks
    height, width = embedding.shape[-2:]
    if (height, width) != size:
        rows, columns = _upsampling(height, size[0], full), _upsampling(width, size[1], full)
        weight = rows.T @ weight @ columns
    prototypes = F.normalize(torch.einsum("bdhw,bhw->bd", embedding, weight), dim=1)
    return prototypes, masks, ((full - threshold).abs() < NEAR).sum((1, 2))


def _upsampling(source: int, target: int, like: Tensor) -> Tensor:
    """The target×source matrix of bilinear upsampling along one axis, as torch's own interpolation does it."""
    identity = torch.eye(source, device=like.device, dtype=like.dtype)
    return F.interpolate(identity[None], size=target, mode="linear", align_corners=False)[0].T.contiguous()


def _count(
    item: Loaded, prototype: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], near: int, ignore: int
) -> Observation:
    """Count an image's labels inside and outside its mask, on the label's grid and on the input's."""
    small = mask.view(np.uint8)
    classes = np.empty(0, np.uint16)
    counts = np.empty((0, 4), np.int32)
    if item.label is not None:
        at_label = resize_nearest(small, item.label.shape)
        at_input = resize_nearest(item.label, mask.shape)
        columns = np.concatenate([_inside_outside(item.label, at_label), _inside_outside(at_input, small)], axis=1)
        columns[ignore] = 0
        classes = np.flatnonzero(columns.any(axis=1)).astype(np.uint16)
        counts = columns[classes].astype(np.int32)
    return Observation(
        prototype, int(small.sum()), near, item.size, classes, counts, _short(item.digest), np.packbits(mask)
    )


def _inside_outside(label: Image8, mask: Image8) -> npt.NDArray[np.int64]:
    """256×2: how often each label value occurs under the mask and outside it."""
    joint = np.bincount((label.astype(np.uint16) << 1 | mask).reshape(-1), minlength=512)
    return joint.reshape(256, 2)[:, ::-1]


def _short(digest: bytes) -> bytes:
    return hashlib.sha256(digest).digest()[:16]


def default_workers() -> int:
    """Loader threads: as many as cores, up to eight."""
    return min(8, os.cpu_count() or 1)
