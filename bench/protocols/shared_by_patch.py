"""Labelled patches: shared by the protocols that learn from a bank of tokens with the labels below them.

Classes and void are numbered in one order, so that ties fall as they do in files where void is the first or the last id
(`rank`). Tokens are read again image by image; only the labels of the bank's patches are kept, in a file that the
system pages.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput, Warn, WrongName, unknown_name
from bench.base.own_files import load_json, save_json
from bench.cards.local_files import card_name
from bench.data.decoding import Label
from bench.data.samples import Samples
from bench.passes import tokens as token_pass
from bench.passes.features import EQUAL, LOADED, Features
from bench.passes.tokens import ImageTokens, Tokens
from bench.protocols import shared_by_token
from bench.protocols.bank_preset import BankPreset
from bench.protocols.base import Protocol, Run
from bench.scoring.metrics import confusion_sums, from_sums
from bench.scoring.neighbours import Float32, Scaling
from bench.scoring.patch_labels import join_patches, majority, split_patches

P = TypeVar("P", bound=BankPreset)
BANK, VAL = "bank", "val"
BANK_VERSION = 1
"""Raised whenever the same bank would give other figures."""
CHUNK = 1 << 15
"""Rows of the bank that are read at once."""
Int64 = npt.NDArray[np.int64]
Ids = npt.NDArray[Any]


# --- classes and void in one order ---


@dataclass(frozen=True)
class Order:
    """How classes and void are numbered: by the ids that files have, of which the smallest wins a tie."""

    classes: int
    ignore: int
    first: bool = False
    """Whether void comes before the classes."""
    void_classes: tuple[int, ...] = ()
    """Classes that are void as labels, and keep their own place in the order."""

    @property
    def void(self) -> int:
        """Void's rank."""
        return 0 if self.first else self.classes

    def is_void(self, ranks: Ids) -> npt.NDArray[np.bool_]:
        """Which ranks are no label."""
        return np.isin(ranks, [self.void, *(one + self.first for one in self.void_classes)])

    def counted(self, label: Label | None) -> Label | None:
        """A label with the ignore id where nothing is counted."""
        if label is None or not self.void_classes:
            return label
        return np.where(np.isin(label, self.void_classes), self.ignore, label).astype(label.dtype)

    def rank(self, label: Label) -> Ids:
        """Class ids and the ignore id as ranks, 0 to the number of classes; uint8 where they fit."""
        kind = np.uint8 if self.classes < 256 else np.uint16
        return np.where(label == self.ignore, self.void, label.astype(np.int64) + self.first).astype(kind)

    def classes_of(self, ranks: Ids) -> Ids:
        """Ranks as class ids again; void is the number of classes, which rows take for a prediction of no class."""
        found = ranks.astype(np.uint16)
        return np.where(found == self.void, self.classes, found - self.first).astype(np.uint16)


def order_of(run: Run[P]) -> Order:
    """That of the run's data set. Raises WrongName for a void class that is none of its classes."""
    names = list(run.card.classes)
    if unknown := [name for name in run.preset.void_classes if name not in names]:
        raise unknown_name("class", unknown[0], names, f"bench show {shlex.quote(card_name(run.card))}")
    void = tuple(names.index(name) for name in run.preset.void_classes)
    return Order(run.num_classes, run.card.labels.ignore, run.preset.void_order == "first", void)


# --- patches of an image ---


def patches_of(image: ImageTokens, order: Order) -> Ids:
    """The ranks of each token's pixels, N×P. Raises BadInput where a cell of the grid is no whole patch."""
    assert image.label is not None
    label = image.placed.filled_up(order.rank(image.label), order.void)
    try:
        return split_patches(label, image.grid)
    except ValueError as error:
        raise BadInput(
            f"the label of {image.id} cannot be cut into patches: {error}",
            "Give an input that is a multiple of the network's stride with --set input=[…,…].",
        ) from error


def map_of(patches: Ids, image: ImageTokens, order: Order) -> Ids:
    """Ranks of an image's patches, N×P or N×1, as class ids at the input size."""
    return order.classes_of(join_patches(patches, image.grid, image.placed.padded)[image.placed.inside])


# --- the bank, and what settings are chosen on ---


@dataclass(frozen=True)
class Part:
    """Some images of a split."""

    tokens: Tokens
    places: Int64

    def images(self) -> Iterator[ImageTokens]:
        """With their tokens."""
        return self.tokens.of(self.places.tolist())

    def labelled(self) -> Iterator[ImageTokens]:
        """Without their tokens: nothing is read."""
        return self.tokens.bare(self.places.tolist())


class Bank:
    """Labelled patches of some images: the tokens whose most frequent label is a class.

    Raises BadInput where there is none.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        order: Order,
        scaling: Scaling | None,
        folder: Path,
        *,
        every: int = 1,
        pixels: bool = True,
        void_votes: bool = True,
    ) -> None:
        self.parts, self.order, self.scaling = parts, order, scaling
        self.kept: list[npt.NDArray[np.bool_]] = []
        """Of each image, which of its tokens are in the bank."""
        majorities: list[Ids] = []
        with tempfile.TemporaryFile(dir=folder) as file:  # it has no name, so a killed run leaves nothing
            self.width, seen, rows = 0, 0, 0
            for image in (image for part in parts for image in part.labelled()):
                patches = patches_of(image, order) if image.label is not None else None
                kept = np.zeros(image.grid[0] * image.grid[1], np.bool_)
                if patches is not None:
                    most = majority(patches)
                    kept = ~order.is_void(most) & ((seen + np.arange(len(most))) % every == 0)
                    self.width = self._same_width(patches.shape[1], image.id)
                    majorities.append(most[kept].astype(patches.dtype))
                    if not void_votes:
                        patches = np.where(order.is_void(patches), order.void, patches).astype(patches.dtype)
                    if pixels:
                        file.write(np.ascontiguousarray(patches[kept]).tobytes())
                self.kept.append(kept)
                seen, rows = seen + len(kept), rows + int(kept.sum())
            if not rows:
                raise _no_patch(parts)
            self.majority: Ids = np.concatenate(majorities)
            """M: the most frequent rank of each row."""
            self.pixels: Ids | None = None
            """M×P: the ranks of each row's pixels, in a file."""
            if pixels:
                file.flush()
                self.pixels = np.memmap(file, self.majority.dtype, "r", shape=(rows, self.width))

    def _same_width(self, width: int, name: str) -> int:
        if self.width not in (0, width):
            raise BadInput(
                f"a patch of {name} has {width} pixels, others have {self.width}",
                "Use a fit that gives every image the same grid, such as --set fit=squash.",
            )
        return width

    def __len__(self) -> int:
        return len(self.majority)

    def rows(self, chunk: int = CHUNK) -> Iterator[Float32]:
        """The tokens, scaled, M×D in all, about so many at a time."""
        held: list[Float32] = []
        images = (image for part in self.parts for image in part.images())
        for image, kept in zip(images, self.kept, strict=True):
            if kept.any():
                held.append(scaled(image.tokens[kept], self.scaling))
            if sum(map(len, held)) >= chunk:
                yield np.concatenate(held)
                held = []
        if held:
            yield np.concatenate(held)


def scaled(tokens: npt.NDArray[Any], scaling: Scaling | None) -> Float32:
    """Tokens N×D as they are compared, float32."""
    return tokens.astype(np.float32) if scaling is None else scaling(tokens)


def _no_patch(parts: Sequence[Part]) -> BadInput:
    samples = parts[0].tokens.samples
    images = sum(len(part.places) for part in parts)
    return BadInput(
        f"none of the {images} images of {samples.split} that make the bank has a patch whose most frequent label is "
        "a class",
        "Name a split with labels with --set bank=…, or take more of its images.",
    )


def draw_val(images: int, share: float, seed: int) -> tuple[Int64, Int64]:
    """Which of the bank's images stay in it, and which settings are chosen on, both ascending.

    The reference draws a tenth by numpy's global generator in the order of the file system, which nobody can repeat:
    this draw, of a seed and the order of ids, is ours.
    """
    drawn = np.random.default_rng(seed).permutation(images)
    count = max(1, round(share * images))
    return np.sort(drawn[count:]), np.sort(drawn[:count])


def chosen_by_miou(figures: dict[str, float]) -> str:
    """The setting of the largest mIoU; the first of those that share it."""
    return max(figures, key=lambda name: figures[name])


def miou(tables: Sequence[Int64], absent: str) -> list[float]:
    """mIoU, percent, of (C+1)×C tables of pixels, predicted × true."""
    return [float(from_sums(confusion_sums(table), absent)["mIoU"]) for table in tables]


def add_to_table(table: Int64, found: Ids, label: Ids, ignore: int) -> None:
    """Count an image's predicted class ids, void as the number of classes, against its label."""
    classes = table.shape[1]
    kept = label != ignore
    pairs = found[kept].astype(np.int64) * classes + label[kept]
    table += np.bincount(pairs, minlength=table.size).reshape(table.shape)


def require_counted(table: Int64) -> None:
    """Raises BadInput for a table of images without anything to count."""
    if not table.any():
        raise BadInput(
            "the images on which settings are chosen have nothing that is labelled",
            "Name a split with labels with --set val=…, or draw others with --set val_seed=….",
        )


# --- what the protocols' runs share ---


class BankProtocol(Protocol[P]):
    """A protocol that learns from a bank of patches, with settings chosen on images with labels."""

    def splits(self, preset: P, evaluated: str) -> dict[str, str]:
        """The bank's, and that on which settings are chosen, if it has a name."""
        return {BANK: preset.bank} | ({VAL: preset.val} if preset.val is not None else {})

    def check_split(self, part: str, preset: P, found: Samples, evaluated: str, warn: Warn) -> None:
        """The images that settings are chosen on must not be those of the bank."""
        if part == VAL and preset.val == preset.bank:
            raise WrongName(
                f"val = {preset.val} is the bank's split too: every patch would find itself",
                "Leave val out: a share of the bank's images is then drawn.",
            )
        super().check_split(part, preset, found, evaluated, warn)

    def forwards(self, run: Run[P]) -> int:
        """The images whose tokens are not kept yet."""
        return sum(shared_by_token.unseen(run, one) for one in (run.samples, *_others(run)))

    def cached(self, run: Run[P]) -> str:
        """How many images' tokens."""
        every = (run.samples, *_others(run))
        known = sum(shared_by_token.kept_images(run, one) for one in every)
        return f"tokens of {known} of {sum(map(len, every))} images are cached"

    def kept_bytes(self, run: Run[P], width: int) -> int:
        """All tokens."""
        images = len(run.samples) + sum(map(len, _others(run)))
        return token_pass.kept_bytes(width, shared_by_token.cells_of(run, run.preset.input), images, "float32")


def bank_samples(run: Run[P]) -> Samples:
    """The images of the bank's split that are used."""
    return run.plan.others[BANK].first(run.preset.bank_images)


def _others(run: Run[P]) -> list[Samples]:
    return [bank_samples(run), *([run.plan.others[VAL]] if VAL in run.plan.others else [])]


@dataclass(frozen=True)
class Material:
    """What a run learns from."""

    train: Part
    val: Part

    @property
    def parts(self) -> list[Part]:
        """Both."""
        return [self.train, self.val]

    def digest(self, recipe: dict[str, Any]) -> str:
        """SHA-256, hexadecimal, of everything that decides what is learnt."""
        told = [recipe, BANK_VERSION, *((part.tokens.manifest, part.places.tolist()) for part in self.parts)]
        stores = [part.tokens.kept.folder.name for part in self.parts]
        return hashlib.sha256(json.dumps([told, stores], sort_keys=True).encode()).hexdigest()


def material_of(run: Run[P], features: Callable[[], Features]) -> Material:
    """The tokens of the bank and of the images that settings are chosen on.

    Raises BadInput for a bank of one image without another split to choose on.
    """
    samples = bank_samples(run)
    if VAL in run.plan.others:
        own = run.plan.others[VAL]
        bank, val = (shared_by_token.tokens_of(run, one, features, "reading the bank") for one in (samples, own))
        return Material(Part(bank, np.arange(len(samples))), Part(val, np.arange(len(own))))
    if len(samples) < 2:
        raise BadInput(
            f"the bank is one image of {samples.split}: none is left to choose settings on",
            "Use more images, or name a split with --set val=….",
        )
    bank = shared_by_token.tokens_of(run, samples, features, "reading the bank")
    stay, drawn = draw_val(len(samples), run.preset.val_share, run.preset.val_seed)
    return Material(Part(bank, stay), Part(bank, drawn))


def scaling_of(material: Material, preset: BankPreset) -> Scaling | None:
    """Of all tokens of the bank's images, without those that settings are chosen on; None where none is asked for.

    Raises BadInput where all features are one and the same.
    """
    scaling = Scaling.of(image.tokens for image in material.train.images())
    if scaling.deviation.max(initial=0) <= EQUAL * np.abs(scaling.mean).max(initial=0):
        split = material.train.tokens.samples.split
        raise BadInput(f"the network gives the same features everywhere in the bank's images of {split}", LOADED)
    return scaling if preset.standardise else None


def remembered(run: Run[P], kind: str, digest: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, plain JSON values; what is kept under this digest is not made again."""
    path = run.cache / kind / f"{digest[:24]}.json"
    known = None if run.fresh else load_json(path)
    if known is None:
        known = make()
        save_json(path, known)
    return known


def describe(run: Run[P], material: Material, learnt: dict[str, Any]) -> dict[str, Any]:
    """What the record says of the bank, and of how settings were chosen."""
    bank, val = material.train.tokens, material.val
    split = run.preset.val or f"{len(val.places)} of {len(bank.samples)} images of {run.preset.bank}, by seed"
    entry = {"split": run.preset.bank, "images": len(bank.samples), "entries": learnt["entries"]}
    selected = {"on": split, "mIoU": learnt["figures"], "chosen": learnt["chosen"]}
    if VAL in run.plan.others:
        selected |= {"split": run.preset.val, "images": len(val.places), "manifest": val.tokens.manifest}
    return {"bank": entry | {"manifest": bank.manifest}, "selected_on": selected}
