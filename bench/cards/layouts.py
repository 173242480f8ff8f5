"""Layouts: where the files of a data set's splits lie on disk, in its card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import ValidationInfo, field_validator, model_validator

from bench.cards.card import SplitName
from bench.cards.files import Entry, Sha256


class SplitFiles(Entry):
    """Where one split's files lie below the data root. `{id}` stands for an image's id.

    In video, `{id}` is a sequence and `{frame}` the number of one of its frames. In a table, `{name}` is what the
    column `name` has, and where it has nothing there is no such file.
    """

    list: str
    """What the ids are read off."""
    listing: Literal["lines", "coco-instances", "folders", "files", "table"] = "lines"
    """How: `lines`, a text file with an id a line; `coco-instances`, COCO's JSON: the images with an annotation;
    `folders`, a folder of folders: `<folder>/<name>` of every file in them that ends as `image` does; `files`, a
    folder: what stands for `{id}` in the path of every file below it that is as `image` says, however deep; `table`, a
    text file beside the card: columns separated by tabs, their names in the first line, `id` among them."""
    image: str
    label: str | None = None
    boxes: str | None = None
    """Where the objects' boxes are: VOC's XML of each image (with `{id}`), or one COCO JSON (without)."""
    list_sha256: Sha256 | None = None
    """Of `lines`, the SHA-256 of the published list, its lines ended by LF. A list with as many images as the split
    officially has must be that one."""

    def are_of(self, *, video: bool) -> bool:
        """Whether the files are numbered frames, or single images."""
        patterns = [Path(pattern) for pattern in (self.image, self.label) if pattern is not None]
        return all((path.name.count("{frame}"), "{frame}" in str(path.parent)) == (video, False) for path in patterns)

    @field_validator("list", "image", "label", "boxes")
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

    @field_validator("boxes")
    @classmethod
    def _is_xml_or_json(cls, pattern: str | None) -> str | None:
        if pattern is not None and (Path(pattern).suffix, "{id}" in pattern) not in ((".xml", True), (".json", False)):
            raise ValueError("must be the .xml files of images, with {id}, or one .json file")
        return pattern

    @model_validator(mode="after")
    def _fits_its_listing(self) -> SplitFiles:
        if self.list_sha256 is not None and self.listing != "lines":
            raise ValueError('list_sha256: for listing = "lines"')
        below = "" if self.list == "." else f"{self.list.rstrip('/')}/"
        if self.listing == "files" and not (self.image.startswith(below) and self.image.count("{id}") == 1):
            raise ValueError('image: with listing = "files" it lies below `list`, and has {id} once')
        return self


class Layout(Entry):
    """One way in which the data set lies on disk."""

    name: str
    prefixes: tuple[str, ...] = ("",)
    """Folders below the data root in which the tree may start; the first that has the list file wins."""
    splits: dict[SplitName, SplitFiles]
