"""Paths as people give them: with `~`, and with mistakes that only the system would tell of."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from bench.base.errors import BadInput

_NO_PLACE = {
    errno.ELOOP: "it is a link that leads to itself",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EILSEQ: "the name has characters that this system cannot store",
}
"""What makes a path one that nothing can lie at."""


def expand(path: str | os.PathLike[str]) -> Path:
    """A path with `~` and `~user` written out. Nothing need lie there.

    Raises BadInput for a user without a home, a NUL character, a link that leads to itself, or a name that the system
    cannot have.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise BadInput(f"'{text}' is no path: it has a NUL character", "Remove the character.")
    try:
        expanded = Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(
            f"{text}: there is no home folder of that name", "Write the whole path in place of ~."
        ) from error
    try:
        expanded.stat()
    except UnicodeEncodeError as error:
        raise BadInput(f"'{text}' is no path: {_NO_PLACE[errno.EILSEQ]}", "Give another path.") from error
    except OSError as error:
        if error.errno in _NO_PLACE:
            raise BadInput(f"{text} cannot be used: {_NO_PLACE[error.errno]}", "Give another path.") from error
    return expanded
