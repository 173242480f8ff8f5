"""Libraries: fetches what a network of another library needs, so that `bench run` finds it without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.base.errors import BadEnvironment, BadInput
from bench.cards.pins import Pins
from bench.download.hub import HUB, HubFile, ask, fetch_hub, files_here, hold, hub_home
from bench.download.items import Item
from bench.download.network import Network
from bench.download.obtain import is_there, obtain, size_of, status
from bench.networks.libraries.found import explained
from bench.networks.libraries.hub_files import Repository
from bench.networks.libraries.library import Library
from bench.networks.libraries.request import Request
from bench.networks.libraries.sources import HubFiles, WebFile


@dataclass(frozen=True)
class Planned:
    """One file that a network needs, for a table."""

    file: str
    bytes: int | None
    status: str
    address: str
    path: Path
    licence: str


@dataclass(frozen=True)
class Had:
    """One file that is there now."""

    file: str
    how: str
    sha256: str
    verdict: str
    path: Path


@dataclass(frozen=True)
class Wanted:
    """What is fetched for one network, and how."""

    library: Library
    request: Request
    network: Network | None
    """None: nothing is asked of a network."""
    fresh: bool = False
    repin: bool = False

    def plan(self) -> list[Planned]:
        """All files, but those that only the network's own code asks for. Raises BenchError as the library does."""
        self.library.check(self.request)
        planned: list[Planned] = []
        for source in self.library.sources(self.request):
            if isinstance(source, WebFile):
                planned.append(self._of_web(source))
            else:
                planned += self._of_hub(source)
        return planned

    def _of_hub(self, source: HubFiles) -> list[Planned]:
        try:
            files = self._hub_files(source)
        except BadEnvironment:  # to fetch will say it; what is known can be listed without a network
            home = hub_home(self.request, source)
            return [Planned("weights", None, "missing", f"{HUB}/{source.repository}", home, source.licence)]
        return [
            Planned(one.file, one.bytes, "there" if one.path.is_file() else "missing", one.url, one.path, one.licence)
            for one in files
        ]

    def _of_web(self, source: WebFile) -> Planned:
        item = item_of(self.request, source)
        size = item.bytes if self.network is None or is_there(item) else size_of(item, self.network)
        return Planned(item.file, size, status(item), source.url, item.goal, source.licence)

    def _hub_files(self, source: HubFiles) -> list[HubFile]:
        here = None if self.fresh else files_here(self.request, source)
        if here is not None:
            return here
        if self.network is None:
            raise BadEnvironment(
                f"--offline, and not on this machine: files of {source.repository}",
                f"{Repository(self.request, source.repository).folder_meant}Leave out --offline to fetch them.",
            )
        return ask(self.request, source, self.network, newest=self.fresh)

    def obtain(self) -> Iterator[Had]:
        """Fetch each file, and what the network's own code asks for. Raises BenchError where one cannot be had."""
        for source in self.library.sources(self.request):
            if isinstance(source, WebFile):
                yield self._web(source)
            else:
                yield from self._hub(source)
        more: list[Had] = []
        if self.network is not None:
            with explained(self.request):
                self.library.fetch_more(self.request, lambda one: more.append(self._web(one)))
        yield from more

    def _hub(self, source: HubFiles) -> Iterator[Had]:
        here = None if self.fresh else files_here(self.request, source)
        if here is not None:
            for one in here:
                yield Had(one.file, "found", *hold(one, one.path, repin=self.repin), one.path)
            return
        files, network = self._hub_files(source), self.network
        assert network is not None  # else the line above has refused
        for one, digest, verdict in fetch_hub(files, network, fresh=self.fresh, repin=self.repin):
            yield Had(one.file, "fetched", digest, verdict, one.path)

    def _web(self, source: WebFile) -> Had:
        item = item_of(self.request, source)
        if self.network is None and not is_there(item):
            raise BadEnvironment(f"--offline, and not on this machine: {item.file}", "Leave out --offline to fetch it.")
        with _replaced(item, self.fresh):
            got = obtain(item, self.request.cache, self.network or Network(), fresh=self.fresh, repin=self.repin)
        if source.sha256 and not item.unpack:  # the published part of a hash is a few digits; all of it is kept
            self._pin(item, got.sha256)
        return Had(item.file, got.how, got.sha256, got.verdict, item.goal)

    def _pin(self, item: Item, digest: str) -> None:
        pins = Pins(self.request.cache)
        pin = None if self.repin else pins.find(item.key)
        if pin is None:
            pins.keep(item.key, digest, item.path.stat().st_size, item.urls[0])
        elif pin.sha256 != digest:
            raise BadInput(
                f"{item.path} has another SHA-256 ({digest[:12]}…) than the one pinned on {pin.date[:10]}",
                f"If you trust the new file, run bench download {item.card} --repin.",
            )


def item_of(request: Request, source: WebFile) -> Item:
    """The file as our own downloads have it."""
    return Item(
        card=request.word,
        home=request.place,
        file=source.path.name,
        urls=(source.url,),
        page=source.page,
        path=source.path,
        licence=source.licence,
        sha256=source.sha256,
        root=source.unpacked,
    )


@contextmanager
def _replaced(item: Item, fresh: bool) -> Iterator[None]:
    """With `fresh` an archive's folder makes way for the new one, and comes back if that fails."""
    if not fresh or item.root is None or not item.root.exists():
        yield
        return
    old = item.root.with_name(f".{item.root.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    item.root.rename(old)
    try:
        yield
    except BaseException:
        if not item.root.exists():
            old.rename(item.root)
        raise
    shutil.rmtree(old, ignore_errors=True)
