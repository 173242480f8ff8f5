"""Pairs of views: which images take part, and the batches of a training run."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.base.errors import BadInput, Warn
from bench.cards.recipes import Recipe
from bench.data.decoding import read_image_of
from bench.data.picture_files import Image8
from bench.data.samples import Sample
from bench.pretrain.views import Random, View, draw_view
from bench.priors import Priors, read_mask
from bench.priors.masks import Mask

ATTEMPTS = 3
"""Failures after which another image is drawn (docs/pre-training.md#the-method)."""
OTHER_IMAGES = 100
"""Other images drawn before giving up."""
RESIDENT_BYTES = 1 << 30
"""Decoded images are kept in memory where all of them take no more than this."""
AHEAD = 2
"""Batches prepared ahead of the one in use."""
_ORDER, _VIEWS = 0, 1  # keep the random streams of epochs and of images apart


class Batch(NamedTuple):
    """Two views of each image of one rank's share of a batch."""

    query: Tensor
    key: Tensor
    """B×3×S×S float32."""
    query_masks: Tensor
    key_masks: Tensor
    """B×S×S bool."""


class Pairs:
    """The images that have a mask, and pairs of views of them."""

    def __init__(self, samples: Sequence[Sample], priors: Priors, recipe: Recipe, workers: int, warn: Warn) -> None:
        """Opens every image and mask once. Raises BadInput for a damaged file or a mask of another size."""
        self.recipe = recipe
        self.priors = priors
        self._decoded: dict[str, tuple[Image8, Mask]] = {}
        cv2.setNumThreads(1)  # the pool's threads are the parallelism
        with ThreadPoolExecutor(workers) as pool:
            examined = list(pool.map(self._examine, samples))
        self.samples = tuple(sample for sample, (size, _) in zip(samples, examined, strict=True) if size)
        empty = [sample.id for sample, (size, _) in zip(samples, examined, strict=True) if not size]
        self.manifest = hashlib.sha256(b"".join(digest for size, digest in examined if size)).hexdigest()
        """SHA-256 over ids, image files and masks of all that take part."""
        if not self.samples:
            raise BadInput(
                f"all {len(samples)} masks in {priors.folder} are background",
                "Write foreground as 255; every other value is background.",
            )
        if empty:
            warn(f"{named(empty)} without foreground in the mask: skipped")
        if len(self.samples) < recipe.batch:
            raise BadInput(
                f"{len(self.samples)} images with a mask are fewer than a batch of {recipe.batch}",
                "Use more images, or a smaller batch with --set batch=… (and queue=…).",
            )
        if sum(size for size, _ in examined) > RESIDENT_BYTES:
            self._decoded.clear()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the rest of the images is left out of it."""
        return len(self) // self.recipe.batch

    def _examine(self, sample: Sample) -> tuple[int, bytes]:
        """The decoded bytes of an image and its mask, 0 where the mask is background only; and their hash."""
        image, digest = read_image_of(sample)
        mask = read_mask(self.priors.path(sample), image.shape[:2])
        size = image.nbytes + mask.nbytes if mask.any() else 0
        if 0 < (len(self._decoded) + 1) * size <= RESIDENT_BYTES:
            self._decoded[sample.id] = image, mask
        return size, hashlib.sha256(sample.id.encode() + b"\0" + digest + mask.tobytes()).digest()

    def _read(self, sample: Sample) -> tuple[Image8, Mask]:
        known = self._decoded.get(sample.id)
        if known is not None:
            return known
        image, _ = read_image_of(sample)
        return image, read_mask(self.priors.path(sample), image.shape[:2])

    def draw(self, index: int, random: Random) -> tuple[View, View]:
        """Two views of an image whose masks both cover a fair share; after three failures, of another image.

        Raises BadInput where no image gives such a pair.
        """
        low, high = self.recipe.foreground
        for _ in range(OTHER_IMAGES):
            image, mask = self._read(self.samples[index])
            for _ in range(ATTEMPTS):
                pair = draw_view(image, mask, self.recipe, random), draw_view(image, mask, self.recipe, random)
                if all(low < view.mask.mean() < high for view in pair):
                    return pair
            index = int(random.integers(len(self)))
        raise BadInput(
            f"no crop whose mask covers between {low:.0%} and {high:.0%} was found in {OTHER_IMAGES} images",
            "Check that the masks are those of these images, or change the bounds with --set foreground='[…, …]'.",
        )


def named(ids: Sequence[str]) -> str:
    """`3 images (a, b, c)`: how many there are, and the first of them by name."""
    first = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    return f"{len(ids)} image{'s' if len(ids) > 1 else ''} ({first})"


def epoch_order(images: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of the images in one epoch.

    Each epoch is shuffled anew. The reference shuffles alike in every epoch, because its sampler is never told
    the epoch (docs/pre-training.md#the-method): a difference that is meant.
    """
    return _generator(seed, _ORDER, epoch).permutation(images)


def _generator(*keys: int) -> Random:
    """A random stream of its own; PCG64 named outright since numpy may change its default."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(keys)))


def batches(pairs: Pairs, seed: int, first: int, last: int, rank: int, world: int, workers: int) -> Generator[Batch]:
    """The batches of steps `first` to `last` (exclusive), prepared ahead by `workers` threads.

    A batch is a function of (seed, step, rank, world) alone, so a run that is resumed sees what it would
    have seen.
    """
    share = pairs.recipe.batch // world

    def indices(step: int) -> npt.NDArray[np.int64]:
        epoch, position = divmod(step, pairs.steps_per_epoch)
        start = position * pairs.recipe.batch + rank * share
        return epoch_order(len(pairs), seed, epoch)[start : start + share]

    def draw(step: int, index: int) -> tuple[View, View]:
        return pairs.draw(index, _generator(seed, _VIEWS, step // pairs.steps_per_epoch, index))

    ahead: deque[list[Future[tuple[View, View]]]] = deque()
    with ThreadPoolExecutor(workers, "bench-views") as pool:
        try:
            for step in range(first, last):
                ahead.append([pool.submit(draw, step, int(index)) for index in indices(step)])
                if len(ahead) > AHEAD:
                    yield _collate([future.result() for future in ahead.popleft()])
            while ahead:
                yield _collate([future.result() for future in ahead.popleft()])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _collate(pairs: Sequence[tuple[View, View]]) -> Batch:
    images = [torch.from_numpy(np.stack([pair[i].image for pair in pairs])) for i in (0, 1)]
    masks = [torch.from_numpy(np.stack([pair[i].mask for pair in pairs])) for i in (0, 1)]
    return Batch(images[0], images[1], masks[0], masks[1])
