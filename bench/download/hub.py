"""Hub: files of a repository of the Hugging Face hub, by the hub's own library, into a cache below ours.

Large files are brought by our own `fetch`, which goes on where it stopped. A branch is taken as it was when it was
first fetched, until `--fresh` asks for the newest.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.base.errors import BadEnvironment, BadInput, BenchError
from bench.base.escaping import one_line
from bench.base.files import locked, sha256_file, write_with
from bench.cards.pins import Pins
from bench.download.fetch import Expected, fetch
from bench.download.items import Item
from bench.download.network import Network, Show
from bench.networks.libraries.hub_files import Repository, hub_cache
from bench.networks.libraries.request import Request
from bench.networks.libraries.sources import HubFiles

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class HubFile:
    """One file of a repository, at a commit."""

    request: Request
    source: HubFiles
    commit: str
    file: str
    licence: str
    bytes: int | None = None
    sha256: str | None = None
    """That the hub publishes; it has none of small files."""

    @property
    def path(self) -> Path:
        """Where it lies, or will."""
        return hub_home(self.request, self.source) / "snapshots" / self.commit / self.file

    @property
    def url(self) -> str:
        """Of the file."""
        return f"{endpoint() or HUB}/{self.source.repository}/resolve/{self.commit}/{self.file}"

    @property
    def key(self) -> str:
        """What its hash is pinned under."""
        return f"{self.request.place}/{Path(self.file).name}"


def endpoint() -> str | None:
    """Another place of the hub, as $HF_ENDPOINT has it. The hub's library reads it when it is imported: that is too
    early for what sets it later."""
    return os.environ.get("HF_ENDPOINT") or None


def files_here(request: Request, source: HubFiles) -> list[HubFile] | None:
    """The files on this machine; None where some are missing. No network is asked."""
    folder = Repository(request, source.repository).folder
    if folder is None:
        return None
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    try:
        chosen = source.choose(names)
    except BadInput:
        return None
    return [_here(request, source, folder, name) for name in chosen]


def _here(request: Request, source: HubFiles, folder: Path, name: str) -> HubFile:
    return HubFile(request, source, folder.name, name, source.licence, (folder / name).stat().st_size)


def ask(request: Request, source: HubFiles, network: Network, *, newest: bool = False) -> list[HubFile]:
    """The files that the hub has, with sizes and hashes; `newest` asks what a branch is now.

    Raises BadInput for a repository or a revision that is not there, or has none of what is needed; BadEnvironment
    where the network fails, or the owner lets only some people in.
    """
    from huggingface_hub import HfApi

    pinned = Repository(request, source.repository).commit
    revision = source.revision if newest or pinned is None else pinned
    with _explained(request, source):
        api = HfApi(endpoint=endpoint())
        info = api.model_info(source.repository, revision=revision, files_metadata=True, timeout=network.timeout)
    known = {one.rfilename: one for one in info.siblings or []}
    licence = source.licence
    if licence == "not stated":
        licence = str(getattr(info.card_data, "license", None) or licence)
    return [
        HubFile(request, source, str(info.sha), name, licence, known[name].size, _sha256(known[name]))
        for name in source.choose(list(known))
    ]


def _sha256(sibling: Any) -> str | None:
    return getattr(sibling.lfs, "sha256", None) if sibling.lfs else None


def fetch_hub(files: list[HubFile], network: Network, *, fresh: bool, repin: bool) -> list[tuple[HubFile, str, str]]:
    """Bring all files; returns each with its SHA-256 and what that was held against.

    Raises BadInput for a file that is not the one published or pinned, BadEnvironment where network or disk fail.
    """
    done = [(one, *_fetch_one(one, network, fresh, repin)) for one in files]
    if done:
        first = files[0]
        # only now is the revision there: what an interrupted download left is not taken for it
        refs = hub_home(first.request, first.source) / "refs" / (first.source.revision or "main")
        if first.source.revision != first.commit:
            write_with(refs, lambda stream: stream.write(first.commit.encode()))
    return done


def _fetch_one(one: HubFile, network: Network, fresh: bool, repin: bool) -> tuple[str, str]:
    from huggingface_hub import hf_hub_download

    if one.sha256:
        _fetch_blob(one, one.sha256, network, fresh)
    with _explained(one.request, one.source):
        path = hf_hub_download(
            one.source.repository,
            one.file,
            revision=one.commit,
            cache_dir=hub_cache(one.request.cache),
            endpoint=endpoint(),
            force_download=fresh and not one.sha256,
            tqdm_class=_bar(one.file, network.progress),
        )
    return hold(one, Path(path), repin=repin)


def _fetch_blob(one: HubFile, sha256: str, network: Network, fresh: bool) -> None:
    """Bring a large file to its place in the hub's cache ourselves: the hub's library keeps nothing of half a file."""
    path = hub_home(one.request, one.source) / "blobs" / sha256
    if path.is_file() and (not fresh or sha256_file(path) == sha256):
        return
    path.unlink(missing_ok=True)
    with _explained(one.request, one.source):
        url = _address(one, network)
    item = Item(
        card=one.request.word,
        home=one.request.place,
        file=one.file,
        urls=(url,),
        page=f"{HUB}/{one.source.repository}/tree/{one.commit}",
        path=path,
        licence=one.licence,
        bytes=one.bytes,
        sha256=sha256,
    )
    lock = one.request.cache / "downloads" / f"{sha256[:24]}.lock"
    with locked(lock, 0, f"{one.request.text} is being downloaded", "Wait for the other `bench download` to end."):
        fetch(item, Expected(sha256, "that the hub publishes"), network)


def _address(one: HubFile, network: Network) -> str:
    """Where the file itself is. With a login the hub names an address that needs none; else ours follows it there."""
    from huggingface_hub import get_hf_file_metadata, get_token

    if get_token() is None:
        return one.url
    return get_hf_file_metadata(one.url, timeout=network.timeout, endpoint=endpoint()).location


def hold(one: HubFile, path: Path, *, repin: bool = False) -> tuple[str, str]:
    """SHA-256 of a file, and in words what it was held against. Raises BadInput, and drops it, if it is another."""
    digest = sha256_file(path)
    pins = Pins(one.request.cache)
    pin = None if repin else pins.find(one.key)
    for wanted, said in ((one.sha256, "that the hub publishes"), (pin and pin.sha256, "that was pinned")):
        if wanted and wanted != digest:
            _drop(path)
            raise BadInput(
                f"{one.file} of {one.source.repository}: its SHA-256 is {digest[:12]}…, the one {said} is "
                f"{wanted[:12]}…; it was removed",
                "Run the same command again; if the owner has replaced the file and you trust the new one, "
                f"bench download {one.request.word} --fresh --repin.",
            )
    if pin is None:
        pins.keep(one.key, digest, path.stat().st_size, one.url)
    if one.sha256:
        return digest, "as published"
    return digest, f"as pinned on {pin.date[:10]}" if pin else "now pinned"


def _drop(path: Path) -> None:
    """Remove a file of the hub's cache, and what its link leads to."""
    target = path.resolve()
    path.unlink(missing_ok=True)
    target.unlink(missing_ok=True)


def hub_home(request: Request, source: HubFiles) -> Path:
    """The folder of a repository, in the hub's own layout."""
    return hub_cache(request.cache) / f"models--{source.repository.replace('/', '--')}"


def _bar(name: str, show: Show | None) -> Any:
    """A class of the hub's progress bars that draws nothing, and tells ours."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *given: Any, **named: Any) -> None:
            self.sent, self.all = int(named.get("initial") or 0), named.get("total")
            super().__init__(*given, **named | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self.sent += int(n or 0)
            if show is not None:
                show(name, self.sent, self.all)

    return Bar


@contextlib.contextmanager
def _explained(request: Request, source: HubFiles) -> Iterator[None]:
    """What the hub's library raises becomes one line, and a remedy."""
    from huggingface_hub import errors, utils

    repository, page = source.repository, f"{HUB}/{source.repository}"
    folder = Repository(request, repository).folder_meant
    kept = "What is whole is kept, and the same command fetches the rest."
    hub_logging: Any = utils.logging
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()  # its retries are its own
    try:
        yield
    except BenchError:
        raise
    except errors.GatedRepoError as error:
        raise BadEnvironment(
            f"{repository} is gated: its owner wants its terms accepted first ({_status(error)})",
            f"Open {page} in a browser, accept the terms, and log in here with `hf auth login` or $HF_TOKEN.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BadInput(
            f"{repository} has no revision '{source.revision}'",
            f"{page}/commits/main shows its branches and commits; leave @{source.revision} out for main.",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BadInput(
            f"the hub has no repository {repository}, or a private one ({_status(error)})",
            f"{folder}Check the name at {page}; for a private one log in with `hf auth login` or $HF_TOKEN.",
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise BadInput(f"a file of {repository} is not there (404)", f"See which files there are: {page}.") from error
    except errors.OfflineModeIsEnabled as error:
        raise BadEnvironment(
            f"{repository}: the hub's library is told to use no network ($HF_HUB_OFFLINE)",
            f"{folder}Unset HF_HUB_OFFLINE.",
        ) from error
    except errors.HfHubHTTPError as error:
        raise BadEnvironment(
            f"{repository}: the hub answered {_status(error)}", f"{folder}Try again later. {kept}"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise BadEnvironment(
                f"the disk has no room for the files of {repository}",
                f"Free space, or choose another folder with --cache. {kept}",
            ) from error
        cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
        raise BadEnvironment(
            f"the files of {repository} could not be fetched: {type(cause).__name__}: {one_line(cause)[:200]}",
            f"{folder}Check the network (proxies come from https_proxy), and try again. {kept}",
        ) from error
    finally:
        hub_logging.set_verbosity(verbosity)


def _status(error: Any) -> str:
    return str(getattr(getattr(error, "response", None), "status_code", None) or "no status")
