"""The files that `bench reproduce` needs: which there are, and how they are fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.console import echo, echo_warning

if TYPE_CHECKING:
    from bench.download.items import Item
    from bench.download.libraries import Planned, Wanted
    from bench.download.network import Network
    from bench.reproduce.supply import File, Need


@dataclass(frozen=True)
class Files:
    """What `bench download` would do, as a `bench.reproduce.supply.Supply`."""

    cache: Path
    roots: dict[str, Path]
    """Data set → the folder that the user named for it; '' for all."""
    offline: bool = False
    refused: tuple[str, ...] = ()
    """Licences, or parts of their names, under which nothing is fetched."""
    known: dict[Need, list[File]] = field(default_factory=dict)
    """What was asked for before: servers are asked once."""

    def files(self, need: Need) -> Sequence[File]:
        """All that a card needs; none where its data or weights are made here, or were brought by the user."""
        if need not in self.known:
            self.known[need] = self._files(need)
        return self.known[need]

    def _files(self, need: Need) -> list[File]:
        if (found := self._of_library(need)) is not None:
            return [_planned(need, one) for one in found.plan()]
        return [self._file(need, item) for item in self._items(need)]

    def _file(self, need: Need, item: Item) -> File:
        from bench.download.obtain import is_there, size_of, status
        from bench.reproduce.supply import File

        there = is_there(item)
        size = item.bytes if there or self._network is None else size_of(item, self._network)
        if size is None and there and item.path.is_file():
            size = item.path.stat().st_size
        about = (item.licence, status(item), there, item.page, str(item.path), item.unpack)
        return File(need.card, item.file, size, *about)

    @property
    def _network(self) -> Network | None:
        from bench.download.network import Network

        return None if self.offline else Network(warn=echo_warning)

    def _items(self, need: Need) -> list[Item]:
        """The files of a card that the user did not bring. Raises BenchError where only the user can bring them."""
        from bench.cards import catalogue
        from bench.cards.local_files import local_weights
        from bench.download.items import choose, items_of
        from bench.download.obtain import RECEIPTS

        if need.kind == "model":
            card = catalogue.model(need.card)
            beside = local_weights(card, self.cache)
            items = items_of(card, self.cache)
            return [] if beside is not None and beside not in [item.path for item in items] else items
        data = catalogue.dataset(need.card)
        if self.roots.get(data.id, self.roots.get("")) is not None or data.root is not None:
            return []
        folder = self.cache / "datasets" / data.id
        if folder.is_dir() and not (folder / RECEIPTS).exists():
            return []  # the user put them there, and the run says what is missing
        items = items_of(data, self.cache)
        return choose(items, ()) if items else []

    def _of_library(self, need: Need) -> Wanted | None:
        from bench.cli.download_network import network_of
        from bench.download.libraries import Wanted

        if need.kind != "model" or (found := network_of(need.card, self.cache, False)) is None:
            return None
        return Wanted(*found, self._network)

    def fetch(self, need: Need) -> None:
        """Have all of it on this machine. Raises what is missing, of several files the first."""
        from bench.download.obtain import is_there, require_there

        missing = [file for file in self.files(need) if not file.there]
        if not missing:
            return
        self._require_licences(missing)
        if (wanted := self._of_library(need)) is not None:
            for had in wanted.obtain():
                echo(f"{had.file}: {had.how}", err=True)
            return
        items = [item for item in self._items(need) if not is_there(item)]
        if self.offline:
            require_there(items)
        self._obtain(items)

    def _obtain(self, items: Sequence[Item]) -> None:
        """Each of them, also where one fails; then the first failure is raised."""
        from bench.base.errors import BenchError
        from bench.cli.progress import progress_bar
        from bench.download.obtain import obtain

        failures: list[Exception] = []
        network = self._network
        assert network is not None  # without one all are there
        with progress_bar("bytes") as show:
            for item in items:
                try:
                    had = obtain(item, self.cache, replace(network, progress=show))
                    echo(f"{had.item.file}: {had.how}, sha256 {had.sha256[:12]}… {had.verdict}", err=True)
                except (BenchError, OSError) as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def _require_licences(self, files: Sequence[File]) -> None:
        """Raises BadInput for a file under a licence that the user refuses."""
        from bench.base.errors import BadInput

        for file in files:
            for words in self.refused:
                if re.search(rf"(?<!\w){re.escape(words)}(?!\w)", file.licence, re.IGNORECASE):
                    raise BadInput(
                        f"{file.name} of {file.card} was not fetched: its licence, {file.licence}, was refused",
                        f"Leave out --refuse '{words}', or save the file as {file.path} ({file.page}).",
                    )


def _planned(need: Need, one: Planned) -> File:
    """A file of a library, whose name alone tells nothing of the model."""
    from bench.reproduce.supply import File

    about = (one.licence, one.status, one.status.startswith("there"), one.address, str(one.path))
    return File(need.card, f"{one.file} of {need.card}", one.bytes, *about)
