"""The protocol `in-context`, from a plan to its result."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.base.errors import Warn
from bench.cards.datasets import DatasetCard
from bench.data.decoding import Label
from bench.data.samples import Samples, require_labelled_pixels
from bench.networks.subject import Subject
from bench.passes import tokens as token_pass
from bench.passes.features import Features, unit
from bench.passes.tokens import ImageTokens, Tokens
from bench.protocols import dense_crf, shared_by_crf, shared_by_pixel, shared_by_token
from bench.protocols.base import Protocol, Result, Run
from bench.protocols.in_context import scoring
from bench.protocols.in_context.bank import Bank, BankPass, drawn_images
from bench.protocols.in_context.preset import InContextPreset
from bench.protocols.in_context.search import Float32, Search
from bench.protocols.prediction_maps import Map
from bench.protocols.shared_by_crf import Refined
from bench.scoring import kmeans

BANK = "bank"
_ORDINARY = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The normalisation of most networks, which the preset's differs from by one digit only."""


@dataclass(frozen=True)
class Voter:
    """What gives images their labels by a bank."""

    search: Search
    shares: Any
    """M×C, as `Bank.shares`."""
    preset: InContextPreset

    def label_hat(self, image: ImageTokens) -> Float32:
        """N×C labels of an image's patches."""
        import torch

        queries = unit(torch.from_numpy(np.asarray(image.tokens, np.float32)), dim=1).numpy()
        cosines, places = self.search(queries, self.preset.neighbours)
        return scoring.label_hat(cosines, places, self.shares, self.preset.beta)

    def probabilities(self, image: ImageTokens) -> Float32:
        """C×H×W at the input size, `scoring.class_scores`: what a CRF starts from."""
        return scoring.class_scores(self.label_hat(image), image.grid, image.placed)

    def paint(self, image: ImageTokens) -> Map:
        """H×W classes at the input size."""
        return scoring.most_likely(self.label_hat(image), image.grid, image.placed)


class InContext(Protocol[InContextPreset]):
    """Labelled patches of one split give their labels to patches of another."""

    def settle(
        self, preset: InContextPreset, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]
    ) -> InContextPreset:
        """As it is; the CRF needs its library."""
        if preset.crf:
            dense_crf.require()
        return preset

    def splits(self, preset: InContextPreset, evaluated: str) -> dict[str, str]:
        """The bank's."""
        return {BANK: preset.bank}

    def check_split(self, part: str, preset: InContextPreset, found: Samples, evaluated: str, warn: Warn) -> None:
        """It must have labels, and as many images as are asked for."""
        super().check_split(part, preset, found, evaluated, warn)
        drawn_images(found, preset, 0)

    def measure(self, run: Run[InContextPreset]) -> Result:
        """Keep the tokens of the evaluated images, fill a bank for each seed, and let it label them."""
        preset, gpu = run.preset, _on_gpu(run)
        warn_of_normalisation(preset, run.subject, run.warn)
        features = functools.cache(run.pixels)
        banks = [fill(run, features, seed) for seed in _seeds(run)]
        tokens = shared_by_token.tokens_of(run, run.samples, features, "reading tokens")
        painted = []
        for bank in banks:
            start = functools.partial(_painter, functools.partial(voter, bank, gpu=gpu), preset.grid)
            found = shared_by_token.count(run, tokens, start, _label_of(run), _recipe(run, bank), "looking up patches")
            require_labelled_pixels(bool(found), run.samples)
            painted.append(found[0])
        scored = scoring.score(painted, preset, run.num_classes)
        refined = [_refined(run, tokens, bank, gpu=gpu) for bank in banks] if preset.crf else []
        if refined:
            without = {"mIoU_without_crf": scored.rows.figures(preset.resolved())["mIoU"]}
            painted = [one.painted for one in refined]
            scored = scoring.score(painted, preset, run.num_classes)
            scored = replace(scored, extra=scored.extra | without)

        def paint(seed: int, chosen: Sequence[int] | None) -> Iterator[Map]:
            classes, void = np.arange(run.num_classes), run.card.labels.ignore
            shown = (scored.mappings[seed] if scored.mappings else classes).astype(np.uint16)
            if refined:
                own = refined[seed].own_maps(chosen, len(shown))
                yield from (np.append(shown, np.uint16(void))[found] for found in own)
                return
            by = voter(banks[seed], gpu=gpu)
            yield from shared_by_token.paint_again(tokens, lambda image: shown[by.paint(image)], chosen, void)

        return shared_by_pixel.result(
            run,
            scored.rows,
            painted[0],
            _solver(preset, gpu),
            extra=scored.extra,
            mappings=scored.mappings,
            detail={"bank": _entry(banks), "pixels": {"of": run.subject.pixels_are(preset.features)}}
            | ({"crf": dense_crf.RECIPE} if refined else {}),
            paint=paint,
        )

    def cached(self, run: Run[InContextPreset]) -> str:
        """How many images of the bank, over all passes."""
        known, whole = _known(run)
        return f"{known} of {whole} images of the bank are cached, over all passes"

    def forwards(self, run: Run[InContextPreset]) -> int:
        """Those of the bank that are not in it yet, in each pass, and those evaluated whose tokens are not kept."""
        known, whole = _known(run)
        return whole - (0 if run.fresh else known) + shared_by_token.unseen(run, run.samples)

    def kept_bytes(self, run: Run[InContextPreset], width: int) -> int:
        """The rows of every bank, and all tokens of the evaluated images."""
        preset, cells = run.preset, shared_by_token.cells_of(run, run.preset.input)
        rows = sum(each.keep or cells for each in _passes(run) for _ in each.samples)
        stored = "float16" if preset.bank_type == "float16" else "float32"
        bank = token_pass.kept_bytes(width, 1, rows, stored)  # type: ignore[arg-type]
        return bank + token_pass.kept_bytes(width, cells, len(run.samples), "float32")


def warn_of_normalisation(preset: InContextPreset, subject: Subject, warn: Warn) -> None:
    """Say that the model states another normalisation than all networks get here, beyond the reference's surprise."""
    mean, std = (one or ordinary for one, ordinary in zip(subject.normalisation, _ORDINARY, strict=True))
    if preset.normalisation == "protocol" and (tuple(mean), tuple(std)) not in (_ORDINARY, (preset.mean, preset.std)):
        warn(
            f"{subject.id} states the normalisation {list(mean)}, {list(std)}, and in-context gives all models its own"
            " as the reference does; --set normalisation=model takes the model's"
        )


def fill(run: Run[InContextPreset], features: Callable[[], Features], seed: int) -> Bank:
    """The bank of a seed, from the cache or from the network, pass by pass. Raises BadInput as `Bank.require`."""
    samples, kept, found = drawn_images(run.plan.others[BANK], run.preset, seed), [], []
    for number in range(run.preset.passes):
        each = BankPass(samples, run.preset, seed, number)
        kept.append(each.store(run.cache, run.recipe(samples)))
        engine = run.on(f"filling the bank, pass {number + 1} of {run.preset.passes}")
        found.append(each.fill(features, kept[-1], engine, fresh=run.fresh))
    bank = Bank(samples, run.preset, tuple(kept), tuple(found))
    bank.require()
    return bank


def voter(bank: Bank, *, gpu: bool = False) -> Voter:
    """What labels images by this bank, whose rows are read now."""
    return Voter(bank.search(gpu=gpu), bank.shares(), bank.preset)


def _refined(run: Run[InContextPreset], tokens: Tokens, bank: Bank, *, gpu: bool) -> Refined:
    """What the CRF makes of the classes by one bank, on the picture as it is."""
    return shared_by_crf.refine(
        run,
        tokens,
        lambda: voter(bank, gpu=gpu).probabilities,
        _label_of(run),
        _recipe(run, bank),
        "true",
    )


def _painter(start: Callable[[], Voter], grid: str) -> Callable[[ImageTokens], Sequence[Map]]:
    by = start()

    def paint(image: ImageTokens) -> list[Map]:
        found = by.paint(image)
        return [image.placed.to_own(found, 0) if grid == "label" else found]

    return paint


def _label_of(run: Run[InContextPreset]) -> Callable[[ImageTokens], Label | None]:
    """What gives an image's label on the grid where pixels are counted."""
    ignored, ignore = run.preset.ignored, run.card.labels.ignore
    whole = shared_by_token.own_label(run.samples)

    def label(image: ImageTokens) -> Label | None:
        found = whole(image) if run.preset.grid == "label" else image.label
        return None if found is None else scoring.counted_label(found, ignored, ignore)

    return label


def _recipe(run: Run[InContextPreset], bank: Bank) -> dict[str, Any]:
    """All that decides maps and labels beside the tokens."""
    entries = run.preset.resolved()
    own = ("neighbours", "beta", "bank_type", "code_bytes", "ignored", "grid")
    return {"protocol": run.plan.base, "bank": bank.recipe()} | {key: entries[key] for key in own if key in entries}


def _seeds(run: Run[InContextPreset]) -> tuple[int, ...]:
    """Those of the plan; any one where nothing is drawn."""
    return run.plan.seeds or (0,)


def _passes(run: Run[InContextPreset]) -> Iterator[BankPass]:
    for seed in _seeds(run):
        samples = drawn_images(run.plan.others[BANK], run.preset, seed)
        yield from (BankPass(samples, run.preset, seed, number) for number in range(run.preset.passes))


def _known(run: Run[InContextPreset]) -> tuple[int, int]:
    """How many images of the bank are kept, and how many there are, over all passes that differ."""
    stores = {}
    for each in _passes(run):
        kept = each.store(run.cache, run.recipe(each.samples))
        stores[kept.folder] = (len(kept.known(each.samples.keys)), len(each.samples))
    return sum(known for known, _ in stores.values()), sum(whole for _, whole in stores.values())


def _entry(banks: Sequence[Bank]) -> dict[str, Any]:
    """What the record says of the bank, of the first seed's where there are several."""
    bank = banks[0]
    return {
        "split": bank.samples.split,
        "images": len(bank.samples),
        "entries": bank.size,
        "manifest": bank.manifest,
        "type": bank.preset.bank_type,
    }


def _on_gpu(run: Run[InContextPreset]) -> bool:
    return run.preset.bank_type != "quantised" and kmeans.use_gpu(run.engine.device)


def _solver(preset: InContextPreset, gpu: bool) -> dict[str, Any]:
    found = kmeans.exact_search(gpu=gpu)
    quantised = {"algorithm": "inner product with product codes"}
    return found | (quantised if preset.bank_type == "quantised" else {})
