"""Hub files: the files of a repository of the Hugging Face hub, in a cache below ours; no network is asked here.

The hub's own library puts them there (`bench.download.hub`), in its own layout: `refs/main` has the commit that `main`
was when it was fetched, `snapshots/COMMIT/` the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.base.errors import BadInput
from bench.cards.network_folders import meant
from bench.networks.libraries.request import Request
from bench.networks.libraries.sources import HubFiles

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
_FORMS = (
    ("model.safetensors", re.compile(r"model-\d{5}-of-(?P<count>\d{5})\.safetensors")),
    ("pytorch_model.bin", re.compile(r"pytorch_model-\d{5}-of-(?P<count>\d{5})\.bin")),
)
"""Names of the weights, in one file and in parts; the first form that is there is read."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NOT_WEIGHTS = (".md", ".json", ".txt", ".gitattributes", ".py")


def hub_cache(cache: Path) -> Path:
    """Where files of the hub lie, in the hub's own layout."""
    return cache / "libraries" / "huggingface"


@dataclass(frozen=True)
class Repository:
    """The files of one network, of a request."""

    request: Request
    name: str
    """Owner and name: `timm/vit_small_patch14_dinov2.lvd142m`."""
    licence: str = "not stated"

    @property
    def address(self) -> str:
        """Of its page."""
        return f"https://huggingface.co/{self.name}"

    @property
    def folder_meant(self) -> str:
        """The beginning of a remedy, where the user may have meant a folder of the same name; else empty."""
        return meant(self.name) if self.name == self.request.name else ""

    @property
    def folder(self) -> Path | None:
        """The files of the revision; None where it was never fetched."""
        home = hub_cache(self.request.cache) / f"models--{self.name.replace('/', '--')}"
        revision = self.request.revision or "main"
        try:
            commit = (home / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            commit = revision
        found = home / "snapshots" / commit
        return found if _COMMIT.fullmatch(commit) and found.is_dir() else None

    @property
    def commit(self) -> str | None:
        """Of the files on this machine."""
        return self.folder.name if self.folder else None

    def sources(self, choose: Callable[[Sequence[str]], Sequence[str]]) -> list[HubFiles]:
        """What `bench download` fetches."""
        return [HubFiles(self.name, self.request.revision, choose, self.licence)]

    def local(self, what: str = "weights") -> Path:
        """The folder. Raises BadInput, with the command that fetches it, where it is not on this machine."""
        if self.folder is None:
            raise self.missing(what)
        return self.folder

    def weights(self) -> list[Path]:
        """The files of the weights. Raises BadInput, with the command that fetches them, where they are not here."""
        folder = self.local()
        found = weights_among([path.name for path in folder.iterdir()])
        if not found:
            raise self.missing("weights")
        return [folder / name for name in found]

    def missing(self, what: str) -> BadInput:
        """The error for files that are not on this machine."""
        licence = f" (licence: {self.licence})" if self.licence != "not stated" else ""
        return BadInput(
            f"the {what} of {self.request.text} are not on this machine",
            f"{self.folder_meant}`bench download {self.request.word}` fetches them{licence}.",
        )


def weights_among(names: Sequence[str]) -> list[str]:
    """The names of the files that hold the weights: one, or all parts of one; empty where they are not all there."""
    for whole, part in _FORMS:
        if whole in names:
            return [whole]
        parts = sorted(name for name in names if part.fullmatch(name))
        match = part.fullmatch(parts[0]) if parts else None
        if match and len(parts) == int(match["count"]):
            return parts
    return []


def require_weights(names: Sequence[str], repository: str) -> list[str]:
    """As `weights_among`, of a repository. Raises BadInput where it has none that are read."""
    found = weights_among(names)
    if not found:
        others = sorted(name for name in names if not name.endswith(_NOT_WEIGHTS))
        raise BadInput(
            f"{repository} has no model.safetensors and no pytorch_model.bin, whole or in parts"
            f" (it has {', '.join(others[:5]) or 'no other weights'})",
            "Choose another repository, or save the network with save_pretrained(), and name the folder: hf:./FOLDER.",
        )
    return found
