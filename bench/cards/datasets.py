"""Data-set cards: the files of images and labels, the encoding of labels, classes, splits, and presets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from bench.cards.card import Card, SplitName
from bench.cards.files import Download, Entry
from bench.cards.layouts import Layout
from bench.cards.presets import ImagePreset, Preset
from bench.protocols import registry

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]
Orientation = Literal["stored", "upright"]
Count = Annotated[int, Field(ge=1, le=10**9)]
MOST_CLASSES = 4096
MOST_GENERATED = 100_000
"""Images in a split that the program draws itself."""


class Split(Entry):
    """What the publisher says of a split."""

    images: Count | None = None
    """Its official size; a run on fewer images is marked as limited."""
    sequences: Count | None = None
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

    encoding: Literal["index", "rgb", "colour", "grey"] = "index"
    """`index`: a palette or greyscale PNG of ids. `rgb`: an RGB PNG, id = R + 256·G, B is 0. `colour`: a PNG in the
    colours of the card's `palette`. `grey`: a PNG of grey values, white is 255: the mask of an object."""
    above: Annotated[int, Field(ge=0, le=254)] | None = None
    """With `grey`, and only then: a pixel is of class 1 where its grey value is above this, else of class 0."""
    ignore: LabelId = 255
    """The id of ignored pixels, in the file and after `map`."""
    map: tuple[IdRange, ...] = ()
    """What the file's ids stand for, a class or the ignore id; without it they are the class indices. An id that is
    not in it is an error."""
    ignored_colours: tuple[Colour, ...] = ()
    """With `colour`, the colours of ignored pixels. A colour that is neither a class's nor among these is an error."""

    @field_validator("map")
    @classmethod
    def _map_is_unambiguous(cls, ranges: tuple[IdRange, ...], info: ValidationInfo) -> tuple[IdRange, ...]:
        spans = sorted(entry.ids for entry in ranges)
        ignore = info.data.get("ignore")
        if any(first[1] >= second[0] for first, second in itertools.pairwise(spans)):
            raise ValueError("two ranges share an id")
        if ignore is not None and any(first <= ignore <= last for first, last in spans):
            raise ValueError(f"{ignore} is the id of ignored pixels")
        return ranges

    @model_validator(mode="after")
    def _is_of_one_form(self) -> Labels:
        if self.encoding == "colour" and self.map:
            raise ValueError("map: colours have no ids; order the palette as the classes")
        if self.encoding == "grey" and self.map:
            raise ValueError("map: grey values are no ids; `above` tells the two classes apart")
        if (self.encoding == "grey") != (self.above is not None):
            raise ValueError('above: for encoding = "grey", which needs it')
        if self.encoding != "colour" and self.ignored_colours:
            raise ValueError('ignored_colours: for encoding = "colour"; else `map` sends ids to the ignore id')
        return self


class Protocols:
    """The preset of each protocol on a data set."""

    def __init__(self, presets: Mapping[str, Preset], kind: str = "images") -> None:
        self._presets = dict(presets)
        self._kind = kind

    @property
    def misplaced(self) -> list[str]:
        """Protocols that the card has a preset for, and that are for data of another kind."""
        known = registry.protocols()
        return [name for name in self._presets if known[name].kind != self._kind]

    @property
    def given(self) -> list[str]:
        """The ids of the protocols that have a preset."""
        return [protocol for protocol in sorted(registry.protocols()) if self.preset(protocol) is not None]

    def preset(self, protocol: str) -> Preset | None:
        """The preset of a protocol's id: the card's own, or one that follows from the others; None without either."""
        if protocol in self._presets:
            return self._presets[protocol]
        known = registry.protocols().get(protocol)
        if known is None or known.kind != self._kind or not self._counts_pixels:
            return None
        return known.preset_type.fallback(self.preset)

    @property
    def _counts_pixels(self) -> bool:
        """Whether the data set's own presets count pixels of classes; of masks or boxes alone nothing follows."""
        return self._kind == "video" or any(isinstance(preset, ImagePreset) for preset in self._presets.values())

    @classmethod
    def read(cls, sections: Any, info: ValidationInfo) -> Protocols:
        """Validate the tables of a card's `[protocols.…]`. Raises ValidationError."""
        if isinstance(sections, Protocols):
            return sections
        found = _sections().model_validate(sections)
        presets = {key: value for key, value in dict(found).items() if value is not None}
        return cls(presets, info.data.get("kind", "images"))


@cache
def _sections() -> type[BaseModel]:
    """A table for each protocol that there is. Made when the first card is read: presets are of a later floor."""
    fields: dict[str, Any] = {
        name: (entry.preset_type | None, None) for name, entry in sorted(registry.protocols().items())
    }
    return create_model("Protocols", __config__=ConfigDict(extra="forbid"), **fields)


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
    classes: Annotated[tuple[str, ...], Field(max_length=MOST_CLASSES)] = ()
    """At least two for images with labels, none for video."""
    class_folders: Annotated[int, Field(ge=1, le=MOST_CLASSES)] | None = None
    """So many more classes have the names of the folders that a listing of `folders` finds, in sorted order."""
    palette: Literal["voc"] | tuple[Colour, ...] = "voc"
    """`voc`, or an RGB triple per class."""
    labels: Labels = Labels()
    orientation: Orientation | None = None
    """How an image with an EXIF orientation is read: as its pixels are `stored`, or turned `upright`. Unset: upright,
    unless its label has the size that only the stored picture has."""
    figures: Literal["classes", "imagenet-s"] = "classes"
    """What predictions made elsewhere are scored by: `imagenet-s` adds boundary mIoU, F-measure, image accuracy and
    mIoU by object size. Unset: as the preset for clustering has it."""
    server: Literal["imagenet-s"] | None = None
    """The form of the submissions that the benchmark's server takes, if it has one."""
    splits: dict[SplitName, Split]
    layouts: Annotated[tuple[Layout, ...], Field(min_length=1)]
    downloads: tuple[Download, ...] = ()
    """Without any, the user has to bring the data."""
    protocols: Annotated[Protocols, PlainValidator(Protocols.read)]

    @property
    def labelled(self) -> bool:
        """Whether any split has labels."""
        return any(files.label is not None for layout in self.layouts for files in layout.splits.values())

    @model_validator(mode="before")
    @classmethod
    def _number_class_folders(cls, entries: Any) -> Any:
        """Stand-ins for the names of classes that only the tree knows."""
        count = entries.get("class_folders") if isinstance(entries, dict) else None
        if not isinstance(count, int) or not isinstance(entries.get("classes"), (list, tuple)) or count > MOST_CLASSES:
            return entries
        return entries | {"classes": [*entries["classes"], *(f"folder {i + 1}" for i in range(count))]}

    @model_validator(mode="before")
    @classmethod
    def _figures_of_clustering(cls, entries: Any) -> Any:
        """A card without `figures` has those that its preset for clustering names."""
        try:
            return {"figures": entries["protocols"]["clustering"]["figures"]} | entries
        except (KeyError, TypeError):
            return entries

    @model_validator(mode="after")
    def _has_labels_that_fit(self) -> DatasetCard:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: two have the same name")
        if self.labels.ignore < len(self.classes):
            raise ValueError(f"labels.ignore: {self.labels.ignore} is also a class index")
        void = (self.labels.ignore, self.labels.ignore)
        meant = [entry.classes for entry in self.labels.map if entry.classes != void]
        if outside := [last for _, last in meant if last >= len(self.classes)]:
            raise ValueError(f"labels.map: there is no class {outside[0]}")
        if self.palette != "voc" and len(self.palette) > 256:
            raise ValueError("palette: more than 256 colours")
        if self.labels.encoding == "colour":
            self._require_colours()
        if self.labels.encoding == "grey" and len(self.classes) != 2:
            raise ValueError('classes: labels.encoding = "grey" has two, the background and the object')
        return self

    @model_validator(mode="after")
    def _has_splits_that_fit(self) -> DatasetCard:
        if self.default_split not in self.splits:
            raise ValueError(f"default_split: '{self.default_split}' is not one of the splits")
        for layout in self.layouts:
            if unknown := set(layout.splits) - set(self.splits):
                raise ValueError(f"layouts.{layout.name}.splits: '{min(unknown)}' is not one of the splits")
        if self.generator and any((split.images or 0) > MOST_GENERATED for split in self.splits.values()):
            raise ValueError(f"splits: at most {MOST_GENERATED} images are generated")
        if len({download.file for download in self.downloads}) != len(self.downloads):
            raise ValueError("downloads: two have the same file name")
        return self

    def _require_colours(self) -> None:
        """Raises ValueError unless every class has a colour of its own."""
        if self.palette == "voc" or len(self.palette) != len(self.classes):
            raise ValueError('palette: labels.encoding = "colour" needs a colour for each class, in their order')
        if len({*self.palette, *self.labels.ignored_colours}) < len(self.palette) + len(self.labels.ignored_colours):
            raise ValueError("palette: two classes, or a class and an ignored colour, have the same colour")

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> DatasetCard:
        video = self.kind == "video"
        if video and self.classes:
            raise ValueError("classes: a video data set has no classes, its objects are numbered")
        if not video and self.labelled and len(self.classes) < 2:
            raise ValueError("classes: at least two are needed")
        for name, split in self.splits.items():
            if not split.is_of(video=video):
                need = "objects and sequences" if video else "images"
                raise ValueError(f"splits.{name}: a split of {self.kind} is described by {need}")
        for layout in self.layouts:
            if wrong := [name for name, files in layout.splits.items() if not files.are_of(video=video)]:
                where = f"layouts.{layout.name}.splits.{wrong[0]}"
                raise ValueError(f"{where}: a file's name has {{frame}} for video, and only for video")
        if wrong := self.protocols.misplaced:
            raise ValueError(f"protocols.{wrong[0]}: not for data of kind '{self.kind}'")
        return self
