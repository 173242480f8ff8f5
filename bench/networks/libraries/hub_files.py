"""Hub files: the files of a repository of the Hugging Face hub, in a cache below ours; no network is asked here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.base.errors import BadInput
from bench.networks.libraries.request import Request


def hub_cache(cache: Path) -> Path:
    """Where files of the hub lie, in the hub's own layout."""
    return cache / "libraries" / "huggingface"


@dataclass(frozen=True)
class Repository:
    """One file of a repository, for a request."""

    request: Request
    repository: str
    """Its owner and name: `timm/vit_small_patch14_dinov2.lvd142m`."""
    file: str
    licence: str

    @property
    def address(self) -> str:
        """Of the repository."""
        return f"https://huggingface.co/{self.repository}"

    def local(self) -> Path:
        """The file. Raises BadInput, with the command that fetches it, where it is not on this machine."""
        from huggingface_hub import try_to_load_from_cache

        folder, revision = hub_cache(self.request.cache), self.request.revision
        found = try_to_load_from_cache(self.repository, self.file, cache_dir=folder, revision=revision)
        if not isinstance(found, str):
            raise BadInput(
                f"the weights of {self.request.text} are not on this machine",
                f"`bench download {self.request.text}` fetches them (licence: {self.licence}).",
            )
        return Path(found)
