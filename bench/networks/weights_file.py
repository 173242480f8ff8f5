"""A file with weights: hashed once, known from its receipt, and read when it is needed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from bench.base.errors import BadInput, Warn
from bench.base.files import printable_name, sha256_file
from bench.cards.models import Architecture
from bench.networks import known_weights
from bench.networks.checkpoint_files import require_file

if TYPE_CHECKING:
    from bench.networks.checkpoints import Weights


class WeightsFile:
    """A checkpoint, hashed once, and read when it is needed. Raises BadInput for a path that is no readable file."""

    def __init__(self, path: Path, cache: Path, architecture: Architecture | None) -> None:
        require_file(path)
        self.path, self.cache = path, cache
        self.state_of_file = _state_of(path)
        self.sha256 = sha256_file(path)
        wanted = architecture.model_dump() if architecture else None
        self.subject = {"weights": self.sha256, "architecture": wanted}
        self.receipt = known_weights.find(cache, self.subject)

    @functools.cached_property
    def weights(self) -> Weights:
        """All of it. Raises BadInput for a file that is damaged, no checkpoint, or not as it was when it was found."""
        from bench.networks.checkpoints import read_checkpoint

        weights = read_checkpoint(self.path, self.sha256)
        if _state_of(self.path) != self.state_of_file:
            raise BadInput(f"{self.path} changed while it was read", "Run the same command again.")
        return weights

    def known_architecture(self) -> Architecture | None:
        """What the receipt says that it is; None without one."""
        try:
            return Architecture.model_validate((self.receipt or {})["architecture"])
        except (KeyError, ValueError):
            return None

    def note(self, warn: Warn) -> str:
        """What was left out of the file, and a warning unless it is what all training files have.

        Empty in a receipt that is older than such notes.
        """
        known = self.receipt or {}
        if "weights" in vars(self):
            known = {"note": self.weights.note, "routine": self.weights.routine}
        found, routine = known.get("note"), known.get("routine")
        if not isinstance(found, str) or not found:
            return ""
        if not routine:
            warn(f"{printable_name(self.path)}: {found}")
        return found

    def keep(self, architecture: Architecture) -> None:
        """That the file was found to be whole, and to fit."""
        found = {"architecture": architecture.model_dump()}
        said = {"note": self.weights.note, "routine": self.weights.routine} if self.weights.note else {}
        known_weights.keep(self.cache, self.subject, found | said)


def _state_of(path: Path) -> tuple[int, ...]:
    """What changes if a file is written or replaced."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns
