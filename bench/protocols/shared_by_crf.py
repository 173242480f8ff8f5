"""Refined tokens: shared by the protocols on tokens whose class or cluster scores a dense CRF refines.

See docs/protocols.md#dense-crf. The network is not seen again: scores come from the kept tokens, pictures from their
files. The CRF takes seconds an image, so images go side by side, and the refined maps are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from bench.base.parallel import prefetch
from bench.base.sample_columns import Item
from bench.cards.presets import GeometryPreset
from bench.data.decoding import Label, read_image_of
from bench.data.preprocessing import to_input
from bench.data.samples import Sample
from bench.passes.cache import Column, ShardStore
from bench.passes.classify import MAP, decode_map, encode_map
from bench.passes.image_pass import run_pass
from bench.passes.tokens import ImageTokens, Tokens
from bench.protocols import dense_crf
from bench.protocols.base import Run
from bench.protocols.dense_crf import Image8, Probabilities
from bench.protocols.prediction_maps import Map
from bench.protocols.shared_by_token import counted, painted_by
from bench.scoring.id_counts import Painted

P = TypeVar("P", bound=GeometryPreset)
Picture = Literal["recovered", "true"]
"""What the CRF sees: the picture as it is, or as `bench.protocols.dense_crf.recovered` from the network's input."""
REFINED_VERSION = 1
"""Raised whenever this pass would give other numbers or files."""
_COLUMNS = {"counts": Column("int64", (4,)), MAP: Column("uint8")}


@dataclass(frozen=True)
class Refined:
    """What the CRF made of one classifier's scores."""

    painted: Painted
    tokens: Tokens
    kept: ShardStore

    def maps(self, chosen: Sequence[int] | None = None) -> Iterator[Map]:
        """The maps of ids at the input size, of all images or of those at these places, which must ascend."""
        return map(decode_map, self.kept.iterate_apart(self.tokens.samples.keys, chosen))

    def own_maps(self, chosen: Sequence[int] | None, void: int) -> Iterator[Map]:
        """The same at the images' own size; `void` where the input did not reach."""
        places = range(len(self.tokens.samples)) if chosen is None else chosen
        for at, found in zip(places, self.maps(chosen), strict=True):
            yield self.tokens.placed(at).to_own(found, void)


def refine(
    run: Run[P],
    tokens: Tokens,
    probabilities: Callable[[], Callable[[ImageTokens], Probabilities]],
    label: Callable[[ImageTokens], Label | None],
    recipe: dict[str, Any],
    picture: Picture = "recovered",
    stage: str = "dense CRF",
) -> Refined:
    """What a dense CRF makes of every image's class or cluster probabilities, counted against labels.

    `probabilities()` gives what makes C×H×W float32 of an image, H×W being its input's size (`Placement.input`); it is
    called only if an image is left to do. `label` is the image's label of the same size. `recipe` is all that decides
    the probabilities beside the tokens.
    """
    samples, ignore = tokens.samples, tokens.samples.card.labels.ignore
    whole = {"tokens": tokens.kept.folder.name, "refined": REFINED_VERSION, "ignore": ignore}
    whole |= {"crf": dense_crf.RECIPE, "picture": picture} | recipe
    kept = ShardStore.for_recipe(run.cache, "refined", whole, MAP, _COLUMNS)

    def make(todo: Sequence[int]) -> Iterator[Item]:
        scores, of_id = probabilities(), {samples.ids[at]: samples.entries[at] for at in todo}
        workers = max(1, run.engine.workers)
        with dense_crf.processes(workers) as crf, ThreadPoolExecutor(workers, "bench-crf") as pool:

            def one(image: ImageTokens) -> Item:
                found = crf(picture_of(of_id[image.id], run.preset, picture), scores(image))
                return {"counts": counted([found], label(image), ignore), MAP: encode_map(found)}

            try:
                yield from prefetch(pool, one, tokens.of(todo), depth=2 * workers)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    found, meta = run_pass(make, samples, kept, run.on(stage), fresh=run.fresh)
    return Refined(painted_by(tokens, found["counts"], 0, tokens.meta | {"refined": meta["fresh"]}), tokens, kept)


def picture_of(sample: Sample, preset: GeometryPreset, picture: Picture) -> Image8:
    """A sample's picture at its input's size, H×W×3 uint8, as the CRF sees it."""
    shown = np.clip(np.rint(to_input(read_image_of(sample)[0], preset)), 0, 255).astype(np.uint8)
    return dense_crf.recovered(shown, preset.mean, preset.std) if picture == "recovered" else shown
