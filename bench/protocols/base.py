"""What a protocol is: the way from a network and a split of images to rows, and to what the record says of them.

A protocol has a preset (`bench.cards.presets`), a module `protocol` with a `Protocol` in it, and an entry in
`bench.protocols.registry`. It needs nothing else: names, plans, caches, records, reports and checks use these three.
Metrics, intervals and comparisons are made by the rows (`bench.scoring.rows`).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from bench.base.errors import BadInput, Warn, WrongName
from bench.base.escaping import storable
from bench.base.files import cache_folder
from bench.base.parallel import Progress
from bench.base.paths import expand
from bench.cards.datasets import DatasetCard
from bench.cards.presets import Preset
from bench.data.samples import Samples, require_label_files, without_label
from bench.networks.reading.reader import Read
from bench.networks.reading.watched import Receipt, ShapeRead, Watched, known_shape, receipt
from bench.networks.subject import Subject, Triple
from bench.passes.cache import ShardStore
from bench.passes.engine import Engine, Precision
from bench.passes.image_pass import observation_recipe
from bench.protocols.prediction_maps import Map
from bench.protocols.registry import Entry, protocols
from bench.scoring.cluster_members import Clusters
from bench.scoring.confusion_rows import Sums
from bench.scoring.matching import Mapping as ClusterClasses
from bench.scoring.rows import Rows

P = TypeVar("P", bound=Preset)
Paint = Callable[[int, Sequence[int] | None], Iterator[Map]]
"""Every image's map at its own size under the seed of this number, or those of the images at these places, which must
ascend."""


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
    batch_size: int | Literal["auto"] | None = None
    """Images at once; `auto` takes what fits (`bench.passes.memory`)."""
    workers: int | None = None
    precision: Precision = "float32"
    first_seed: int | None = None
    """None: the preset's own."""
    num_seeds: int | None = None
    entries: dict[str, Any] = field(default_factory=dict)
    """Preset entries to override: text as after `--set`, or values."""
    limit: int | None = None
    cache: Path | None = None
    fresh: bool = False
    progress: Callable[..., None] | None = None
    """Called with (what, images done, images in all), in training with a fourth, `note`."""
    strict_input: bool = False
    """Refuse an input that is no multiple of the network's patch, in place of the nearest multiple."""
    trust_code: bool = False
    """Let code of a hub run."""
    features: str | Callable[..., Any] | None = None
    """What is read: the preset's entry; for a module in memory also a function of a batch of images."""
    normalisation: tuple[Triple, Triple] | None = None
    """Mean and standard deviation that a module in memory was trained with, RGB in 0…1."""
    cache_key: str = ""
    """For a module in memory: the caller's word that what it computes under this key never changes."""
    save_predictions: Path | None = None
    """A folder for palette PNGs of class ids, one per image at its own size."""
    save_examples: int | None = None
    """So many of the best, of the worst and of each cluster's images are pictured in a folder beside the record."""
    warn: Warn | None = None

    def __post_init__(self) -> None:
        if isinstance(self.features, str):
            object.__setattr__(self, "entries", {**self.entries, "features": self.features})
            object.__setattr__(self, "features", None)
        for name in ("data_root", "weights", "cache", "save_predictions"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, expand(path))

    def stage(self, name: str) -> Progress | None:
        """The progress callback for one stage of the work; None where nobody watches."""
        if self.progress is None:
            return None
        show = self.progress
        return lambda done, total: show(name, done, total)


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before anything is computed; what `--dry-run` prints."""

    subject: Subject
    samples: Samples
    others: Mapping[str, Samples]
    """The other splits that the protocol draws on, by their part in it: `bank`, `train`, `fit`, `match`."""
    protocol: str
    """The id in the record."""
    base: str
    """The protocol's own id."""
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
    judges: tuple[int, ...] | None = None
    """The places of the samples that figures are counted over, where some have no labels and only have a part in what
    is learnt; None for all."""
    by_model: Mapping[str, Any] = field(default_factory=dict)
    """Entries of the preset that the model decided, such as its normalisation, with the protocol's own values."""

    @property
    def card(self) -> DatasetCard:
        """The data set's, with the names of classes that only its tree knows."""
        return self.samples.card

    @property
    def cut(self) -> tuple[Samples, ...]:
        """The splits that have fewer images than their publisher counts; a cut by the preset does not count."""
        return tuple(each for each in (self.samples, *self.others.values()) if each.limited)


@dataclass(frozen=True)
class Run(Generic[P]):
    """A plan that is carried out: what a protocol gets to measure with."""

    plan: Plan
    settings: Settings
    engine: Engine
    warn: Warn
    seen: dict[str, ShapeRead] = field(default_factory=dict)
    """What is found out of the network on the way."""

    @property
    def preset(self) -> P:
        """The protocol's preset, settled."""
        return self.plan.preset  # type: ignore[return-value]  # a plan does not know its protocol's type

    @property
    def samples(self) -> Samples:
        """The evaluated split."""
        return self.plan.samples

    @property
    def subject(self) -> Subject:
        """The model."""
        return self.plan.subject

    @property
    def card(self) -> DatasetCard:
        """The data set's."""
        return self.plan.card

    @property
    def num_classes(self) -> int:
        """How many classes the data set has."""
        return len(self.card.classes)

    @cached_property
    def cache(self) -> Path:
        """The cache folder."""
        return cache_folder(self.settings.cache)

    @property
    def fresh(self) -> bool:
        """Whether nothing that was kept may be used: the user says so, or nobody knows what a module in memory is."""
        return self.settings.fresh or not self.subject.cacheable

    def stage(self, name: str) -> Progress | None:
        """The progress callback for one stage of the work; None where nobody watches."""
        return self.settings.stage(name)

    def on(self, stage: str) -> Engine:
        """The engine, telling its progress as this stage."""
        return replace(self.engine, progress=self.stage(stage))

    def recipe(self, samples: Samples) -> dict[str, Any]:
        """All that decides what a pass of the network over these samples sees of each, as plain JSON values."""
        return observation_recipe(self.subject.key, samples, self.preset, self.settings.precision)

    # --- what is read of the network ---

    def features(self) -> Read:
        """What a linear classifier stands on, or the layer that the preset names (`Subject.features`)."""
        return self._watched(self.subject.features(self.engine.device, *self._layer))

    def pixels(self) -> Read:
        """The pixel embedding, else the features, or the layer that the preset names (`Subject.pixels`)."""
        return self._watched(self.subject.pixels(self.engine.device, *self._layer))

    @property
    def _layer(self) -> tuple[str | None, int | None]:
        return getattr(self.preset, "features", None), getattr(self.preset, "output_stride", None)

    def network(self) -> Callable[[Any], Any]:
        """What sees the images in this run: the layer's features, or embedding and saliency."""
        if self.preset.needs_saliency:
            return self.subject.network(self.engine.device)
        return self.pixels()

    def _watched(self, read: Read) -> Read:
        known = self.subject.architecture is not None  # what is of this program's own gives the same for ever
        return Watched(read, self._receipt, self.cache, self.seen, None if known else self.warn)

    @property
    def _receipt(self) -> Receipt:
        return receipt(self.subject.key, self.plan.base, self.preset, (self.card.id, self.samples.split))

    def shape_read(self) -> ShapeRead | None:
        """The shape of what was read of an image, now or when the cache was filled; None where nothing was."""
        return self.seen.get("shape") or known_shape(self.cache, self._receipt)

    def learnt_folder(self, kind: str, told: Sequence[Any], samples: Samples) -> Path:
        """Where what is learnt from these samples is kept; `told`, plain JSON values, is all else that decides it."""
        text = json.dumps(told, sort_keys=True)
        digest = hashlib.sha256(text.encode() + b"".join(samples.keys))
        return self.cache / kind / digest.hexdigest()[:24]

    def store(self, kind: str, recipe: dict[str, Any], apart: str) -> ShardStore:
        """The cache of all that was found under `recipe`; the array called `apart` is read only on demand."""
        return ShardStore.for_recipe(self.cache, kind, recipe, apart)


@dataclass(frozen=True)
class Result:
    """What a protocol found, and what it has to say about how."""

    rows: Rows
    manifest: str
    """SHA-256 over the images and labels that were seen."""
    solver: dict[str, Any]
    """About what decided the figure: library, version, device, algorithm."""
    observed: dict[str, Any] = field(default_factory=dict)
    """About the pass over the images."""
    extra: dict[str, list[float]] = field(default_factory=dict)
    """Further metrics that the rows do not give, a value per seed."""
    mappings: tuple[ClusterClasses, ...] = ()
    """Per seed: predicted id → class, or −1."""
    detail: dict[str, Any] = field(default_factory=dict)
    """Further entries of the record, as plain JSON values."""
    images_per_second: float | None = None
    clusters: Callable[[], Clusters] | None = None
    """The clusters of the first seed, for a protocol that has any; worked out when they are to be shown."""
    paint: Paint | None = None
    """None where nothing can be painted: the predictions were somebody else's."""


class Protocol(ABC, Generic[P]):
    """A protocol. Several ids share a class where only their presets differ."""

    batch_size: ClassVar[int | None] = None
    """The only one that it runs with; None where the user chooses."""
    in_list_order: ClassVar[frozenset[str]] = frozenset()
    """Parts of other splits whose draw is defined over the list as it is; all other samples come sorted by id."""

    learns_from_evaluated: ClassVar[bool] = False
    """Whether it learns from the evaluated images, without their labels: then those that lack one have a part too."""
    learns_without_labels: ClassVar[frozenset[str]] = frozenset()
    """Parts of other splits in which images without a label have a part, where others of the split have one."""

    def __init__(self, entry: Entry) -> None:
        self.id = entry.id

    def labelled(self, samples: Samples) -> bool:
        """Whether a split has what figures are counted against: label files, unless a protocol has others."""
        return samples.labelled

    def evaluated(self, samples: Samples, warn: Warn) -> Samples:
        """The samples that it sees, of which all have labels or only some; what becomes of the others is said."""
        if not (lacking := without_label(samples)):
            return samples
        if not self.learns_from_evaluated:
            warn(f"{lacking}: --protocol {self.id} evaluates the others")
            return samples.with_labels()
        warn(
            f"{lacking}: they are clustered with the others, and figures are counted over the "
            f"{len(samples.labelled_places)} that have one"
        )
        return samples

    def require_model(self, preset: P, subject: Subject) -> None:
        """Raises BadInput for a model that the protocol cannot use, whatever the data are."""
        if preset.needs_saliency and not subject.has_embedding:
            raise BadInput(
                f"{subject.id} is {subject.what}: it has no embedding and saliency head",
                "Use --protocol clustering-dense, linear or distance-matching, or give the pre-trained file.",
            )

    def settle(self, preset: P, subject: Subject, card: DatasetCard, asked: Mapping[str, Any]) -> P:
        """The preset with what the model decides; `asked` are the entries that the user set.

        Raises BadInput for a model that does not fit the data.
        """
        return preset

    def splits(self, preset: P, evaluated: str) -> dict[str, str]:
        """Other splits that are drawn on, by their part in the protocol: `bank`, `train`, `fit`, `match`."""
        return {}

    def check(self, preset: P, samples: Samples, there_are: int, *, grouped: bool) -> None:
        """Raises BadInput for samples that cannot be measured: too few, or without labels (`grouped`).

        There are so many without a limit.
        """
        if grouped:
            require_label_files(samples, f"--protocol {self.id}")

    def adapt(self, preset: P, samples: Samples, asked: Mapping[str, Any], warn: Warn) -> P:
        """The preset with what the evaluated samples decide, which is then said and no longer the data set's own.

        `asked` are the entries that the user set.
        """
        return preset

    def check_split(self, part: str, preset: P, found: Samples, evaluated: str, warn: Warn) -> None:
        """Raises BadInput for another split that cannot have its part: by default it must have labels."""
        if found.split == evaluated:
            warn(f"{part} = {found.split} is the evaluated split: the model would see every image with its label")
        require_label_files(found, "this part of the protocol")

    def published_presets(self, comparable: P) -> list[P]:
        """The presets by which a published figure may have been made."""
        return [comparable]

    @abstractmethod
    def measure(self, run: Run[P]) -> Result:
        """Carry the plan out. What was found earlier under the same conditions is taken from the cache."""

    def cached(self, run: Run[P]) -> str:
        """What of the plan's work is in the cache, in words."""
        return "the content of the cache is not known"

    def forwards(self, run: Run[P]) -> int:
        """How many images, or frames, the network still has to see: for the estimate of a run's cost."""
        return run.samples.images + sum(other.images for other in run.plan.others.values())

    def kept_bytes(self, run: Run[P], width: int) -> int:
        """About how many bytes the run keeps in the cache, of features of this width: for the same estimate."""
        return 4 * width * self.forwards(run)

    def solver_gap(self, run: Run[P], manifest: str, *, wanted: bool) -> float | None:
        """How far our solver is from the authors', in points of mIoU; 0 where theirs runs or nothing is solved.

        None where it was not measured: nobody `wanted` it, as there is no published figure to hold the run against.
        """
        return 0.0

    def solver_sums(self, run: Run[P], manifest: str) -> Sums | None:
        """What a distance other than 0 was counted from, which the rows keep: `ConfusionRows.solver_sums`."""
        return None

    def require_submission(self, plan: Plan, ids: str) -> None:
        """Raises WrongName where a submission to a benchmark's server cannot be painted.

        `ids` says whether it is to hold `classes` or `clusters`.
        """
        submitting = " or ".join(entry.id for entry in protocols().values() if entry.submits)
        raise WrongName(f"{plan.protocol} makes no submission", f"Use --protocol {submitting}.")


def collect_warnings(settings: Settings) -> tuple[Warn, list[str]]:
    """What tells each warning once as the settings say, and the list in which it keeps them for the record."""
    warnings: list[str] = []

    def warn(message: str) -> None:
        message = storable(message)  # it may name a file
        if message not in warnings:
            warnings.append(message)
            if settings.warn:
                settings.warn(message)

    return warn, warnings
