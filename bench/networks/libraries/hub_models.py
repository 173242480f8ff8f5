"""torch.hub: the entry of a repository's `hubconf.py`. It is a stranger's code, which runs only where it is trusted.

`bench download` fetches the repository at a branch, a tag or a commit, and lets the entry say once which weights it
wants. Both then lie in the cache; the entry's files are listed beside them.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

from bench.base.errors import BadInput, WrongName
from bench.base.own_files import load_json, save_json
from bench.base.paths import expand
from bench.cards.card import as_id
from bench.cards.network_folders import meant
from bench.networks.libraries.library import Library
from bench.networks.libraries.options import no_stride
from bench.networks.libraries.python_models import call, importing
from bench.networks.libraries.request import Request, is_path
from bench.networks.libraries.sources import Fetch, Source, WebFile
from bench.networks.libraries.strangers_code import about_code, require_trust

if TYPE_CHECKING:
    from torch import nn

GITHUB = "https://github.com"
HUBCONF = "hubconf.py"
_REMOTE = re.compile(r"(?P<owner>[\w-]+)/(?P<name>[\w.-]+):(?P<ref>[\w./-]+)")
_WEIGHTS = "checkpoints"
_NOT_STATED = "not stated; the repository's own pages say it"
Download = Callable[[str, str, str | None], None]
"""Address, path and the first digits of the hash, as torch.hub asks for a file."""


@dataclass(frozen=True)
class _Place:
    """Where the code of an entry is."""

    folder: Path
    """That has `hubconf.py`, once it is there."""
    entry: str
    page: str
    archive: str = ""
    """Its address; empty for a folder of the user's."""
    root: Path | None = None
    """What the archive is unpacked to."""


class TorchHub(Library):
    """`hub:OWNER/NAME:REF:ENTRY`, `hub:./FOLDER:ENTRY`."""

    scheme, package, module, title = "hub", "torch", "torch", "torch.hub"

    def list_all(self) -> dict[str, str]:
        """Nobody can list the hub."""
        return {}

    def check(self, request: Request) -> None:
        """The form of the name."""
        _ = self._place(request)

    def require_there(self, request: Request) -> None:
        """The code is there, and trusted."""
        place = self._place(request)
        if not (place.folder / HUBCONF).is_file():
            if not place.archive:
                raise BadInput(f"{place.folder} has no {HUBCONF}", "Name a folder that has one: hub:./FOLDER:ENTRY.")
            raise self.missing(request, "code and weights")
        require_trust(request, place.page)

    def files(self, request: Request) -> Sequence[Path]:
        """The files that the entry asked for when it was fetched."""
        listed = load_json(self._list(request)) or {}
        paths = [self._weights(request) / str(name) for name in listed.get("files", [])]
        if any(not path.is_file() for path in paths):
            raise self.missing(request)
        return paths

    def sources(self, request: Request) -> Sequence[Source]:
        """The repository as an archive. It is a stranger's code: it is fetched only where it is trusted."""
        place = self._place(request)
        require_trust(request, place.page)
        if not place.archive or place.root is None:
            return ()
        path = place.root.with_suffix(".zip")
        return [WebFile(place.archive, place.page, path, _NOT_STATED, unpacked=place.root)]

    def fetch_more(self, request: Request, fetch: Fetch) -> None:
        """Run the entry once, and fetch what it asks for."""
        require_trust(request, self._place(request).page)

        def download(url: str, path: str, sha256: str | None) -> None:
            fetch(WebFile(url, self.page(request), Path(path), _NOT_STATED, sha256))

        with _hub(self._home(request), download) as read:
            self._run(request)
        save_json(self._list(request), {"files": sorted(read)})

    def licence(self, request: Request) -> str:
        """A hub states none."""
        return _NOT_STATED

    def page(self, request: Request) -> str:
        """The repository's address, or the folder."""
        return self._place(request).page

    def more(self, request: Request) -> dict[str, Any]:
        """That the code is trusted, and its hash."""
        return about_code(self._place(request).folder)

    def definite(self, request: Request) -> bool:
        """Once it was fetched, code and weights are known by their hashes; a user's own folder may read anything."""
        return bool(self._place(request).archive) and load_json(self._list(request)) is not None

    def outline(self, request: Request) -> nn.Module:
        """With its weights: another's code is not made to build without them."""
        return self.build(request, (), None)

    def build(self, request: Request, files: Sequence[Path], output_stride: int | None) -> nn.Module:
        """What the entry returns."""
        if output_stride is not None:
            raise no_stride(request, output_stride, ", or give the entry an option of its own")
        require_trust(request, self._place(request).page)

        def refuse(url: str, path: str, sha256: str | None) -> None:
            raise self.missing(request, f"weights {Path(path).name}")

        with _hub(self._home(request), refuse) as read:
            module = self._run(request)
        if read and request.seed is not None:
            raise WrongName(
                f"{request.text} reads weights ({sorted(read)[0]}), though they are to be drawn from a seed",
                "Give the entry its own option for that too, such as ?pretrained=false&random=0.",
            )
        if request.weights is not None:
            from bench.networks.libraries.state_files import load_state

            if note := load_state(module, request.weights):
                request.warn(f"{request.weights.name}: {note}")
        return module

    def _run(self, request: Request) -> nn.Module:
        place = self._place(request)
        with _own_modules(place.folder):
            conf = importing(request, HUBCONF, lambda: _import_file(place.folder / HUBCONF))
            entries = [name for name, one in vars(conf).items() if callable(one) and not name.startswith("_")]
            if place.entry not in entries:
                near = difflib.get_close_matches(place.entry, entries, n=3) or entries[:10]
                raise WrongName(
                    f"{place.page} has no entry '{place.entry}'", f"Its {HUBCONF} has {', '.join(near) or 'none'}."
                )
            return call(request, getattr(conf, place.entry), dict(request.options))

    # --- places ---

    def _place(self, request: Request) -> _Place:
        where, _, entry = request.name.rpartition(":")
        match = _REMOTE.fullmatch(where)
        if is_path(where) and entry:
            return _Place(expand(where), entry, where)
        if not match or not entry.isidentifier() or ".." in match["ref"]:
            raise WrongName(
                f"'{request.name}' is no entry of a hub",
                f"{meant(where)}Write hub:OWNER/NAME:BRANCH:ENTRY, such as hub:facebookresearch/dino:main:dino_vits16, "
                "or hub:./FOLDER:ENTRY.",
            )
        owner, name, ref = match["owner"], match["name"], match["ref"]
        page = f"{GITHUB}/{owner}/{name}"
        root = self._home(request) / as_id(f"{owner}_{name}_{ref}")
        inner = next((one for one in root.iterdir() if (one / HUBCONF).is_file()), root) if root.is_dir() else root
        return _Place(inner, entry, page, f"{page}/zipball/{ref}", root)

    def _home(self, request: Request) -> Path:
        return request.cache / "libraries" / "hub"

    def _weights(self, request: Request) -> Path:
        return self._home(request) / _WEIGHTS

    def _list(self, request: Request) -> Path:
        digest = hashlib.sha256(request.text.encode()).hexdigest()[:16]
        return self._home(request) / "entries" / f"{digest}.json"


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("hubconf", path)
    assert spec is not None and spec.loader is not None  # of a file that ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _hub(home: Path, download: Download) -> Iterator[set[str]]:
    """torch.hub with its files below ours, a download of ours, and no pickled code; gives the names of files read."""
    import torch

    load, weights, read = torch.load, home / _WEIGHTS, set()

    def fetch(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
        download(url, dst, hash_prefix)

    def note(file: Any, *given: Any, **named: Any) -> Any:
        if isinstance(file, (str, Path)) and Path(file).parent == weights:
            read.add(Path(file).name)
        return load(file, *given, **named)

    with (
        mock.patch.object(torch.hub, "_hub_dir", str(home)),
        mock.patch.object(torch.hub, "download_url_to_file", fetch),
        mock.patch.object(torch, "load", note),
        mock.patch.dict("os.environ", {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}),
        contextlib.redirect_stdout(sys.stderr),  # torch.hub tells of its downloads; the output is ours
    ):
        yield read


@contextlib.contextmanager
def _own_modules(folder: Path) -> Iterator[None]:
    """Import from a folder, and forget its modules: the next hub may have others of the same names."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]
