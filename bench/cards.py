"""Cards: what a model or a data set is, as data that is validated on load.

A card is one TOML file. Unknown keys, wrong types and missing entries are errors that name the file and
the key. `bench.catalogue` finds cards; this module says what may stand in one.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bench.errors import BadInput, WrongName
from bench.presets import (
    ClusteringPreset,
    DavisPreset,
    DensePreset,
    DistancePreset,
    ImagePreset,
    LinearPreset,
    Preset,
    RetrievalPreset,
)
from bench.sources import Download, Entry, FileWeights, RandomWeights

ID_PATTERN = r"^[a-z0-9][a-z0-9._+-]{0,79}$"
Id = Annotated[str, Field(pattern=ID_PATTERN)]
"""A card's id: lower case, safe as a folder name on every system."""
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,79}$")]
"""A split's name, which becomes a part of a folder's name as well."""


Channel = Annotated[int, Field(ge=0, le=255)]


def as_id(name: str) -> str:
    """A file's or a folder's name as (the start of) an id, at most 60 characters; empty where nothing is left of it."""
    return re.sub(r"[^a-z0-9._+-]+", "-", name.lower()).strip("-._+")[:60]


def require_model_id(name: str) -> None:
    """Raises WrongName for what cannot be a model's id."""
    if not re.fullmatch(ID_PATTERN, name):
        near = f", such as '{as_id(name)}'" if as_id(name) else ""
        raise WrongName(f"'{name}' cannot be a model's id", f"Use lower case letters, digits and . _ + - only{near}.")


class Architecture(Entry):
    """The shape of a network (spec §1)."""

    backbone: Literal["resnet18", "resnet50"]
    width: Annotated[int, Field(ge=4, le=256)] = 64
    """Channels of the first stage; 64 is the standard network."""
    decoder_width: Annotated[int, Field(ge=0, le=1024)] = 256
    """Channels inside the DeepLabV3 head; 0 for a bare backbone."""
    embedding: Annotated[int, Field(ge=0, le=1024)] = 32
    """Dimensions of a pixel embedding; 0 where there is no embedding head."""
    classes: Annotated[int, Field(ge=0, le=4096)] = 0
    """Outputs of a linear classifier in the embedding head's place; 0 where there is none."""

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Architecture:
        if 0 < self.decoder_width < 4 or self.embedding == 1 or self.classes == 1:
            raise ValueError("decoder_width must be at least 4, embedding and classes at least 2, or 0 for none")
        if self.embedding and self.classes:
            raise ValueError("a network has an embedding or a classifier: set embedding = 0 or classes = 0")
        if bool(self.decoder_width) != bool(self.embedding or self.classes):
            raise ValueError("a decoder needs an embedding or classes; a bare backbone (decoder_width = 0) has neither")
        return self

    @property
    def what(self) -> str:
        """In words, what it ends in."""
        if not self.decoder_width:
            return "a bare backbone"
        return "a linear classifier" if self.classes else "an embedding"


class Training(Entry):
    """How the weights came to be, and above all which labels they have seen."""

    initialisation: str
    prior: str
    """The pixel-grouping prior: where the object masks came from."""
    supervision: str
    """Every label that had a part in the weights, directly or through initialisation and prior."""


class Paper(Entry):
    """A reference."""

    title: str
    arxiv: str | None = None
    date: str | None = None
    venue: str | None = None


class Card(Entry):
    """What every kind of card begins with."""

    schema_: Literal[1] = Field(alias="schema")
    id: Id
    title: str
    description: str = ""
    path: Path | None = Field(default=None, exclude=True)
    """The file this card was read from; set by `load_card`, not written in it."""


class ModelCard(Card):
    """One checkpoint."""

    architecture: Architecture
    weights: Annotated[RandomWeights | FileWeights, Field(discriminator="source")]
    training: Training
    paper: Paper | None = None


class SplitFiles(Entry):
    """Where one split's files lie below the data root. `{id}` stands for an image's id.

    In video, `{id}` is a sequence and `{frame}` the number of one of its frames. In a table, `{name}` is what the
    column `name` has, and where it has nothing there is no such file.
    """

    list: str
    """What the ids are read off."""
    listing: Literal["lines", "coco-instances", "folders", "table"] = "lines"
    """How: `lines`, a text file with an id a line; `coco-instances`, COCO's JSON: the images with an annotation;
    `folders`, a folder of folders: `<folder>/<name>` of every file in them that ends as `image` does; `table`, a text
    file beside the card: columns separated by tabs, their names in the first line, `id` among them."""
    image: str
    label: str | None = None

    def are_of(self, *, video: bool) -> bool:
        """Whether the files are numbered frames, or single images."""
        patterns = [Path(pattern) for pattern in (self.image, self.label) if pattern is not None]
        return all((path.name.count("{frame}"), "{frame}" in str(path.parent)) == (video, False) for path in patterns)

    @field_validator("list", "image", "label")
    @classmethod
    def _stays_below(cls, pattern: str | None) -> str | None:
        if pattern is not None and (pattern.startswith(("/", "\\")) or ".." in Path(pattern).parts):
            raise ValueError("must be a path below the data root")
        return pattern

    @field_validator("image", "label")
    @classmethod
    def _has_id(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        if pattern is None or "{id}" in pattern:
            return pattern
        if info.data.get("listing") != "table":
            raise ValueError("the pattern must contain {id}")
        if not re.search(r"\{\w+\}", pattern):
            raise ValueError("the pattern must contain {id} or the name of another column in braces")
        return pattern


class Layout(Entry):
    """One way in which the data set lies on disk."""

    name: str
    prefixes: tuple[str, ...] = ("",)
    """Folders below the data root in which the tree may start; the first that has the list file wins."""
    splits: dict[SplitName, SplitFiles]


class Split(Entry):
    """What the publisher says of a split."""

    images: Annotated[int, Field(ge=1)] | None = None
    """Its official size; a run on fewer images is marked as limited."""
    sequences: Annotated[int, Field(ge=1)] | None = None
    """The same of a split of video."""
    objects: Literal["one", "many"] | None = None
    """In video, what annotations hold. `one`: everything above 0 is the object. `many`: ids, 255 is void."""
    note: str = ""

    def is_of(self, *, video: bool) -> bool:
        """Whether its entries are those of video, or of images."""
        return (self.objects is not None) == video and (self.images if video else self.sequences) is None

    @property
    def size(self) -> int | None:
        """How many samples it officially has, images or sequences."""
        return self.images if self.objects is None else self.sequences


LabelId = Annotated[int, Field(ge=0, le=65535)]


class IdRange(Entry):
    """Ids of a label file, first to last, and the classes that they stand for: counted up alike, or one for all."""

    ids: tuple[LabelId, LabelId]
    classes: tuple[LabelId, LabelId]

    @model_validator(mode="after")
    def _fits(self) -> IdRange:
        ids, classes = (last - first for first, last in (self.ids, self.classes))
        if ids < 0 or classes not in (0, ids):
            raise ValueError("ids and classes are [first, last], as many classes as ids or one for all")
        return self


class Labels(Entry):
    """How a label file is decoded to class indices."""

    encoding: Literal["index", "rgb"] = "index"
    """`index`: an 8-bit palette or greyscale PNG of ids. `rgb`: an RGB PNG, id = R + 256·G, B unused."""
    ignore: LabelId = 255
    """The id of ignored pixels, in the file and after `map`."""
    map: tuple[IdRange, ...] = ()
    """What the file's ids stand for; without it they are the class indices. An id that is not in it is an error."""

    @field_validator("ignore")
    @classmethod
    def _ignore_fits(cls, ignore: int, info: ValidationInfo) -> int:
        if info.data.get("encoding") == "index" and ignore > 255:
            raise ValueError("an 8-bit label has ids up to 255")
        return ignore

    @field_validator("map")
    @classmethod
    def _map_is_unambiguous(cls, ranges: tuple[IdRange, ...], info: ValidationInfo) -> tuple[IdRange, ...]:
        spans = sorted(entry.ids for entry in ranges)
        ignore = info.data.get("ignore")
        if any(first[1] >= second[0] for first, second in itertools.pairwise(spans)):
            raise ValueError("two ranges share an id")
        if spans and info.data.get("encoding") == "index" and spans[-1][1] > 255:
            raise ValueError("an 8-bit label has ids up to 255")
        if ignore is not None and any(first <= ignore <= last for first, last in spans):
            raise ValueError(f"{ignore} is the id of ignored pixels")
        return ranges


class Protocols(Entry):
    """The preset of each protocol on this data set."""

    clustering: ClusteringPreset | None = None
    clustering_dense: DensePreset | None = Field(default=None, alias="clustering-dense")
    """Where a card has none: as its `clustering`, with a cluster for the background as well."""
    davis: DavisPreset | None = None
    distance_matching: DistancePreset | None = Field(default=None, alias="distance-matching")
    linear: LinearPreset | None = None
    retrieval_21: RetrievalPreset | None = Field(default=None, alias="retrieval-21")
    retrieval_7: RetrievalPreset | None = Field(default=None, alias="retrieval-7")

    @property
    def given(self) -> list[str]:
        """The ids of the protocols that have a preset."""
        ids = (entry.alias or name for name, entry in type(self).model_fields.items())
        return [protocol for protocol in ids if self.preset(protocol) is not None]

    def preset(self, protocol: str) -> Preset | None:
        """The preset of a protocol id; None where this data set has none."""
        found: Preset | None = getattr(self, protocol.replace("-", "_"))
        if found is None and protocol == "clustering-dense" and self.clustering is not None:
            return _dense(self.clustering)
        return found


def _dense(clustering: ClusteringPreset) -> DensePreset:
    """`clustering-dense` on what `clustering` sees and counts: the background, too, is then a cluster to be found."""
    shared = {*ImagePreset.model_fields, "grid", "seeds"}
    entries = {name: value for name, value in clustering if name in shared}
    if clustering.matching != "images":  # which clusters in every image are, says nothing of pixels
        entries["matching"] = clustering.matching
    return DensePreset(**entries, clusters=clustering.clusters + 1)


class DatasetCard(Card):
    """One data set."""

    homepage: str | None = None
    licence: str
    kind: Literal["images", "video"] = "images"
    """Single images with classes, or sequences with objects that have numbers."""
    root: str | None = None
    """Where the data lie, relative to the card; `--data-root` goes before it."""
    generator: Literal["shapes"] | None = None
    """A built-in data set: written to the cache on first use."""
    default_split: str = "val"
    default_models: tuple[str, ...] = ()
    """The models that `bench run` takes on this data set when none is named."""
    classes: Annotated[tuple[str, ...], Field(max_length=4096)] = ()
    """At least two for images with labels, none for video."""
    class_folders: Annotated[int, Field(ge=1)] | None = None
    """So many more classes have the names of the folders that a listing of `folders` finds, in sorted order."""
    palette: Literal["voc"] | tuple[tuple[Channel, Channel, Channel], ...] = "voc"
    """`voc`, or an RGB triple per class."""
    labels: Labels = Labels()
    splits: dict[SplitName, Split]
    layouts: Annotated[tuple[Layout, ...], Field(min_length=1)]
    downloads: tuple[Download, ...] = ()
    """Without any, the user has to bring the data."""
    protocols: Protocols

    @property
    def labelled(self) -> bool:
        """Whether any split has labels."""
        return any(files.label is not None for layout in self.layouts for files in layout.splits.values())

    @model_validator(mode="before")
    @classmethod
    def _number_class_folders(cls, entries: Any) -> Any:
        """Stand-ins for the names of classes that only the tree knows."""
        count = entries.get("class_folders") if isinstance(entries, dict) else None
        if not isinstance(count, int) or not isinstance(entries.get("classes"), (list, tuple)):
            return entries
        return entries | {"classes": [*entries["classes"], *(f"folder {i + 1}" for i in range(count))]}

    @model_validator(mode="after")
    def _is_consistent(self) -> DatasetCard:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: two have the same name")
        if self.labels.ignore < len(self.classes):
            raise ValueError(f"labels.ignore: {self.labels.ignore} is also a class index")
        if outside := [entry.classes[1] for entry in self.labels.map if entry.classes[1] >= len(self.classes)]:
            raise ValueError(f"labels.map: there is no class {outside[0]}")
        if self.default_split not in self.splits:
            raise ValueError(f"default_split: '{self.default_split}' is none of the splits")
        if self.palette != "voc" and len(self.palette) > 256:
            raise ValueError("palette: more than 256 colours")
        for layout in self.layouts:
            if unknown := set(layout.splits) - set(self.splits):
                raise ValueError(f"layouts.{layout.name}.splits: '{min(unknown)}' is none of the splits")
        if len({download.file for download in self.downloads}) != len(self.downloads):
            raise ValueError("downloads: two have the same file name")
        return self

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> DatasetCard:
        video = self.kind == "video"
        if video and self.classes:
            raise ValueError("classes: a video data set has none, its objects are numbered")
        if not video and self.labelled and len(self.classes) < 2:
            raise ValueError("classes: at least two are needed")
        for name, split in self.splits.items():
            if not split.is_of(video=video):
                need = "objects and sequences" if video else "images"
                raise ValueError(f"splits.{name}: a split of {self.kind} is described by {need}")
        for layout in self.layouts:
            if wrong := [name for name, files in layout.splits.items() if not files.are_of(video=video)]:
                where = f"layouts.{layout.name}.splits.{wrong[0]}"
                raise ValueError(f"{where}: in video, and only there, a file's name has {{frame}}")
        if wrong := [name for name in self.protocols.given if (name == "davis") != video]:
            raise ValueError(f"protocols.{wrong[0]}: not for data of kind '{self.kind}'")
        return self


CardType = TypeVar("CardType", bound=Card)


def load_card(path: Path, kind: type[CardType]) -> CardType:
    """Read and validate one card. Raises BadInput naming the file and the offending key."""
    try:
        entries: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"no card at {path}", "Give the path of a .toml card, or a card's id.") from error
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}", "Give the path of a .toml card, or a card's id."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a TOML file: {error}", "Correct it; README.md shows a whole card.") from error
    if "path" in entries:
        raise BadInput(f"{path}: path: unknown key", "Remove it.")
    try:
        return kind.model_validate(entries | {"path": path})
    except ValidationError as error:
        raise BadInput(f"{path}: {first_problem(error)}", "Correct the card; README.md shows a whole one.") from error


def is_model_card(path: Path) -> bool:
    """Whether a file is a model's card rather than a data set's: a model's has an architecture."""
    try:
        return "architecture" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def first_problem(error: ValidationError) -> str:
    """`key: what is wrong with it` of the first problem, and how many more there are."""
    problems = error.errors()
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{key + ': ' if key else ''}{message}{more}"
