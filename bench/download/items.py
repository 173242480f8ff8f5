"""Items: the files of a card, with the source and destination of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.base.errors import BadInput, unknown_name
from bench.cards.datasets import DatasetCard
from bench.cards.files import Download, FileWeights
from bench.cards.local_files import card_name, data_folder, weights_file
from bench.cards.models import ModelCard
from bench.download.drive import download_address


@dataclass(frozen=True)
class Item:
    """One file of a card."""

    card: str
    """How a user names the card on the command line."""
    home: str
    """What it is a file of: `weights/ID`, `datasets/ID` or `networks/SCHEME:NAME`."""
    file: str
    urls: tuple[str, ...]
    """Addresses, tried in this order."""
    page: str
    """Where a person can fetch it with a browser."""
    path: Path
    """Where the file itself goes."""
    licence: str
    bytes: int | None = None
    sha256: str | None = None
    """Published by somebody, all of it or how it begins; None where nobody did."""
    md5: str | None = None
    """Published where no SHA-256 was."""
    root: Path | None = None
    """For an archive: the data root that its content belongs to."""
    into: str = ""
    """For an archive: the folder below the root."""
    optional: bool = False
    note: str = ""

    @property
    def published(self) -> bool:
        """Whether somebody published a checksum."""
        return bool(self.sha256 or self.md5)

    @property
    def weights(self) -> bool:
        """Whether it is a model's weights."""
        return self.home.startswith(("weights/", "networks/")) and not self.unpack

    @property
    def unpack(self) -> bool:
        """Whether the content is wanted rather than the file."""
        return self.root is not None

    @property
    def key(self) -> str:
        """What its hash is pinned under."""
        return f"{self.home}/{self.file}"

    @property
    def goal(self) -> Path:
        """Where the user will find it."""
        return self.path if self.root is None else self.root / self.into


def items_of(card: ModelCard | DatasetCard, cache: Path) -> list[Item]:
    """The card's files, the optional ones too.

    Empty where the card names none: generated data and weights, weights beside the card, or in the keeping of the
    library of its network. Raises BadInput for a data set that names no files.
    """
    if isinstance(card, ModelCard):
        return _of_model(card, cache)
    if not card.downloads and card.generator is None:
        raise BadInput(
            f"the card of {card.id} names no files to fetch",
            f"Get {card.title} from {card.homepage or 'its publisher'} and give its folder with --data-root.",
        )
    return [_of_data(card, download, cache) for download in card.downloads]


def choose(items: Sequence[Item], wanted: Sequence[str]) -> list[Item]:
    """The items `wanted` by name, or all that are not optional. Raises WrongName for one that is not there."""
    names = [item.file for item in items]
    for name in wanted:
        if name not in names:
            raise unknown_name(f"file of {items[0].card}", name, names, f"bench download {items[0].card} --list")
    return [item for item in items if (item.file in wanted if wanted else not item.optional)]


def _of_model(card: ModelCard, cache: Path) -> list[Item]:
    """The card's file; none where the weights are drawn, beside the card, or kept by the library of the network.

    What a library keeps it fetches itself, into its own places: it has no list of files to make items of.
    """
    weights = card.weights
    if not isinstance(weights, FileWeights) or weights.address is None:
        return []
    url = download_address(weights.id) if weights.source == "google-drive" and weights.id else weights.url
    assert url is not None
    return [
        Item(
            card=card_name(card),
            home=f"weights/{card.id}",
            file=weights.file,
            urls=(url,),
            page=weights.address,
            path=weights_file(cache, card.id, weights.file),
            licence=weights.licence,
            bytes=weights.bytes,
            sha256=weights.sha256,
        )
    ]


def _of_data(card: DatasetCard, download: Download, cache: Path) -> Item:
    urls = download.urls + ((download_address(download.google_drive),) if download.google_drive else ())
    root = data_folder(cache, card.id)
    # an archive waits beside the data, so that the data appear at once and whole
    path = cache / "downloads" / card.id / download.file if download.unpack else root / download.into / download.file
    return Item(
        card=card_name(card),
        home=f"datasets/{card.id}",
        file=download.file,
        urls=urls,
        page=download.page,
        path=path,
        licence=download.licence or card.licence,
        bytes=download.bytes,
        sha256=download.sha256,
        md5=download.md5,
        root=root if download.unpack else None,
        into=download.into,
        optional=download.optional,
        note=download.note,
    )
