"""Request: a network of another library, as a command or a card names it.

`NAME[@REVISION][?OPTION=VALUE&OPTION=VALUE]`, after the scheme and its colon.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from bench.base.errors import Warn, WrongName
from bench.base.files import printable_name
from bench.base.paths import expand
from bench.cards.local_files import card_name
from bench.cards.models import ModelCard, Network, Option
from bench.cards.presets import read_value

_PATHS = ("./", "../", "/", "~", ".\\")
"""What the path of a folder begins with."""
_LONGEST = 900
"""Characters of a name with its options: a record has room for so many."""
SEED = "random"
"""The option that draws the weights from a seed in place of reading them."""


def is_path(name: str) -> bool:
    """Whether a name is that of a folder on this machine."""
    return name.startswith(_PATHS) or name in (".", "..")


@dataclass(frozen=True)
class Request:
    """What is asked for, and where to look for it."""

    source: str
    """The scheme: `timm`."""
    name: str
    cache: Path
    revision: str | None = None
    options: dict[str, Option] = field(default_factory=dict)
    """Arguments for the library's constructor, without the seed."""
    seed: int | None = None
    """Weights are drawn from it; None: they are read."""
    features: str | None = None
    """The card's: what is read unless the preset says."""
    weights: Path | None = None
    """A file to load in place of the library's own weights."""
    trust_code: bool = False
    """Whether code of a hub may run."""
    warn: Warn = lambda message: None
    card: ModelCard | None = None

    @property
    def place(self) -> str:
        """What the hashes of its files are pinned under: the name without options."""
        return f"networks/{self.source}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @property
    def word(self) -> str:
        """What a user types for it in a shell: the name, or the card's."""
        return shlex.quote(card_name(self.card) if self.card else self.text)

    @property
    def text(self) -> str:
        """The name as it stands on the command line."""
        seed = {SEED: self.seed} if self.seed is not None else {}
        options = "&".join(f"{key}={_written(value)}" for key, value in {**self.options, **seed}.items())
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.source}:{self.name}{revision}" + (f"?{options}" if options else "")

    @property
    def shown(self) -> str:
        """The text for a record: of a path only the last folder, for the rest is this machine's own."""
        return self.text.replace(self.name, self.shown_name, 1)

    @property
    def shown_name(self) -> str:
        """The name for a record."""
        if not is_path(self.name):
            return self.name
        path, colon, entry = self.name.rpartition(":") if self.source == "hub" else (self.name, "", "")
        return printable_name(expand(path).resolve()) + colon + entry


def parse(source: str, text: str, cache: Path, **more: object) -> Request:
    """The request of a name on the command line. Raises WrongName for one that is not of this form."""
    rest, _, query = text.partition("?")
    # a path may have an @ in it, and has no revision
    name, _, revision = (rest, "", "") if rest.startswith(_PATHS) else rest.partition("@")
    if not name:
        raise WrongName(
            f"'{source}:{text}' names no network", f"Write {source}:NAME; `bench list networks` shows names."
        )
    options: dict[str, Option] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        read = read_value(value)
        if not equals or not key.isidentifier() or not isinstance(read, (str, int, float, bool)):
            raise WrongName(f"'{part}' in '{source}:{text}' is not OPTION=VALUE", "Write ?OPTION=VALUE&OPTION=VALUE.")
        if key in options:
            raise WrongName(f"'{source}:{text}' gives the option '{key}' twice", "Give it once.")
        options[key] = read
    return _request(source, name, revision or None, options, cache, **more)


def of_card(card: ModelCard, network: Network, cache: Path, **more: object) -> Request:
    """The request of a card."""
    more |= {"features": network.features, "card": card}
    return _request(network.source, network.name, network.revision, dict(network.options), cache, **more)


def _written(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _request(
    source: str, name: str, revision: str | None, options: dict[str, Option], cache: Path, **more: object
) -> Request:
    seed = options.pop(SEED, None)
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32):
        raise WrongName(f"the option {SEED}={seed} of {source}:{name} is not a seed", "Give a whole number from 0.")
    for key, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise WrongName(f"the option {key}={value} of {source}:{name} is no number", "Give a finite one.")
    request = Request(source, name, cache, revision, options, seed, **more)  # type: ignore[arg-type]
    if len(request.text) > _LONGEST:
        raise WrongName(
            f"'{request.text[:60]}…' has {len(request.text)} characters", f"Name a network in at most {_LONGEST}."
        )
    if seed is not None and request.weights is not None:
        raise WrongName(f"{request.text} draws its weights from a seed", "Leave --weights out, or leave `random` out.")
    return request
