"""Observe: one streaming forward pass over a split, each image kept as an `Observation` (spec §3, 1-3)."""

from __future__ import annotations

import functools
import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.boundaries import count_bands
from bench.columns import Columns, Item
from bench.decode import Image8, Label, check_sizes, read_image, read_label
from bench.engine import Engine, arithmetic, call, stream
from bench.errors import BadInput, Warn
from bench.observations import NO_BANDS, Observation, Observations, stacked
from bench.preprocess import label_to_input, normalise, resize_nearest, to_input
from bench.presets import INPUT_ENTRIES, ImagePreset, Preset, SaliencyPreset
from bench.samples import Sample, Samples
from bench.shards import FLUSH_SECONDS, ShardStore

NEAR = 1e-4
"""Logits this close to the threshold may fall on either side of it by rounding."""


@dataclass(frozen=True)
class Loaded:
    """One sample, decoded; the image resized to the input, the label at its own size."""

    sample: Sample
    image: npt.NDArray[Any]
    label: Label | None
    size: tuple[int, int]
    digest: bytes


def observation_recipe(weights_sha256: str, samples: Samples, preset: Preset, precision: str) -> dict[str, Any]:
    """All that decides what is seen of a sample, but the sample itself."""
    entries = preset.resolved()
    labels = samples.card.labels
    # how plain indices are read has always been the same, and left unsaid
    decoding = {"labels": labels.model_dump(mode="json")} if labels.map or labels.encoding != "index" else {}
    return decoding | {
        "weights": weights_sha256,
        "dataset": samples.card.id,
        "split": samples.split,
        "classes": len(samples.card.classes),
        "ignore": labels.ignore,
        "precision": precision,
        **{key: entries[key] for key in INPUT_ENTRIES if key in entries},
    }


def observe(
    network: Callable[[], nn.Module],
    samples: Samples,
    preset: SaliencyPreset,
    store: ShardStore,
    engine: Engine,
    *,
    fresh: bool = False,
) -> Observations:
    """The observations of all samples; only those that `store` lacks are computed.

    `network` is called only when something is left to observe. It must return (embedding B×D×h×w, saliency
    logit B×h×w). What was observed before an error or an interruption stays in the store.
    """

    def passes(todo: Sequence[int]) -> Any:
        forward = functools.partial(_run_batch, network(), preset=preset, engine=engine)
        entries = (samples.entries[i] for i in todo)
        count = functools.partial(_count, preset=preset, ignore=samples.card.labels.ignore)
        return stream(entries, functools.partial(load_sample, samples=samples, preset=preset), forward, count, engine)

    found, meta = run_pass(passes, samples, store, engine, fresh=fresh)
    observations = stacked(samples.ids, found, meta)
    _check_saliency(observations, preset, engine.warn)
    return observations


def run_pass(
    passes: Callable[[Sequence[int]], Any],
    samples: Samples,
    store: ShardStore,
    engine: Engine,
    *,
    fresh: bool,
    flush_seconds: float = FLUSH_SECONDS,
) -> tuple[Columns, dict[str, Any]]:
    """Every sample's item, in order, and what is known of the pass; `passes(todo)` makes those that are missing."""
    found = Columns.of_items({}) if fresh else store.known(samples.keys)
    todo = array("q", _missing(samples.keys, found.keys))
    meta = store.read_meta()
    if todo:
        started = time.perf_counter()
        made = store.fill(samples.keys, todo, passes(todo), engine.progress, flush_seconds)
        seconds = time.perf_counter() - started
        found = _in_order(found, made, todo)
        meta = {
            "device": str(engine.device),
            "precision": engine.precision,
            "seconds": seconds,
            "images_per_second": samples.count(todo) / seconds,
            "observed": len(todo),
        }
        store.write_meta(meta)
    return found, meta | {"fresh": len(todo)}


def _missing(keys: Iterable[bytes], known: Iterable[bytes]) -> Iterator[int]:
    """The places in `keys` of those that are not `known`, which has the others in the same order."""
    others = iter(known)
    other = next(others, None)
    for place, key in enumerate(keys):
        if key == other:
            other = next(others, None)
        else:
            yield place


def _in_order(known: Columns, made: Columns, todo: Sequence[int]) -> Columns:
    """Both together, those `made` at the places `todo`, those `known` at the others in between."""
    places = np.asarray(todo, np.int64)
    others = np.setdiff1d(np.arange(len(known) + len(made)), places, assume_unique=True)
    return Columns.joined([known, made]).take(np.argsort(np.concatenate([others, places])))


def _check_saliency(observations: Observations, preset: SaliencyPreset, warn: Warn) -> None:
    empty = int((observations.areas == 0).sum())
    if empty == len(observations):
        raise BadInput(
            f"nothing is salient in any of the {empty} images (no saliency logit exceeds {preset.saliency_threshold})",
            "Is the saliency head trained? The threshold can be changed with --set saliency_threshold=…",
        )
    if empty:
        warn(f"{empty} of {len(observations)} images have no salient pixel; they stay in, with a zero prototype")


def load_sample(sample: Sample, samples: Samples, preset: ImagePreset) -> Loaded:
    """Decode a sample; the image is resized to the preset's input. Raises BadInput naming the file."""
    image, digest = read_image(sample.image)
    label = None
    if sample.label is not None:
        label, label_digest = read_label(sample.label, samples.card)
        check_sizes(sample, image, label)
        digest += label_digest
    return Loaded(sample, to_input(image, preset), label, image.shape[:2], short_digest(digest))


def to_device(batch: Sequence[Loaded], preset: Preset, engine: Engine) -> Tensor:
    """The batch as the network's input, B×3×H×W float32, normalised."""
    images = torch.from_numpy(np.stack([item.image for item in batch])).to(engine.device, non_blocking=True)
    return normalise(images, preset)


Seen = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], int]


def _run_batch(network: nn.Module, batch: Sequence[Loaded], preset: SaliencyPreset, engine: Engine) -> list[Seen]:
    """Prototype, mask and near-threshold count of each image."""
    with torch.inference_mode(), arithmetic(engine):
        embedding, logit = check_output(call(network, to_device(batch, preset, engine)), len(batch))
    with torch.inference_mode():
        prototypes, masks, near = summarise(embedding.float(), logit.float(), preset.input, preset.saliency_threshold)
    for item, finite in zip(batch, torch.isfinite(prototypes).all(dim=1).tolist(), strict=True):
        require_finite(item.sample.image, finite)
    return list(zip(prototypes.cpu().numpy(), masks.cpu().numpy(), near.tolist(), strict=True))


def require_finite(image: Path, finite: bool) -> None:
    """Raises BadInput naming the image on which the network gave NaN or infinity."""
    if not finite:
        raise BadInput(
            f"the network gives NaN or infinity on {image}",
            "Its weights are damaged, or --precision is too low for them.",
        )


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
        rows, columns = upsampling(height, size[0], full), upsampling(width, size[1], full)
        weight = rows.T @ weight @ columns
    prototypes = F.normalize(torch.einsum("bdhw,bhw->bd", embedding, weight), dim=1)
    return prototypes, masks, ((full - threshold).abs() < NEAR).sum((1, 2))


def upsampling(source: int, target: int, like: Tensor) -> Tensor:
    """The target×source matrix of bilinear upsampling along one axis, as torch's own interpolation does it."""
    identity = torch.eye(source, device=like.device, dtype=like.dtype)
    return F.interpolate(identity[None], size=target, mode="linear", align_corners=False)[0].T.contiguous()


def _count(item: Loaded, seen: Seen, preset: SaliencyPreset, ignore: int) -> Item:
    """Count an image's labels inside and outside its mask, on the label's grid and on the input's."""
    prototype, mask, near = seen
    small = mask.view(np.uint8)
    classes = np.empty(0, np.uint16)
    counts, bands = np.empty((0, 4), np.int32), NO_BANDS
    if item.label is not None:
        at_label = resize_nearest(small, item.label.shape)
        at_input = label_to_input(item.label, preset)
        values = max(256, ignore + 1)  # a label is a class or the ignore id, which is the larger
        grids = ((item.label, at_label), (at_input, small))
        columns = np.concatenate([_inside_outside(label, side, values) for label, side in grids], axis=1)
        columns[ignore] = 0
        classes = np.flatnonzero(columns.any(axis=1)).astype(np.uint16)
        counts = columns[classes].astype(np.int32)
        if getattr(preset, "figures", None) == "imagenet-s":
            bands = count_bands(item.label, at_label)[classes].astype(np.int32)
    area = int(small.sum())
    return Observation(prototype, area, near, item.size, classes, counts, item.digest, np.packbits(mask), bands).item()


def _inside_outside(label: Label, mask: Image8, values: int) -> npt.NDArray[np.int64]:
    """`values`×2: how often each label value occurs under the mask and outside it."""
    wide: Any = np.uint16 if values <= 1 << 15 else np.uint32
    joint = np.bincount((label.astype(wide) * 2 + mask).reshape(-1), minlength=2 * values)
    return joint.reshape(values, 2)[:, ::-1]


def short_digest(digest: bytes) -> bytes:
    """16 bytes that stand for the hashes of an image's and its label's file contents."""
    return hashlib.sha256(digest).digest()[:16]
