"""Options: arguments of a network's constructor, as a user names them."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from bench.base.errors import BadInput, BenchError, WrongName, unknown_name
from bench.networks.libraries.request import SEED, Request

_LIKE_SEED = 0.8
_UNEXPECTED = re.compile(r"unexpected keyword argument '([^']+)'")


def refuse_own(request: Request, names: Collection[str]) -> None:
    """Raises WrongName for options by which a library would fetch or read weights itself, and a misspelt `random`."""
    for name in request.options:
        if name == "seed" or difflib.get_close_matches(name.lower(), [SEED], cutoff=_LIKE_SEED):
            # said before weights are looked for, which nobody wants here
            raise WrongName(
                f"{request.source}:{request.name} has no option '{name}'",
                f"Did you mean {SEED}? {SEED}=0 draws the weights from the seed 0.",
            )
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


def no_stride(request: Request, output_stride: int, otherwise: str = "") -> WrongName:
    """The error for a network that cannot be given an output stride; `otherwise` is what may help besides."""
    return WrongName(
        f"{request.text} cannot be given an output stride of {output_stride}", f"Leave `output_stride` out{otherwise}."
    )


@contextlib.contextmanager
def named_options(request: Request) -> Iterator[None]:
    """What a constructor raises becomes one line with the options that the user gave, if there are any."""
    from bench.networks.libraries.found import short

    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        if not request.options:
            raise
        raise BadInput(
            f"{request.source}:{request.name} cannot be built with {spelled(request.options)}: {short(error)}",
            "Correct the value of the option, or leave it out: options are arguments of the network's constructor.",
        ) from error


def spelled(options: Mapping[str, Any]) -> str:
    """Options as a message names them; empty where there are none."""
    return " and ".join(f"{key}={value}" for key, value in options.items())


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
            told = unknown_name(f"option of {request.source}:{request.name}", name, known, "", also=[SEED])
            near = told.remedy.partition("? ")[0] + "? " if "Did you mean" in told.remedy else ""
            takes = ", ".join(known) or "none"
            raise WrongName(told.problem, f"{near}It takes {takes}; {SEED}=SEED seeds what it draws.")
    try:
        signature.bind(**own)
    except TypeError as error:
        raise WrongName(
            f"{request.source}:{request.name}: {error}", f"Write {request.source}:{request.name}?OPTION=VALUE."
        ) from error
