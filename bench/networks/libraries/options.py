"""Options: arguments of a network's constructor, as a user names them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from typing import Any

from bench.base.errors import WrongName, unknown_name
from bench.networks.libraries.request import Request

_UNEXPECTED = re.compile(r"unexpected keyword argument '([^']+)'")


def refuse_own(request: Request, names: Collection[str]) -> None:
    """Raises WrongName for options by which a library would fetch or read weights itself."""
    for name in request.options:
        if name in names:
            raise WrongName(
                f"the option '{name}' of {request.source}:{request.name} is not the user's to give",
                "Leave it out: the name says which weights are read, ?random=SEED draws them, --weights FILE gives "
                "others.",
            )


def refuse_unknown(request: Request, error: Exception) -> None:
    """Raises WrongName where a constructor complains of an option that it does not take."""
    match = _UNEXPECTED.search(str(error))
    if match and match[1] in request.options:
        raise WrongName(
            f"{request.source}:{request.name} has no option '{match[1]}'", "Leave it out, or correct its name."
        ) from error


def require_takes(request: Request, function: Callable[..., Any], own: dict[str, Any]) -> None:
    """Raises WrongName for options that a function does not take, and for those that it needs and lacks."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    known = [
        name for name, one in signature.parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    takes_any = any(one.kind == one.VAR_KEYWORD for one in signature.parameters.values())
    for name in own:
        if name not in known and not takes_any:
            told = unknown_name(f"option of {request.source}:{request.name}", name, known, "")
            near = told.remedy.partition("? ")[0] + "? " if "Did you mean" in told.remedy else ""
            raise WrongName(told.problem, f"{near}It takes {', '.join(known) or 'none'}.")
    try:
        signature.bind(**own)
    except TypeError as error:
        raise WrongName(
            f"{request.source}:{request.name}: {error}", f"Write {request.source}:{request.name}?OPTION=VALUE."
        ) from error
