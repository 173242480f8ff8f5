"""The bank: one pass over labelled images that keeps the patches that are taken, and what is in them.

See docs/protocols.md#in-context. A pass keeps nothing of other patches, so memory and cache hold the bank alone.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts are loaded when they are used

from bench.base.errors import BadInput
from bench.base.packed_arrays import stacked
from bench.base.sample_columns import Columns, Item
from bench.data.decoding import read_sample
from bench.data.placement import place
from bench.data.preprocessing import label_to_input, to_input
from bench.data.samples import Sample, Samples
from bench.passes.cache import DIGEST, Column, ShardStore
from bench.passes.engine import Engine
from bench.passes.features import Features, unit
from bench.passes.forward import features_of
from bench.passes.image_pass import Loaded, pass_over_images, short_digest
from bench.passes.observations import manifest_of
from bench.passes.tokens import SHARD
from bench.protocols.in_context import augmentation, search
from bench.protocols.in_context.patches import bank_label, choose, patch_counts, patch_scores, patches_per_image
from bench.protocols.in_context.preset import InContextPreset
from bench.protocols.in_context.search import Floats, Search

if TYPE_CHECKING:
    from torch import Tensor

BANK_VERSION = 1
"""Raised whenever this pass would give other numbers or files."""
ROWS = "rows"
_OF_PATCHES = ("void", "augmentation", "jitter", "jitter_probability", "crop_area", "crop_aspect", "sampling")
_CROPS, _PATCHES, _SHOTS = 0, 1, 2  # keep the random streams apart


def drawn_images(samples: Samples, preset: InContextPreset, seed: int) -> Samples:
    """The images of the bank under a seed: all, or as many as `shots` says, in their order.

    Raises BadInput where there are fewer.
    """
    if preset.shots is None:
        return samples
    wanted = preset.shots if isinstance(preset.shots, int) else max(1, round(preset.shots * len(samples)))
    if wanted > len(samples):
        raise BadInput(
            f"shots = {wanted} asks for more images than the {len(samples)} of {samples.split}",
            f"Use --set shots={len(samples)} or fewer, or leave it out for all.",
        )
    chosen = np.random.default_rng([seed, _SHOTS]).permutation(len(samples))[:wanted]
    return samples.only(np.sort(chosen).tolist())


@dataclass(frozen=True)
class BankPass:
    """One pass of one seed over the bank's images: how it is made, and where it is kept."""

    samples: Samples
    preset: InContextPreset
    seed: int
    number: int
    """Of the pass, from 0."""

    @property
    def keep(self) -> int | None:
        """How many patches of each image are taken."""
        return patches_per_image(self.preset.memory, len(self.samples), self.preset.passes)

    def store(self, cache: Path, recipe: dict[str, Any]) -> ShardStore:
        """Where its rows are kept; `recipe` is all that decides what the network sees, but for the draws."""
        entries, stored = self.preset.resolved(), self.stored
        own = {key: entries[key] for key in _OF_PATCHES if key in entries}
        if self.preset.augmentation != "none" or self.keep is not None:  # else all passes are one
            own |= {"seed": self.seed, "pass": self.number, "keep": self.keep}
        columns = {
            "counts": Column("int32", (3,)),
            "patches": Column("int32"),
            "labelled": Column("int64", rows=1),
            "digest": DIGEST,
            ROWS: Column(stored, (None,), like="patches"),
        }
        recipe = recipe | own | {"stored": stored, "bank": BANK_VERSION}
        return ShardStore.for_recipe(cache, "bank", recipe, ROWS, columns, SHARD)

    @property
    def stored(self) -> str:
        """The type of its rows."""
        return "float16" if self.preset.bank_type == "float16" else "float32"

    def random(self, stream: int, sample: Sample) -> np.random.Generator:
        """What an image's draws of one kind come from: they depend on nothing but the image's id, seed and pass."""
        words = np.frombuffer(hashlib.sha256(sample.id.encode()).digest()[:16], np.uint32)
        return np.random.default_rng([self.seed, self.number, stream, *words.tolist()])

    def load(self, sample: Sample) -> Loaded:
        """An image and its label as the network sees them, both at the input size."""
        image, label, digest = read_sample(sample, self.samples.card)
        if label is None or self.preset.augmentation == "none":
            own = label_to_input(label, self.preset) if label is not None else None
            return Loaded(sample, to_input(image, self.preset), own, image.shape[:2], short_digest(digest))
        size = (image.shape[0], image.shape[1])
        drawn = augmentation.draw(self.random(_CROPS, sample), size, self.preset)
        picture = augmentation.crop_image(augmentation.jittered(image, drawn.amounts), drawn.crop, self.preset.input)
        cropped = augmentation.crop_label(label, drawn.crop, self.preset.input)
        return Loaded(sample, picture, cropped, size, short_digest(digest))

    def item(self, loaded: Loaded, feature: Tensor) -> Item:
        """What is kept of an image with features D×h×w: its rows, L2-normalised, and the pixels of their classes."""
        ignore, classes = self.samples.card.labels.ignore, len(self.samples.card.classes)
        counts, labelled = np.zeros((feature[0].numel(), classes), np.int64), 0
        if loaded.label is not None:
            placed, grid = place(loaded.size, self.preset), (feature.shape[1], feature.shape[2])
            counts = patch_counts(bank_label(loaded.label, ignore, self.preset.void, placed), grid, classes)
            labelled = int((loaded.label != ignore).sum())
        uniform = self.random(_PATCHES, loaded.sample).random(len(counts), np.float32)
        chosen = choose(patch_scores(counts, self.preset.sampling), uniform, self.keep)
        rows = unit(feature.flatten(1).T[chosen.tolist()].float(), dim=1).cpu().numpy()
        patch, class_ = np.nonzero(counts[chosen])
        return {
            "counts": np.stack([patch, class_, counts[chosen][patch, class_]], axis=1).astype(np.int32),
            "patches": chosen.astype(np.int32),
            "labelled": np.array([labelled], np.int64),
            "digest": np.frombuffer(loaded.digest, np.uint8),
            ROWS: rows.astype(self.stored),
        }

    def fill(
        self, features: Callable[[], Features], kept: ShardStore, engine: Engine, *, fresh: bool = False
    ) -> Columns:
        """What is kept of all images, without the rows; only images that `kept` lacks are looked at.

        `features` gives B×D×h×w, and is called only if there is something to look at.
        """

        def start() -> Callable[[Sequence[Loaded]], list[Tensor]]:
            return functools.partial(features_of, extract=features(), preset=self.preset, engine=engine)

        found, _ = pass_over_images(
            start, self.item, self.samples, self.preset, kept, engine, fresh=fresh, load=self.load
        )
        return found


@dataclass(frozen=True)
class Bank:
    """The patches of all passes of a seed: rows picture after picture, pass after pass."""

    samples: Samples
    preset: InContextPreset
    kept: tuple[ShardStore, ...]
    """Of each pass."""
    found: tuple[Columns, ...]
    """Of each pass, as `BankPass.fill` gives it."""

    @property
    def size(self) -> int:
        """M, its rows."""
        return sum(len(one["patches"].flat) for one in self.found)

    @property
    def manifest(self) -> str:
        """SHA-256 over the images and labels that were seen."""
        return manifest_of(self.samples.ids, (digest.tobytes() for digest in self.found[0]["digest"]))

    def recipe(self) -> dict[str, Any]:
        """What stands for all of it, as plain JSON values."""
        return {"stores": [one.folder.name for one in self.kept], "manifest": self.manifest, "rows": self.size}

    def require(self) -> None:
        """Raises BadInput for a bank without a labelled pixel, and for one with fewer patches than neighbours."""
        if not any(one["labelled"].flat.any() for one in self.found):
            raise BadInput(
                f"no pixel of the {len(self.samples)} images of {self.samples.split} is labelled: all are void",
                "Name another split with --set bank=…; in-context needs a labelled bank.",
            )
        if self.size < self.preset.neighbours:
            raise BadInput(
                f"the bank has {self.size} patches, and neighbours = {self.preset.neighbours} asks for more",
                f"Use --set neighbours={self.size} or fewer, more images, or a larger --set memory=N.",
            )

    def shares(self) -> scipy.sparse.csr_array:
        """M×C float32: the share of each class among the counted pixels of each row's patch."""
        rows, classes, pixels = [], [], []
        start = 0
        for found in self.found:
            counts, patches = found["counts"], found["patches"]
            first = np.repeat(start + patches.ends - patches.lengths, counts.lengths)
            rows.append(first + counts.flat[:, 0])
            classes.append(counts.flat[:, 1])
            pixels.append(counts.flat[:, 2])
            start += len(patches.flat)
        row, pixel = np.concatenate(rows), np.concatenate(pixels)
        whole = np.bincount(row, pixel, minlength=self.size)
        values = (pixel / whole[row]).astype(np.float32)
        shape = (self.size, len(self.samples.card.classes))
        return scipy.sparse.coo_array((values, (row, np.concatenate(classes))), shape=shape).tocsr()

    def parts(self) -> Iterator[Floats]:
        """Its rows, image by image; one shard is in memory at a time."""
        for kept in self.kept:
            yield from (part for part in kept.iterate_apart(self.samples.keys) if len(part))

    def rows(self) -> Floats:
        """All its rows, M×D, put in their place one by one."""
        return stacked(self.parts(), self.size)

    def search(self, *, gpu: bool = False) -> Search:
        """What looks its rows up, as the preset keeps them."""
        if self.preset.bank_type != "quantised":
            return search.exact(self.rows(), gpu=gpu)
        width = next(self.parts()).shape[1]
        return search.quantised(self.parts, self.size, width, self.preset.code_bytes)
