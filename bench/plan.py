"""Plan: everything that is settled before anything is computed, from names and flags to files and recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import catalogue
from bench.cards import DatasetCard
from bench.errors import Warn, WrongName, unknown_name
from bench.files import cache_folder, require_writable
from bench.kmeans import require_enough
from bench.observe import Precision
from bench.presets import PRESETS, ClusteringPreset, Preset, RetrievalPreset, fingerprint, override
from bench.samples import Samples
from bench.subjects import Subject, find_model, find_samples, rename

if TYPE_CHECKING:
    from torch import nn

FIRST_SEED = 1234
"""The authors' first seed."""


@dataclass(frozen=True)
class Settings:
    """How to run; the defaults are those of the command line."""

    split: str | None = None
    data_root: Path | None = None
    weights: Path | None = None
    name: str | None = None
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
    progress: Callable[[str, int, int], None] | None = None
    """Called with (what, images done, images in all)."""
    warn: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before anything is computed; what `--dry-run` prints."""

    card: DatasetCard
    subject: Subject
    samples: Samples
    bank: Samples | None
    """A second split that the protocol draws on."""
    protocol: str
    preset: Preset
    seeds: tuple[int, ...]
    fingerprint: str
    published_recipe: bool
    variations: tuple[str, ...]
    modified: bool


def make_plan(
    model: str | Path | nn.Module, dataset: str, protocol: str, settings: Settings, warn: Callable[[str], None]
) -> Plan:
    """Resolve names, files and recipe, and check all that can be checked before the work begins."""
    if protocol not in PRESETS:
        raise unknown_name("protocol", protocol, PRESETS, "bench list protocols")
    card = catalogue.dataset(dataset)
    default = card.protocols.preset(protocol)
    if default is None:
        raise WrongName(f"{card.id} has no preset for {protocol}", f"Add [protocols.{protocol}] to its card.")
    preset = override(default, settings.entries)
    cache = cache_folder(settings.cache)
    require_writable(cache, "cache", "--cache")
    split = card.default_split if settings.split is None else settings.split
    samples, bank = _find_data(card, split, preset, settings, cache, warn)
    subject = find_model(model, settings.weights, cache, warn)
    if settings.name:
        subject = rename(subject, settings.name)
    seeds, variations = _seeds(preset, settings), _variations(settings)
    if seeds != _seeds(default, Settings()):
        variations = (f"seeds{seeds[0]}x{len(seeds)}", *variations)
    name, comparable = protocol, default
    if isinstance(preset, ClusteringPreset) and _overclusters(preset, default, card):
        name, comparable = f"overclustering-{preset.clusters}", default.model_copy(update={"clusters": preset.clusters})
    resolved = preset.resolved()
    published_recipes = [comparable.resolved()]
    if isinstance(comparable, ClusteringPreset):
        published_recipes.append(comparable.model_copy(update={"solver": "minibatch"}).resolved())
    return Plan(
        card,
        subject,
        samples,
        bank,
        name,
        preset,
        seeds,
        fingerprint(protocol, resolved),
        published_recipe=resolved in published_recipes,
        variations=variations,
        modified=bool(variations) or resolved != comparable.resolved(),
    )


def _find_data(
    card: DatasetCard, split: str, preset: Preset, settings: Settings, cache: Path, warn: Warn
) -> tuple[Samples, Samples | None]:
    """The samples to evaluate on, and those of the bank if the protocol has one."""
    writing = stage(settings, "writing shapes")
    samples = find_samples(card, split, settings.data_root, cache, writing).first(settings.limit)
    bank = None
    if isinstance(preset, RetrievalPreset):
        bank = find_samples(card, preset.bank, settings.data_root, cache, writing)
    elif isinstance(preset, ClusteringPreset):
        require_enough(len(samples), preset.clusters)
    official = card.splits[split].images
    if official is not None and len(samples) > official:
        warn(f"{samples.root} lists {len(samples)} {split} images, the card says {official}")
    for part in (samples, bank):
        if part is not None and part.limited and settings.limit is None:
            warn(
                f"{part.root} holds {len(part)} of the {card.splits[part.split].images} {part.split} images: "
                "the run is marked as limited"
            )
    return samples, bank


def _seeds(preset: Preset, settings: Settings) -> tuple[int, ...]:
    """The seeds to run; none for a protocol that draws nothing at random."""
    if not isinstance(preset, ClusteringPreset):
        return ()
    seeds = range(settings.first_seed, settings.first_seed + (settings.num_seeds or preset.seeds))
    if not 0 <= seeds[0] <= seeds[-1] < 2**31:
        raise WrongName(f"seeds {seeds[0]} to {seeds[-1]} are out of range", "Seeds are 0 to 2147483647.")
    return tuple(seeds)


def _overclusters(preset: ClusteringPreset, default: Preset, card: DatasetCard) -> bool:
    return preset.clusters + 1 > len(card.classes) and preset.clusters != getattr(default, "clusters", None)


def _variations(settings: Settings) -> tuple[str, ...]:
    """Marks for the record's name of what the fingerprint leaves out but a full record must not be lost to."""
    return (settings.precision,) if settings.precision != "float32" else ()


def stage(settings: Settings, name: str) -> Callable[[int, int], None] | None:
    """The settings\' progress callback for one stage of the work; None where nobody watches."""
    if settings.progress is None:
        return None
    show = settings.progress
    return lambda done, total: show(name, done, total)
