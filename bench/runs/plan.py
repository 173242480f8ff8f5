"""Plan: everything that is decided before the work begins, from names and options to files and preset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import Warn, WrongName
from bench.base.files import cache_folder, require_writable
from bench.base.parallel import default_workers
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.presets import FIRST_SEED, Preset, fingerprint, override
from bench.data.find_samples import find_samples
from bench.data.first_look import oddities
from bench.data.samples import Samples, without_label
from bench.networks.find_model import find_model, from_module, is_module, require_known, restate
from bench.networks.subject import Subject
from bench.passes.engine import Engine, choose_device, tried
from bench.protocols import registry
from bench.protocols.base import Plan, Protocol, Run, Settings
from bench.runs.fit_to_model import decided, fit_to_model, said_of
from bench.runs.for_photos import warn_of_generated
from bench.runs.needed_splits import require_splits, runnable

if TYPE_CHECKING:
    from torch import nn


def make_plan(
    model: str | Path | nn.Module,
    dataset: str,
    protocol: str,
    settings: Settings,
    warn: Warn,
    *,
    for_submission: bool = False,
) -> Plan:
    """Find the files, settle the preset, and check all that can be checked before the work begins.

    With `for_submission` images need no labels to get their classes, which others know (`bench.submission`).
    """
    require_known(model, cache_folder(settings.cache))
    base, entries = registry.parse(protocol)
    room: Protocol[Any] = registry.load(base)
    default = _default_preset(catalogue.dataset(dataset), base, settings)
    preset = override(default, entries | settings.entries)
    cache = cache_folder(settings.cache)
    require_writable(cache, "cache", "--cache")
    whole = _evaluated(catalogue.dataset(dataset), settings, cache, warn)
    samples = whole.first(settings.limit).by_id()
    samples = samples if for_submission else room.evaluated(samples, warn)
    card = samples.card  # some classes get their names from the tree
    grouped = not (room.labelled(samples) or for_submission)
    if grouped and room.labelled(whole):
        _warn_of_cut_labels(whole, samples, warn)
    subject = _find_subject(model, settings, cache, warn)
    room.require_model(preset, subject)
    warn_of_generated(subject, card, warn)
    room.check(preset, samples, len(whole), grouped=grouped)
    preset = room.adapt(preset, samples, settings.entries, warn)
    preset, default = (room.settle(each, subject, card, settings.entries) for each in (preset, default))
    require_splits(room, preset, card, samples.split, settings.entries)
    protocols, asked = preset, settings.entries
    preset, default = (fit_to_model(each, subject, asked, strict=settings.strict_input) for each in (preset, default))
    if changed := said_of(protocols, preset, subject):
        warn(changed)
    _require_effect(preset, settings)
    variations = _variations(preset, default, settings)
    if grouped:
        name, comparable = base + registry.UNLABELLED, default
    else:
        name, comparable = _published_form(protocol, base, preset, default, card)
    published = [each.resolved() for each in room.published_presets(comparable)]
    some = room.learns_from_evaluated and not for_submission and without_label(samples)
    judges = tuple(samples.labelled_places) if some else None
    hashed = name if grouped else base + registry.SOME_LABELLED * (judges is not None)
    return Plan(
        subject=subject,
        samples=samples,
        others=_find_others(room, preset, samples, settings, cache, warn),
        protocol=name,
        base=base,
        preset=preset,
        seeds=_seeds(preset, settings),
        fingerprint=fingerprint(hashed, preset.resolved()),
        published_recipe=not grouped and judges is None and preset.resolved() in published,
        variations=variations,
        modified=bool(variations) or preset.resolved() != comparable.resolved(),
        grouped=grouped,
        judges=judges,
        by_model=decided(protocols, preset),
    )


def _warn_of_cut_labels(whole: Samples, samples: Samples, warn: Warn) -> None:
    """Say where the limit leaves no image that has a label, although the split has some."""
    if whole.labelled and not samples.labelled:
        enough = whole.labelled_places[0] + 1
        warn(
            f"none of the first {len(samples)} of {len(whole)} images of {samples.split} has a label, so the run is "
            f"without labels; --limit {enough} or more reaches one"
        )


def require_entries(dataset: str, protocol: str, settings: Settings) -> None:
    """Raises WrongName for an entry that the protocol's preset lacks, or a value that it cannot have.

    Only cards are read. A data set without such a preset is left to `make_plan`.
    """
    base, entries = registry.parse(protocol)
    preset = catalogue.dataset(dataset).protocols.preset(base)
    if preset is not None:
        override(preset, entries | settings.entries)


def run_of(plan: Plan, settings: Settings, warn: Warn) -> Run[Any]:
    """The plan, with an engine to carry it out. Raises BadEnvironment for a device that is not there."""
    only = registry.load(plan.base).batch_size
    run: Run[Any] = Run(plan, settings, engine_for(settings, warn, only), warn)
    if settings.batch_size == "auto" and only is None:
        run.engine.batch_size = _fitting_batch(run)
    return run


def engine_for(settings: Settings, warn: Warn, batch_size: int | None = None) -> Engine:
    """What passes over images run on; `batch_size` goes before the settings' own."""
    device = choose_device(settings.device)
    asked = None if settings.batch_size == "auto" else settings.batch_size
    return Engine(
        device,
        settings.precision,
        batch_size=batch_size or asked or (32 if device.startswith("cuda") else 4),
        workers=settings.workers if settings.workers is not None else default_workers(),
        progress=settings.stage("observing"),
        warn=warn,
    )


def _fitting_batch(run: Run[Any]) -> int:
    """How many images fit at once; the network sees one, unless it has nothing left to do."""
    room: Protocol[Any] = registry.load(run.plan.base)
    if not room.forwards(run):
        return run.engine.batch_size
    import torch

    from bench.passes.memory import fitting_batch
    from bench.runs.estimate import input_of

    image = torch.zeros(1, 3, *input_of(run)).to(run.engine.device)
    network = run.network()
    return fitting_batch(lambda images: tried(network, images, run.engine), image, run.engine.device)


def _default_preset(card: DatasetCard, base: str, settings: Settings) -> Preset:
    preset = card.protocols.preset(base)
    if preset is None:
        known = ", ".join(runnable(card, settings.split or card.default_split)) or "none"
        raise WrongName(
            f"{card.id} has no preset for {base}", f"It has one for {known}; [protocols.{base}] in its card adds it."
        )
    return preset


def _find_subject(model: str | Path | nn.Module, settings: Settings, cache: Path, warn: Warn) -> Subject:
    if is_module(model):
        read = settings.features if callable(settings.features) else None
        own = {"features": read, "normalisation": settings.normalisation, "cache_key": settings.cache_key}
        subject = from_module(model, **own)  # type: ignore[arg-type]
    else:
        _require_no_module_settings(settings)
        subject = find_model(model, settings.weights, cache, warn, trust_code=settings.trust_code)
    if (settings.name, settings.supervision) == (None, None):
        return subject
    return restate(subject, settings.name, settings.supervision)


def _require_no_module_settings(settings: Settings) -> None:
    given = {
        "features": callable(settings.features),
        "normalisation": settings.normalisation,
        "cache_key": settings.cache_key,
    }
    for name in (name for name, value in given.items() if value):
        raise WrongName(
            f"{name} is for a module in memory, and the model is given by its name",
            "Leave it out; `mean`, `std` and `features` among the entries set the preset's.",
        )


def _require_effect(preset: Preset, settings: Settings) -> None:
    """Raises WrongName for what was asked for and has no part in this run."""
    for key, reason in preset.unread().items():
        if key in settings.entries:
            raise WrongName(f"the entry '{key}' has no effect here: {reason}", "Leave the entry out.")
    if not preset.num_seeds and (settings.num_seeds is not None or settings.first_seed not in (None, FIRST_SEED)):
        raise WrongName("seeds have no effect here: nothing is drawn at random", "Leave --seed and --num-seeds out.")


def _published_form(asked: str, base: str, preset: Preset, default: Preset, card: DatasetCard) -> tuple[str, Preset]:
    """The protocol's id as published figures have it, and the unmodified preset of that id.

    Raises WrongName where it was asked for by another name with a number in it, and is not that.
    """
    entries = preset.variant(default, len(card.classes))
    variants = registry.protocols()[base].variants
    name = next((one.name(entries) for one in variants if entries and set(one.keys) == set(entries)), base)
    if name != asked and any(one.parse(asked) is not None and "{" in one.form for one in variants):
        raise WrongName(
            f"{asked} was asked for, but the entries are those of {name}",
            f"Use --protocol {name}, or other entries. Overclustering needs more clusters than classes.",
        )
    return name, default.model_copy(update=entries)


def _evaluated(card: DatasetCard, settings: Settings, cache: Path, warn: Warn) -> Samples:
    split = card.default_split if settings.split is None else settings.split
    return _find_data(card, split, settings, cache, warn)


def _find_data(card: DatasetCard, split: str, settings: Settings, cache: Path, warn: Warn) -> Samples:
    """The samples of a split. What is odd about their number is said."""
    samples = find_samples(card, split, settings.data_root, cache, settings.stage("writing shapes"))
    official, what = card.splits[split].size, "sequences" if card.kind == "video" else "images"
    if official is not None and len(samples) > official:
        warn(f"{samples.root} lists {len(samples)} {split} {what}, the card says {official}")
    if samples.limited and settings.limit is None:
        warn(f"{samples.root} holds {len(samples)} of the {official} {split} {what}: the run is marked as limited")
    for odd in oddities(samples):
        warn(odd)
    return samples


def _find_others(
    room: Protocol[Any], preset: Preset, evaluated: Samples, settings: Settings, cache: Path, warn: Warn
) -> dict[str, Samples]:
    """The other splits that the protocol draws on, by their part in it."""
    found = {}
    for part, split in room.splits(preset, evaluated.split).items():
        listed = _find_data(evaluated.card, split, settings, cache, warn)
        if part not in room.learns_without_labels and (lacking := without_label(listed)):
            warn(f"{lacking}: as {part}, only the others are used")
            listed = listed.with_labels()
        found[part] = listed if part in room.in_list_order else listed.by_id()
        room.check_split(part, preset, found[part], evaluated.split, warn)
    return found


def _seeds(preset: Preset, settings: Settings) -> tuple[int, ...]:
    """The seeds to run; none for a protocol that draws nothing at random."""
    if not preset.num_seeds:
        return ()
    first = preset.first_seed if settings.first_seed is None else settings.first_seed
    seeds = range(first, first + (settings.num_seeds or preset.num_seeds))
    if not 0 <= seeds[0] <= seeds[-1] < 2**31:
        raise WrongName(f"seeds {seeds[0]} to {seeds[-1]} are out of range", "Give seeds from 0 to 2147483647.")
    return tuple(seeds)


def _variations(preset: Preset, default: Preset, settings: Settings) -> tuple[str, ...]:
    """Marks for the record's name of what the fingerprint leaves out but a full record must not be lost to."""
    seeds = _seeds(preset, settings)
    # where the entries leave nothing to draw, they are in the fingerprint
    other_seeds = (f"seeds{seeds[0]}x{len(seeds)}",) if seeds and seeds != _seeds(default, Settings()) else ()
    return (*other_seeds, *((settings.precision,) if settings.precision != "float32" else ()))
