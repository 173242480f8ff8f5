"""Adapters: models of other libraries, named `SCHEME:NAME` on the command line.

An adapter is an entry point of the group `bench.networks`. Its name is the scheme. Its value is a function that takes
the text after the colon and returns a `bench.networks.find_model.Subject`. Another package adds an adapter in its own
packaging; nothing here changes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from bench.base.errors import BadEnvironment, BenchError

if TYPE_CHECKING:
    from bench.networks.find_model import Subject

ENTRY_POINTS = "bench.networks"
NAME = re.compile(r"(?P<scheme>[a-z][a-z0-9_-]+):(?P<rest>.+)", re.DOTALL)
"""Two letters at least before the colon: `C:` is a drive."""


@functools.cache
def adapters() -> dict[str, EntryPoint]:
    """The schemes that installed packages serve, in alphabetical order; none is loaded."""
    return {point.name: point for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)}


def adapted(name: str) -> Subject | None:
    """The subject that an adapter makes of a name; None for a name that no adapter serves.

    Raises what the adapter raises of our errors, and BadEnvironment for anything else that goes wrong in it.
    """
    match = NAME.fullmatch(name)
    point = adapters().get(match["scheme"]) if match else None
    if match is None or point is None:
        return None
    try:
        build: Callable[[str], Subject] = point.load()
        return build(match["rest"])
    except BenchError:
        raise
    except Exception as error:
        raise BadEnvironment(
            f"the adapter '{point.name}' ({point.value}) failed on '{match['rest']}': {type(error).__name__}: {error}",
            "Check the name, and that the adapter's packages are installed; its own documents describe both.",
        ) from error
