"""Sources: where weights and data come from, in cards."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
DriveId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{10,200}$")]
"""The id of a file on Google Drive."""


def _is_file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}", name):
        raise ValueError("must be a plain file name of letters, digits and . _ + -")
    return name


def _is_web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https address")
    return url


FileName = Annotated[str, AfterValidator(_is_file_name)]
Url = Annotated[str, AfterValidator(_is_web_address)]
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
"""What can be unpacked, by the end of the name."""


class Entry(BaseModel):
    """A table of a card: unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class RandomWeights(Entry):
    """Weights drawn from a seed. Their figure is the least that a trained model should exceed.

    The saliency head of a random network is calibrated, or nothing would be salient: its weights are
    `saliency_scale * u + saliency_shift` with u standard normal.
    """

    source: Literal["random"]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    saliency_scale: Annotated[float, Field(allow_inf_nan=False)]
    saliency_shift: Annotated[float, Field(allow_inf_nan=False)]


class FileWeights(Entry):
    """Weights in a file: beside the card (`file`), or to be fetched by the user."""

    source: Literal["file", "google-drive", "url"]
    file: str
    """The file's name; for `source = "file"` its path, relative to the card."""
    id: DriveId | None = None
    """Google Drive's id."""
    url: Url | None = None
    bytes: Annotated[int, Field(ge=1)] | None = None
    sha256: Sha256 | None = None
    """Left out where the publisher gave none."""
    licence: str
    """The terms of the weights, in the publisher's words or an SPDX id."""

    @model_validator(mode="after")
    def _source_is_complete(self) -> FileWeights:
        needs = {"google-drive": self.id, "url": self.url, "file": self.file}[self.source]
        if not needs:
            raise ValueError(f"source = '{self.source}' needs its {'id' if self.source != 'url' else 'url'}")
        if self.source != "file":
            _is_file_name(self.file)
        return self

    @property
    def address(self) -> str | None:
        """Where a person can fetch the file with a browser."""
        if self.source == "google-drive":
            return drive_page(self.id)
        return self.url


def drive_page(file_id: str | None) -> str:
    """The page on which a person can fetch a file from Google Drive."""
    return f"https://drive.google.com/file/d/{file_id}/view"


class Download(Entry):
    """One file of a data set, and where `bench download` gets it."""

    file: FileName
    urls: tuple[Url, ...] = ()
    """Mirrors, tried in this order."""
    google_drive: DriveId | None = Field(default=None, alias="google-drive")
    """Tried after the mirrors."""
    bytes: Annotated[int, Field(ge=1)] | None = None
    sha256: Sha256 | None = None
    """Left out where nobody published one."""
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """Only where a publisher gave no other: it tells a broken file, and no forged one."""
    unpack: bool = False
    """Whether it is an archive whose content is wanted."""
    into: str = ""
    """The folder below the data root that it belongs in."""
    optional: bool = False
    """Fetched only when asked for by name: an extra, or another way to what is there."""
    note: str = ""
    licence: str | None = None
    """Where its terms are not the data set's."""

    @model_validator(mode="after")
    def _is_complete(self) -> Download:
        if not self.urls and not self.google_drive:
            raise ValueError(f"{self.file}: needs urls or google-drive")
        if self.unpack and not self.file.endswith(ARCHIVES):
            raise ValueError(f"{self.file}: unpack is for {', '.join(ARCHIVES)}")
        if self.into.startswith(("/", "\\")) or ".." in PurePosixPath(self.into).parts:
            raise ValueError(f"{self.file}: into must be a folder below the data root")
        return self

    @property
    def page(self) -> str:
        """Where a person can fetch it with a browser."""
        return drive_page(self.google_drive) if self.google_drive else self.urls[0]
