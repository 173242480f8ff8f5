"""Registry: all protocols with their names, and the modules of their presets and rooms.

A line here, or an entry point of the group `bench.protocols` in another package, is all that a protocol needs to be
listed, planned, cached, recorded, reported and checked. This module loads no room: reports and `--help` need only
names, so they load no torch.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from bench.base.errors import WrongName, unknown_name

if TYPE_CHECKING:
    from bench.cards.presets import Preset

ENTRY_POINTS = "bench.protocols"
"""The group in which other packages name their protocols, each an `Entry`."""
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
FLAGS = ("solver", "clusters", "epochs", "crf")
"""Entries of presets that have a flag of `bench run`."""
PREDICTIONS = "predictions"
"""Begins the protocol's id in a record of predictions that were made elsewhere."""
UNLABELLED = "-unlabelled"
"""Ends the protocol's id in a record without labels, so that it meets no other record of the protocol."""
SOME_LABELLED = "-some-labels"
"""Ends the protocol's id in the fingerprint of a run that learnt from images without labels, and was judged on others:
`dataset.judges` in its record says on how many."""


@dataclass(frozen=True)
class Variant:
    """A name of its own for a protocol with certain entries, as published figures have it: `linear+crf`."""

    form: str
    """The name; an entry in braces stands there with its value, a whole number: `overclustering-{clusters}`."""
    entries: Mapping[str, Any] = field(default_factory=dict)
    """Those entries that the name sets without saying their value."""

    def parse(self, name: str) -> dict[str, Any] | None:
        """The entries that a name sets; None for a name of another form."""
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d{1,5})", re.escape(self.form))
        match = re.fullmatch(pattern, name)
        if match is None:
            return None
        return {**self.entries, **{key: int(value) for key, value in match.groupdict().items()}}

    def name(self, values: Mapping[str, Any]) -> str:
        """The name for these values of the entries."""
        return self.form.format_map(dict(values))

    @property
    def keys(self) -> tuple[str, ...]:
        """The entries that the name sets."""
        return (*self.entries, *re.findall(r"\{(\w+)\}", self.form))


@dataclass(frozen=True)
class Entry:
    """One protocol."""

    id: str
    title: str
    """What it does, in a line."""
    preset: str
    """`module:class` of its preset. The module must load quickly: no torch at its top."""
    protocol: str
    """`module:class` of its `bench.protocols.base.Protocol`."""
    kind: str = "images"
    """What data it is for: `images` or `video`."""
    group: str = ""
    """A name that stands for this protocol and others of the same group, each with a record of its own."""
    variants: tuple[Variant, ...] = ()
    submits: bool = False
    """Whether `bench export` can paint a submission to a benchmark's server by it."""
    probe: tuple[str, ...] = ()
    """Which labels the protocol itself reads, beside those that figures are counted against: the first of these texts
    that can be filled. An entry of the preset in braces stands there with its value. It begins with `none` where
    no figure stands on labels."""

    @property
    def preset_type(self) -> type[Preset]:
        """The type of its preset."""
        found: type[Preset] = _import(self.preset)
        return found


_ONLY_NAMES = "none (labels only name clusters)"
_TRAINED = ("a classifier trained on labels of {train}", "a classifier trained on labels")
_BANK = ("a bank of labelled images of {bank}", "a bank of labelled images")
PATCH_FIXED = {"pca_sample": None, "points_per_cluster": None, "drop_last_batch": None, "grid": "label"}
"""`patch-clustering+fixed`: all that is there is clustered and scored, at the label's own size."""
IN_CONTEXT_FIXED = {"std": (0.229, 0.224, 0.225), "void": "drop", "matching": "none"}
"""`in-context+fixed`: the usual deviation, no void in the bank, predictions taken as they are."""

BUILT_IN = (
    Entry(
        "clustering",
        "K-means on one prototype per image; clusters are matched to classes",
        "bench.protocols.clustering.preset:ClusteringPreset",
        "bench.protocols.clustering.protocol:Clustering",
        variants=(Variant("overclustering-{clusters}"),),
        submits=True,
        probe=("none (labels of {matched_on} only name clusters)", _ONLY_NAMES),
    ),
    Entry(
        "clustering-dense",
        "K-means on pixels of any network; every pixel belongs to a cluster",
        "bench.protocols.clustering_dense.preset:DensePreset",
        "bench.protocols.clustering_dense.protocol:DenseClustering",
        variants=(Variant("clustering-dense+crf", {"crf": True}),),
        probe=(_ONLY_NAMES,),
    ),
    Entry(
        "linear",
        "a 1×1 convolution on frozen features, trained here or released with the checkpoint",
        "bench.protocols.linear.preset:LinearPreset",
        "bench.protocols.linear.protocol:Linear",
        variants=(Variant("linear+crf", {"crf": True}),),
        probe=_TRAINED,
    ),
    Entry(
        "linear-dinov3",
        "DINOv3's linear recipe: batch norm, dropout and a 1×1 convolution trained on crops; sliding windows",
        "bench.protocols.linear_dinov3.preset:Dinov3Preset",
        "bench.protocols.linear_dinov3.protocol:LinearDinov3",
        probe=_TRAINED,
    ),
    Entry(
        "retrieval-21",
        "each image takes the class of its nearest neighbour in a labelled bank",
        "bench.protocols.retrieval.preset:RetrievalPreset",
        "bench.protocols.retrieval.protocol:Retrieval",
        group="retrieval",
        probe=_BANK,
    ),
    Entry(
        "retrieval-7",
        "as retrieval-21, on seven classes",
        "bench.protocols.retrieval.preset:RetrievalPreset",
        "bench.protocols.retrieval.protocol:Retrieval",
        group="retrieval",
        probe=_BANK,
    ),
    Entry(
        "distance-matching",
        "each pixel takes the class that its nearest labelled instances vote for",
        "bench.protocols.distance_matching.preset:DistancePreset",
        "bench.protocols.distance_matching.protocol:DistanceMatching",
        submits=True,
        probe=_BANK,
    ),
    Entry(
        "patch-clustering",
        "K-means on the patch tokens of all images; clusters are matched to classes",
        "bench.protocols.patch_clustering.preset:PatchPreset",
        "bench.protocols.patch_clustering.protocol:PatchClustering",
        variants=(
            Variant("patch-clustering+fixed", PATCH_FIXED),
            Variant("patch-overclustering-{clusters}"),
            Variant("patch-overclustering-{clusters}+fixed", PATCH_FIXED),
        ),
        probe=(_ONLY_NAMES,),
    ),
    Entry(
        "in-context",
        "each patch takes the labels of its nearest patches in a labelled bank, without training",
        "bench.protocols.in_context.preset:InContextPreset",
        "bench.protocols.in_context.protocol:InContext",
        variants=(
            Variant("in-context+fixed", IN_CONTEXT_FIXED),
            Variant("in-context+crf", {"crf": True}),
            Variant("in-context+fixed+crf", {**IN_CONTEXT_FIXED, "crf": True}),
        ),
        probe=_BANK,
    ),
    Entry(
        "davis",
        "the objects of a video's first frame are followed through it by the similarity of features",
        "bench.protocols.davis.preset:DavisPreset",
        "bench.protocols.davis.protocol:Davis",
        kind="video",
        probe=("the masks of each evaluated sequence's first frame",),
    ),
    Entry(
        "saliency",
        "the foreground of each image, found without labels, against an annotated mask",
        "bench.protocols.saliency.preset:MapsPreset",
        "bench.protocols.saliency.protocol:Saliency",
        probe=("none (nothing is fitted)",),
    ),
    Entry(
        "discovery",
        "one box of each image, found without labels, against the annotated boxes of its objects (CorLoc)",
        "bench.protocols.discovery.preset:DiscoveryPreset",
        "bench.protocols.discovery.protocol:Discovery",
        probe=("none (nothing is fitted)",),
    ),
    Entry(
        "knn",
        "each pixel takes the label that the nearest labelled patches have at its position",
        "bench.protocols.knn.preset:KnnPreset",
        "bench.protocols.knn.protocol:Knn",
        variants=(Variant("knn+fixed", {"void_votes": False, "absent": "skip"}),),
        probe=("a bank of labelled patches of {bank}", "a bank of labelled patches"),
    ),
    Entry(
        "linear-patches",
        "a logistic regression on the features of patches, which predicts a class per patch",
        "bench.protocols.linear_patches.preset:LinearPatchesPreset",
        "bench.protocols.linear_patches.protocol:LinearPatches",
        probe=("a classifier trained on labels of {bank}", "a classifier trained on labels"),
    ),
    Entry(
        "linear-leopart",
        "a 1×1 convolution on tokens, trained at 100×100 as Leopart does",
        "bench.protocols.linear_leopart.preset:LeopartPreset",
        "bench.protocols.linear_leopart.protocol:LinearLeopart",
        probe=("a classifier trained on labels of {train}", "a classifier trained on labels"),
    ),
    Entry(
        "stego-cluster",
        "centroids learnt on features of any network, a cluster for each class, as STEGO's cluster probe",
        "bench.protocols.stego.preset:StegoClusterPreset",
        "bench.protocols.stego.protocol:StegoCluster",
        group="stego",
        variants=(Variant("stego-cluster+crf", {"crf": True}),),
        probe=(_ONLY_NAMES,),
    ),
    Entry(
        "stego-kmeans",
        "as stego-cluster, with K-means on normalised features in place of learnt centroids",
        "bench.protocols.stego.preset:StegoKmeansPreset",
        "bench.protocols.stego.protocol:StegoKmeans",
        group="stego",
        variants=(Variant("stego-kmeans+crf", {"crf": True}),),
        probe=(_ONLY_NAMES,),
    ),
    Entry(
        "stego-linear",
        "as stego-cluster, with a 1×1 convolution on labelled images, as STEGO's linear probe",
        "bench.protocols.stego.preset:StegoLinearPreset",
        "bench.protocols.stego.protocol:StegoLinear",
        group="stego",
        variants=(Variant("stego-linear+crf", {"crf": True}),),
        probe=("a classifier trained on labels of {train}", "a classifier trained on labels"),
    ),
)
"""Ours, in the order in which pages list them."""


@functools.cache
def protocols() -> dict[str, Entry]:
    """Every protocol by its id: ours in their order, then those of other packages by id.

    One of another package that cannot be loaded, or whose id is taken, is left out with a warning.
    """
    found = {entry.id: entry for entry in BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            entry = point.load()
            if not isinstance(entry, Entry) or not ID.fullmatch(entry.id):
                raise TypeError("it is not a bench.protocols.registry.Entry with an id of a-z, 0-9 and -")
            if entry.id in found:
                raise ValueError(f"the id '{entry.id}' is taken")
        except Exception as error:  # noqa: BLE001  a stranger's package must not end every command
            warnings.warn(f"the protocol '{point.name}' of {point.value} was left out: {error}", stacklevel=2)
            continue
        found[entry.id] = entry
    return found


def parse(name: str) -> tuple[str, dict[str, Any]]:
    """The protocol that a name stands for, and the entries that the name sets, as `linear+crf` does.

    Raises WrongName for an unknown name, and for one that stands for several protocols.
    """
    if members := groups().get(name):
        raise WrongName(
            f"'{name}' stands for several protocols, and each has a record of its own",
            f"Call it once for each: {', '.join(members)}.",
        )
    found = parsed(name)
    if found is None:
        raise unknown_name("protocol", name, plain_names(), "bench list protocols")
    return found


def parsed(name: str) -> tuple[str, dict[str, Any]] | None:
    """As `parse`, but None where no protocol has this name."""
    if name in protocols():
        return name, {}
    for entry in protocols().values():
        for variant in entry.variants:
            entries = variant.parse(name)
            if entries is not None:
                return entry.id, entries
    return None


def probe(name: str, preset: Mapping[str, Any]) -> str:
    """Which labels a record's or a figure's protocol reads itself, in words, by its entries as far as they are known.

    It begins with `none` where no figure stands on labels: what only names clusters is no probe.
    """
    if name.startswith(PREDICTIONS):
        return "not known (predictions made elsewhere)"
    found = parsed(name.removesuffix(UNLABELLED))
    for text in protocols()[found[0]].probe if found else ():
        keys = re.findall(r"\{(\w+)\}", text)
        if all(isinstance(preset.get(key), str) for key in keys):
            return text.format_map(dict(preset))
    return "not stated"


def command_words(name: str) -> list[str] | None:
    """What `bench run` takes for a record's protocol id: `--protocol linear --crf`; None where no protocol has it."""
    found = parsed(name)
    if found is None:
        return None
    words = ["--protocol", found[0]]
    for key, value in found[1].items():
        if key not in FLAGS:
            words += ["--set", f"{key}={json.dumps(value)}"]
        else:
            words += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    return words


def plain_names() -> list[str]:
    """Every name without a number of its own in it: what completion offers."""
    fixed = (variant.form for entry in protocols().values() for variant in entry.variants if "{" not in variant.form)
    return [*sorted(protocols()), *fixed]


def that_measure(*, embeddings: bool) -> tuple[str, ...]:
    """The ids, in alphabetical order, that can measure a network with or without an embedding and a saliency head."""
    every = sorted(protocols().values(), key=lambda entry: entry.id)
    return tuple(entry.id for entry in every if embeddings or not entry.preset_type.needs_saliency)


def groups() -> dict[str, tuple[str, ...]]:
    """Names that stand for several protocols, each with a record of its own: `all`, `retrieval`."""
    named = {entry.group: _of_group(entry.group) for entry in protocols().values() if entry.group}
    return {"all": tuple(sorted(protocols()))} | named


def _of_group(group: str) -> tuple[str, ...]:
    return tuple(entry.id for entry in protocols().values() if entry.group == group)


def order(name: str) -> tuple[int, str]:
    """Sort key of a record's protocol id: as `protocols` has them, each with its variants; others by name."""
    known = [one for entry in protocols().values() for one in (entry.id, *(variant.form for variant in entry.variants))]
    return (known.index(name) if name in known else len(known), name)


def preset_type(protocol: str) -> type[Preset]:
    """The type of a protocol's preset. Raises WrongName for an unknown id."""
    return _entry(protocol).preset_type


def load(protocol: str) -> Any:
    """A protocol itself, a `bench.protocols.base.Protocol`. Raises WrongName for an unknown id."""
    entry = _entry(protocol)
    return _import(entry.protocol)(entry)


def _entry(protocol: str) -> Entry:
    if protocol not in protocols():
        raise unknown_name("protocol", protocol, plain_names(), "bench list protocols")
    return protocols()[protocol]


def _import(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
