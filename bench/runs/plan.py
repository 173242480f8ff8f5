"""Plan: everything that is settled before anything is computed, from names and flags to files and recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import BadInput, Warn, WrongName
from bench.base.files import cache_folder, require_writable
from bench.base.parallel import Progress
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.cards.presets import (
    FIRST_SEED,
    OVERCLUSTERING,
    ClusteringPreset,
    DavisPreset,
    DensePreset,
    DistancePreset,
    LinearPreset,
    Preset,
    RetrievalPreset,
    SaliencyPreset,
    base_protocol,
    fingerprint,
    override,
)
from bench.data.samples import Samples, require_label_files
from bench.networks.subjects import Subject, find_model, find_samples, restate
from bench.passes.engine import Precision
from bench.protocols.linear import crf
from bench.scoring.kmeans import require_enough
from bench.scoring.unlabelled import SUFFIX

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """How to run; the defaults are those of the command line. Paths may be given as text, and with `~`."""

    split: str | None = None
    data_root: Path | None = None
    weights: Path | None = None
    name: str | None = None
    """Id and title in the record of a model without a card."""
    supervision: str | None = None
    """The labels that a model without a card has seen."""
    device: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    precision: Precision = "float32"
    first_seed: int = FIRST_SEED
    num_seeds: int | None = None
    entries: dict[str, Any] = field(default_factory=dict)
    """Preset entries to override: text as after `--set`, or values."""
    limit: int | None = None
    cache: Path | None = None
    fresh: bool = False
    progress: Callable[..., None] | None = None
    """Called with (what, images done, images in all), in training with a fourth, `note`."""
    save_predictions: Path | None = None
    """A folder for palette PNGs of class ids, one per image at its own size."""
    save_examples: int | None = None
    """So many of the best, of the worst and of each cluster's images are pictured in a folder beside the record."""
    warn: Warn | None = None

    def __post_init__(self) -> None:
        for name in ("data_root", "weights", "cache", "save_predictions"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(path).expanduser())


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before anything is computed; what `--dry-run` prints."""

    subject: Subject
    samples: Samples
    support: Samples | None
    """A second split that the protocol draws on: retrieval's bank, the linear classifier's training images, the
    images whose prototypes are clustered."""
    matched: Samples | None
    """The split on whose labels clusters are matched, where it is not the evaluated one."""
    cut: tuple[Samples, ...]
    """Those of the three splits that have fewer images than their publisher counts; a preset's own cut is part of the
    recipe."""
    protocol: str
    preset: Preset
    seeds: tuple[int, ...]
    fingerprint: str
    published_recipe: bool
    """Whether a published figure may have been made so: by the data set's own preset, or by the authors' solver."""
    variations: tuple[str, ...]
    """Marks for the record's name of what the fingerprint leaves out: other seeds, another precision."""
    modified: bool
    """Whether it is not what the data set's card says, in preset, seeds or precision."""
    grouped: bool
    """Whether there are no labels, so that clusters are described instead of matched."""

    @property
    def card(self) -> DatasetCard:
        """The data set's, with the names of classes that only its tree knows."""
        return self.samples.card


def make_plan(
    model: str | Path | nn.Module,
    dataset: str,
    protocol: str,
    settings: Settings,
    warn: Warn,
    *,
    for_submission: bool = False,
) -> Plan:
    """Resolve names, files and recipe, and check all that can be checked before the work begins.

    With `for_submission` images need no labels to get their classes, which others know (`bench.submission`).
    """
    base, entries = base_protocol(protocol)
    card = catalogue.dataset(dataset)
    default = _default_preset(card, base)
    preset = override(default, entries | settings.entries)
    cache = cache_folder(settings.cache)
    require_writable(cache, "cache", "--cache")
    split = card.default_split if settings.split is None else settings.split
    whole = _find_data(card, split, settings, cache, warn)
    samples = whole.first(settings.limit)
    card = samples.card  # some classes get their names from the tree
    grouped = not (samples.labelled or for_submission)
    subject = _find_subject(model, settings, cache, warn)
    _check_samples(base, preset, samples, len(whole), grouped)
    preset, default = (_fitted(each, subject, card, settings) for each in (preset, default))
    _require_effect(preset, settings)
    variations = _variations(preset, default, settings)
    name, comparable = (base + SUFFIX, default) if grouped else _published_form(protocol, base, preset, default, card)
    support = _find_support(card, preset, split, settings, cache, warn)
    matched = _find_matched(card, preset, split, settings, cache, warn)
    cut = tuple(each for each in (samples, support, matched) if each is not None and each.limited)
    if support is not None and isinstance(preset, LinearPreset):
        support = support.first(preset.train_images)
    return Plan(
        subject=subject,
        samples=samples,
        support=support,
        matched=matched,
        cut=cut,
        protocol=name,
        preset=preset,
        seeds=_seeds(preset, settings),
        fingerprint=fingerprint(name if grouped else base, preset.resolved()),
        published_recipe=not grouped and preset.resolved() in _published_recipes(comparable),
        variations=variations,
        modified=bool(variations) or preset.resolved() != comparable.resolved(),
        grouped=grouped,
    )


def _default_preset(card: DatasetCard, base: str) -> Preset:
    preset = card.protocols.preset(base)
    if preset is None:
        known = ", ".join(card.protocols.given) or "none"
        raise WrongName(
            f"{card.id} has no preset for {base}", f"It has one for {known}; [protocols.{base}] in its card adds it."
        )
    return preset


def _find_subject(model: str | Path | nn.Module, settings: Settings, cache: Path, warn: Warn) -> Subject:
    subject = find_model(model, settings.weights, cache, warn)
    if (settings.name, settings.supervision) == (None, None):
        return subject
    return restate(subject, settings.name, settings.supervision)


def _check_samples(base: str, preset: Preset, samples: Samples, there_are: int, grouped: bool) -> None:
    """Raises BadInput for samples without the labels that the protocol needs, or too few to be clustered.

    `there_are` so many without a limit.
    """
    if isinstance(preset, ClusteringPreset):
        if grouped and preset.matched_on is not None:
            raise BadInput(
                f"{samples.card.id} {samples.split} has no labels to score against",
                "`bench export` writes predictions for its server; --set matched_on=null only describes clusters.",
            )
        if preset.fit in (None, samples.split):
            remedy = _ways_to_try(samples, there_are, preset)
            require_enough(len(samples), preset.clusters, remedy=remedy)
    elif isinstance(preset, DensePreset):
        require_enough(len(samples) * preset.pixels, preset.clusters, "pixels")
    elif grouped:
        require_label_files(samples, f"--protocol {base}")


def _ways_to_try(samples: Samples, there_are: int, preset: ClusteringPreset) -> str:
    """What can be run although these are too few images for the preset."""
    ways = [f"--limit {preset.clusters}"] if there_are >= preset.clusters else []
    ways += [f"--clusters {len(samples)}"] if len(samples) > 1 else []
    ways += ["--protocol clustering-dense"] if samples.card.protocols.preset("clustering-dense") else []
    return f"For a trial: {', or '.join(ways)}." if ways else ""


def _fitted(preset: Preset, subject: Subject, card: DatasetCard, settings: Settings) -> Preset:
    """The preset as it applies to this model. Raises BadInput for a model that the protocol cannot use."""
    if isinstance(preset, DavisPreset):
        return _with_features(preset, subject)
    if isinstance(preset, LinearPreset):
        return _with_classifier(preset, subject, card, settings)
    if isinstance(preset, SaliencyPreset) and not subject.has_embedding:
        raise BadInput(
            f"{subject.id} is {subject.what}: it has no embedding and saliency head",
            "This protocol needs the pre-trained file; --protocol linear and clustering-dense measure what it has.",
        )
    return preset


def _with_classifier(preset: LinearPreset, subject: Subject, card: DatasetCard, settings: Settings) -> LinearPreset:
    """The preset with its classifier settled: the one in the checkpoint where there is one, else a trained one."""
    if preset.crf:
        crf.require()
    kind = "trained" if subject.classifier is None else "released"
    if settings.entries.get("classifier", kind) != kind:
        raise WrongName(
            f"the classifier of {subject.id} is {kind} (--set classifier={settings.entries['classifier']})",
            "Whether there is one in the checkpoint decides; leave the entry out.",
        )
    if subject.classifier is not None and len(subject.classifier[0]) != len(card.classes):
        raise BadInput(
            f"{subject.id} classifies into {len(subject.classifier[0])} classes, {card.id} has {len(card.classes)}",
            "Give a classifier of this data set, or a pre-trained network to train one on.",
        )
    return preset.model_copy(update={"classifier": kind})


def _require_effect(preset: Preset, settings: Settings) -> None:
    """Raises WrongName for what was asked for and has no part in this run."""
    for key, reason in preset.unread().items():
        if key in settings.entries:
            raise WrongName(f"the entry '{key}' has no effect here: {reason}", "Leave it out.")
    if not preset.num_seeds and (settings.num_seeds is not None or settings.first_seed != FIRST_SEED):
        raise WrongName("seeds have no effect here: nothing is drawn at random", "Leave --seed and --num-seeds out.")


def _with_features(preset: DavisPreset, subject: Subject) -> DavisPreset:
    """The preset with its features settled: the embedding where the network has one, unless told otherwise."""
    if preset.features == "embedding" and not subject.has_embedding:
        raise BadInput(f"{subject.id} is {subject.what}: it has no embedding", "Use --set features=decoder.")
    kind = preset.features or ("embedding" if subject.has_embedding else "decoder")
    return preset.model_copy(update={"features": kind})


def _published_form(asked: str, base: str, preset: Preset, default: Preset, card: DatasetCard) -> tuple[str, Preset]:
    """The protocol's id as published figures have it, and the unmodified preset of that id.

    Raises WrongName where overclustering was asked for, and it is none.
    """
    name, entries = base, {}
    if isinstance(preset, ClusteringPreset) and _overclusters(preset, default, card):
        name, entries = f"overclustering-{preset.clusters}", {"clusters": preset.clusters}
    elif isinstance(preset, LinearPreset) and preset.crf:
        name, entries = f"{base}+crf", {"crf": True}
    if OVERCLUSTERING.fullmatch(asked) and name != asked:
        raise WrongName(
            f"what was asked for as {asked} is {name}", "Overclustering takes more clusters than there are classes."
        )
    return name, default.model_copy(update=entries)


def _published_recipes(comparable: Preset) -> list[dict[str, Any]]:
    """What a published figure may have been made by: the preset, and the same with the authors' solver."""
    recipes = [comparable]
    if isinstance(comparable, ClusteringPreset):
        recipes.append(comparable.model_copy(update={"solver": "minibatch"}))
    return [recipe.resolved() for recipe in recipes]


def _find_data(card: DatasetCard, split: str, settings: Settings, cache: Path, warn: Warn) -> Samples:
    """The samples of a split. What is odd about their number is said."""
    samples = find_samples(card, split, settings.data_root, cache, stage(settings, "writing shapes"))
    official, what = card.splits[split].size, "sequences" if card.kind == "video" else "images"
    if official is not None and len(samples) > official:
        warn(f"{samples.root} lists {len(samples)} {split} {what}, the card says {official}")
    if samples.limited and settings.limit is None:
        warn(f"{samples.root} holds {len(samples)} of the {official} {split} {what}: the run is marked as limited")
    return samples


def _find_support(
    card: DatasetCard, preset: Preset, split: str, settings: Settings, cache: Path, warn: Warn
) -> Samples | None:
    """The second split that a protocol draws on, as in `Plan.support`."""
    if isinstance(preset, ClusteringPreset) and preset.fit not in (None, split):
        assert preset.fit is not None
        found = _find_data(card, preset.fit, settings, cache, warn)
        require_enough(len(found), preset.clusters)
        return found
    if isinstance(preset, (RetrievalPreset, DistancePreset)):
        found = _find_data(card, preset.bank, settings, cache, warn)
        _warn_of_itself("bank", preset.bank, split, warn)
    elif isinstance(preset, LinearPreset) and preset.classifier == "trained":
        found = _find_data(card, preset.train, settings, cache, warn)
        _warn_of_itself("train", preset.train, split, warn)
    else:
        return None
    require_label_files(found, "what learns from them")
    return found


def _warn_of_itself(entry: str, named: str, split: str, warn: Warn) -> None:
    if named == split:
        warn(f"{entry} = {named} is the split that is measured: every image has been seen with its label")


def _find_matched(
    card: DatasetCard, preset: Preset, split: str, settings: Settings, cache: Path, warn: Warn
) -> Samples | None:
    """The split that clusters are matched on, as in `Plan.matched`. Raises WrongName where it has no labels."""
    if not isinstance(preset, ClusteringPreset) or preset.matched_on in (None, split):
        return None
    assert preset.matched_on is not None
    matched = _find_data(card, preset.matched_on, settings, cache, warn)
    if not matched.labelled:
        raise WrongName(
            f"{card.id} {preset.matched_on} has no labels to match clusters on",
            "Name a split that has some with --set matched_on=…",
        )
    return matched


def _seeds(preset: Preset, settings: Settings) -> tuple[int, ...]:
    """The seeds to run; none for a protocol that draws nothing at random."""
    if not preset.num_seeds:
        return ()
    seeds = range(settings.first_seed, settings.first_seed + (settings.num_seeds or preset.num_seeds))
    if not 0 <= seeds[0] <= seeds[-1] < 2**31:
        raise WrongName(f"seeds {seeds[0]} to {seeds[-1]} are out of range", "Seeds are 0 to 2147483647.")
    return tuple(seeds)


def _overclusters(preset: ClusteringPreset, default: Preset, card: DatasetCard) -> bool:
    return preset.clusters + 1 > len(card.classes) and preset.clusters != getattr(default, "clusters", None)


def _variations(preset: Preset, default: Preset, settings: Settings) -> tuple[str, ...]:
    """Marks for the record's name of what the fingerprint leaves out but a full record must not be lost to."""
    seeds = _seeds(preset, settings)
    other_seeds = (f"seeds{seeds[0]}x{len(seeds)}",) if seeds != _seeds(default, Settings()) else ()
    return (*other_seeds, *((settings.precision,) if settings.precision != "float32" else ()))


def collect_warnings(settings: Settings) -> tuple[Warn, list[str]]:
    """What tells each warning once as the settings say, and the list in which it keeps them for the record."""
    warnings: list[str] = []

    def warn(message: str) -> None:
        if message not in warnings:
            warnings.append(message)
            if settings.warn:
                settings.warn(message)

    return warn, warnings


def is_fresh(plan: Plan, settings: Settings) -> bool:
    """Whether nothing that was kept may be used: the user says so, or nobody knows what a module in memory is."""
    return settings.fresh or not plan.subject.cacheable


def stage(settings: Settings, name: str) -> Progress | None:
    """The settings' progress callback for one stage of the work; None where nobody watches."""
    if settings.progress is None:
        return None
    show = settings.progress
    return lambda done, total: show(name, done, total)
