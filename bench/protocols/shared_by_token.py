"""Painted tokens: shared by the protocols that stand on the kept features of every cell of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bench.base.packed_arrays import Ragged
from bench.base.sample_columns import Item
from bench.cards.presets import GeometryPreset
from bench.data.decoding import Label, read_label
from bench.data.samples import Samples
from bench.passes import tokens as token_pass
from bench.passes.cache import Column, ShardStore
from bench.passes.features import Features
from bench.passes.image_pass import run_pass
from bench.passes.tokens import ImageTokens, Stored, Tokens
from bench.protocols.base import Run
from bench.protocols.prediction_maps import Map
from bench.scoring.id_counts import Painted, contingency

P = TypeVar("P", bound=GeometryPreset)
PAINTED_VERSION = 1
"""Raised whenever what is kept here would be of another form."""
_NOTHING = "nothing"
_PATCH = 16
"""Pixels, where a network does not say."""
_COLUMNS = {"counts": Column("int64", (4,)), _NOTHING: Column("uint8")}


def store_of(run: Run[P], samples: Samples, stored: Stored = "float32") -> ShardStore:
    """Where the tokens of these samples are kept."""
    return token_pass.store(run.cache, run.recipe(samples), stored)


def kept_images(run: Run[P], samples: Samples, stored: Stored = "float32") -> int:
    """Of how many of these samples the tokens are kept."""
    return len(store_of(run, samples, stored).known(samples.keys))


def unseen(run: Run[P], samples: Samples, stored: Stored = "float32") -> int:
    """How many of these samples the network still has to see for their tokens."""
    return len(samples) - (0 if run.fresh else kept_images(run, samples, stored))


def cells_of(run: Run[P], size: tuple[int, int]) -> int:
    """About how many tokens an image of this size has: for estimates."""
    structure = run.subject.structure
    patch = (structure.patch if structure else None) or _PATCH
    return int(np.prod([-(-side // patch) for side in size]))


def own_label(samples: Samples) -> Callable[[ImageTokens], Label | None]:
    """What reads an image's label at its own size; None of one without a label."""
    labels = {sample.id: sample.label for sample in samples}

    def label(image: ImageTokens) -> Label | None:
        path = labels[image.id]
        return None if path is None else read_label(path, samples.card)[0]

    return label


def tokens_of(
    run: Run[P], samples: Samples, features: Callable[[], Features], stage: str, stored: Stored = "float32"
) -> Tokens:
    """The tokens of these samples, from the cache or from the network."""
    kept = store_of(run, samples, stored)
    return token_pass.fill(features, samples, run.preset, kept, run.on(stage), stored=stored, fresh=run.fresh)


def count(
    run: Run[P],
    tokens: Tokens,
    paint: Callable[[], Callable[[ImageTokens], Sequence[Map]]],
    label: Callable[[ImageTokens], Label | None],
    recipe: dict[str, Any],
    stage: str,
) -> list[Painted]:
    """What each of several classifiers painted, counted against labels; what was counted before is not done again.

    `paint()` gives what makes the maps of an image, one of each classifier; it is called only if an image is left.
    `label` is the image's label of the same size. `recipe` is all that decides the maps beside the tokens.
    """

    def paint_all(images: Iterator[ImageTokens]) -> Iterator[tuple[ImageTokens, Sequence[Map]]]:
        painter = paint()
        return ((image, painter(image)) for image in images)

    return count_stream(run, tokens, paint_all, label, recipe, stage)


def count_stream(
    run: Run[P],
    tokens: Tokens,
    paint_all: Callable[[Iterator[ImageTokens]], Iterator[tuple[ImageTokens, Sequence[Map]]]],
    label: Callable[[ImageTokens], Label | None],
    recipe: dict[str, Any],
    stage: str,
) -> list[Painted]:
    """As `count`, for classifiers that take many images at once: `paint_all` gives every image, in order, and its maps.

    It is called only if an image is left.
    """
    ignore = tokens.samples.card.labels.ignore
    whole = {"tokens": tokens.kept.folder.name, "painted": PAINTED_VERSION, "ignore": ignore} | recipe
    kept = ShardStore.for_recipe(run.cache, "painted", whole, _NOTHING, _COLUMNS)

    def make(todo: Sequence[int]) -> Iterator[Item]:
        for image, maps in paint_all(tokens.of(todo)):
            yield {"counts": counted(maps, label(image), ignore), _NOTHING: np.empty(0, np.uint8)}

    found, _ = run_pass(make, tokens.samples, kept, run.on(stage), fresh=run.fresh)
    counts = found["counts"]
    candidates = int(counts.flat[:, 0].max(initial=-1)) + 1
    return [painted_by(tokens, counts, candidate, tokens.meta) for candidate in range(candidates)]


def counted(maps: Sequence[Map], label: Label | None, ignore: int) -> npt.NDArray[np.int64]:
    """How often each id of each of several classifiers' maps meets each class: k×4, the classifier's number first."""
    tables = [np.empty((0, 4), np.int64)]
    for candidate, found in enumerate(maps):
        if label is not None:
            tables.append(np.insert(contingency(found, label, ignore), 0, candidate, axis=1))
    return np.concatenate(tables)


def painted_by(tokens: Tokens, counts: Ragged, candidate: int, meta: dict[str, Any]) -> Painted:
    """One classifier's part of what was `counted` on every image."""
    own = counts.where(counts.flat[:, 0] == candidate)
    return Painted(tokens.samples.ids, Ragged(own.flat[:, 1:], own.ends), tokens.manifest, meta)


def paint_again(
    tokens: Tokens, paint: Callable[[ImageTokens], Map], chosen: Sequence[int] | None, void: int
) -> Iterator[Map]:
    """Maps at the images' own size, of all or of those at these places; `void` where the input did not reach."""
    for image in tokens if chosen is None else tokens.of(chosen):
        yield image.placed.to_own(paint(image), void)
