"""Gallery: the pictures that a run kept. They are read, checked, and copied into the site."""

from __future__ import annotations

import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bench.base.errors import BadInput
from bench.base.files import read_regular, said
from bench.cards.card import first_problem
from bench.records.record import Stored
from bench.report.site.details import mapping

INDEX = "examples.json"
TITLES = {"best": "Best by IoU", "worst": "Worst by IoU"}
CLUSTER = "cluster"
"""The group of images that were chosen for their cluster."""
LARGEST = 1 << 24
"""Bytes of the index, at most."""
LARGEST_PICTURE = 1 << 24
"""Bytes of a picture, at most. Ours have 320 pixels."""
PICTURES = 10_000
"""At most."""
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def _is_picture_name(name: str) -> str:
    plain = name not in (".", "..") and not name.startswith(".") and not any(sign in name for sign in "/\\:\0")
    if not plain or len(name) > 200 or not name.lower().endswith(_ENDINGS):
        raise ValueError("must be the plain name of a PNG, JPEG or WebP file")
    return name


PictureName = Annotated[str, AfterValidator(_is_picture_name)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=100_000)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class LegendEntry(_Entry):
    """A class and its colour."""

    id: int
    name: str
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Example(_Entry):
    """An image with its files."""

    id: str
    iou: Finite | None = None
    """mIoU of this image, percent."""
    groups: list[str] = []
    """Why it was chosen: `best`, `worst`, ..."""
    width: Side
    height: Side
    image: PictureName
    label: PictureName | None = None
    prediction: PictureName | None = None
    clusters: list[int] = []

    @property
    def files(self) -> list[str]:
        """The names of its files."""
        return [name for name in (self.image, self.label, self.prediction) if name is not None]


class Cluster(_Entry):
    """A cluster, the class that it stands for, and some of its images."""

    cluster: int
    class_: Annotated[str | None, Field(alias="class")] = None
    images: Annotated[int, Field(ge=0)] | None = None
    examples: list[str] = []


class Examples(_Entry):
    """The content of `examples.json`."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    seed: int | None = None
    legend: list[LegendEntry] = []
    images: Annotated[list[Example], Field(max_length=PICTURES)]
    clusters: list[Cluster] = []


@dataclass(frozen=True)
class Gallery:
    """A run's pictures, checked: every file named is there."""

    folder: Path
    examples: Examples

    def copy(self, target: Path) -> None:
        """Copy the files into a folder of the site."""
        target.mkdir(parents=True)
        for name in dict.fromkeys(name for image in self.examples.images for name in image.files):
            shutil.copyfile(self.folder / name, target / name)

    @property
    def groups(self) -> list[tuple[str, list[Example]]]:
        """The images by why they were chosen, best and worst ones first; those of no group, or chosen only for their
        clusters, come last."""
        names = list(dict.fromkeys(group for image in self.examples.images for group in image.groups))
        order = [name for name in TITLES if name in names] + [name for name in names if name not in (*TITLES, CLUSTER)]
        found = [(TITLES.get(name, name), self._group(name)) for name in order]
        rest = [image for image in self.examples.images if not set(image.groups) & set(order)]
        return [*found, ("Others" if found else "Images", rest)] if rest else found

    def _group(self, name: str) -> list[Example]:
        """The images of a group: the worst first among the worst, else the best first."""
        sign = 1 if name == "worst" else -1
        found = [image for image in self.examples.images if name in image.groups]
        return sorted(found, key=lambda image: (image.iou is None, sign * (image.iou or 0.0), image.id))


def _require_picture(path: Path) -> None:
    """Raises BadInput for what is no ordinary file of a picture's size; a link is none, wherever it leads."""
    try:
        found = path.lstat()
    except OSError as error:
        raise BadInput(f"{path} is missing, though {INDEX} names it") from error
    if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_PICTURE:
        raise BadInput(f"{path} is no ordinary file of at most {LARGEST_PICTURE:,} bytes, though {INDEX} names it")


def read_gallery(stored: Stored) -> Gallery | None:
    """The pictures of a record; None where it names none. Raises BadInput where they are damaged or missing."""
    name = mapping(stored.record.get("examples")).get("folder")
    if name is None:
        return None
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".", "..") or "\\" in name:
        raise BadInput(f"{stored.path}: examples.folder is not a plain folder name")
    folder = stored.path.parent / name
    if folder.is_symlink():
        raise BadInput(f"{folder} is a link: pictures are not taken from examples elsewhere")
    index = folder / INDEX
    try:
        examples = Examples.model_validate_json(read_regular(index, LARGEST))
    except OSError as error:
        raise BadInput(f"{index} cannot be read: {said(error)}") from error
    except ValidationError as error:
        raise BadInput(f"{index} is damaged: {first_problem(error)}") from error
    for image in examples.images:
        for file in image.files:
            _require_picture(folder / file)
    return Gallery(folder, examples)
